"""What the README names is there: tests, configurations, pictures."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLES = {"configs/datasets/galicia.yaml", "configs/legends/forest.yaml"}
"""Files that the chapter on one's own data has its reader write."""

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_test_it_names_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)", README))
    assert len(named) > 80, "the table of the five systems"
    missing = [f"{file}::{name}" for file, name in sorted(named) if f"def {name}(" not in _text(ROOT / file)]
    assert not missing


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_every_file_and_folder_it_names_exists() -> None:
    paths = set(re.findall(r"`((?:tests|landcover_orch|assets|configs|docs)/[\w./-]*)`", README))
    pictures = set(re.findall(r"\]\((docs/[\w-]+\.png)\)", README))
    assert not [path for path in sorted((paths | pictures) - EXAMPLES) if not (ROOT / path).exists()]


def test_every_configuration_it_names_exists() -> None:
    named = re.findall(r"`(datasets|studies|experiments|legends|searches|launchers)/([\w-]+)`", README)
    missing = [f"{kind}/{name}" for kind, name in named if not (ROOT / "configs" / kind / f"{name}.yaml").is_file()]
    assert not missing


def test_every_picture_is_shown() -> None:
    assert sorted(path.name for path in (ROOT / "docs").iterdir()) == sorted(
        set(re.findall(r"docs/([\w-]+\.png)", README))
    )
