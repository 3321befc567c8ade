"""Settings of Dagster's instance (dagster.yaml): blocks of the shipped file that the file of an earlier home lacks."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from landcover_orch.config.paths import shipped_configs
from landcover_orch.config.yamlfile import read_yaml
from landcover_orch.errors import ConfigError, Problem

FILE = "dagster.yaml"
BLOCKS = {
    "storage": {"storage", "run_storage", "event_log_storage", "schedule_storage"},
    "compute_logs": {"compute_logs"},
}
"""Blocks that each home has, and the keys of which one says that a person chose otherwise."""


def shipped_file() -> Path:
    """The shipped dagster.yaml."""
    return shipped_configs() / "dagster" / FILE


def missing_blocks(folder: Path) -> list[str]:
    """Blocks that the dagster.yaml of an instance's folder lacks; none where there is no file yet.

    Raises:
        ConfigError: the file is no mapping.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    settings = read_yaml(path) or {}
    if not isinstance(settings, dict):
        raise ConfigError(Problem(str(path), "no mapping", "Dagster's settings", f"copy {shipped_file()} there"))
    return [block for block, keys in BLOCKS.items() if not keys & settings.keys()]


@dataclass(frozen=True)
class AddedBlocks:
    """Blocks that were added to a dagster.yaml, and the copy of the file as it was."""

    names: tuple[str, ...]
    former: Path


def add_blocks(folder: Path, now: datetime | None = None) -> AddedBlocks | None:
    """Adds the blocks that a folder's dagster.yaml lacks, as they are shipped; None where it lacks none.

    Its other settings and comments stay, and the file as it was lies beside it, named by the time.

    Raises:
        ConfigError: the file cannot be added to, as one that is written in braces; it is left as it is.
    """
    path, names = folder / FILE, missing_blocks(folder)
    if not names:
        return None
    text, shipped = path.read_text(encoding="utf-8"), shipped_file()
    if re.search(r"^[{}\[]|^(---|\.\.\.)", text, re.MULTILINE):
        fix = f"write it one setting a line, or copy the blocks from {shipped}"
        raise ConfigError(Problem(str(path), f"no {', '.join(names)}", "settings that lines can be added to", fix))
    blocks = [block_text(shipped.read_text(encoding="utf-8"), name) for name in names]
    former = path.with_name(f"{FILE}.{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    shutil.copy2(path, former)
    partial = path.with_name(f".{FILE}.new")
    partial.write_text("".join([text.rstrip("\n") + "\n" if text.strip() else "", *blocks]), encoding="utf-8")
    partial.replace(path)
    return AddedBlocks(tuple(names), former)


def block_text(text: str, name: str) -> str:
    """The lines of a top-level block of a YAML file."""
    match = re.search(rf"^{name}:.*\n(?:[ ].*\n)*", text, re.MULTILINE)
    return match[0] if match else ""
