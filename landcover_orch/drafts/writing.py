"""Write files together: all of them whole, or none; what is there is never overwritten."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from landcover_orch.errors import ConfigError, Problem


def write_together(contents: Mapping[Path, str], check: Callable[[Path, Path], None]) -> list[Path]:
    """Publishes text files, the last one last: staged beside their targets, checked, then linked to their names.

    A link fails where its name is taken, as a rename does not: what somebody wrote meanwhile stays.

    Args:
        contents: target -> text.
        check: called with each staged file and its target; raises where it is not what it must be.

    Raises:
        ConfigError: a target exists.
    """
    staged: dict[Path, Path] = {}
    linked: list[Path] = []
    try:
        for target, text in contents.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            staged[target] = stage(target, text)
            check(staged[target], target)
        for target, source in staged.items():
            os.link(source, target)
            linked.append(target)
    except BaseException as error:
        for target in linked:
            target.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            fix = "choose another name: somebody wrote this file meanwhile"
            raise ConfigError(Problem(str(error.filename2), "it exists", "a name that is free", fix)) from error
        raise
    finally:
        for source in staged.values():
            with suppress(FileNotFoundError):
                source.unlink()
    return linked


def stage(target: Path, text: str) -> Path:
    """A hidden file beside the target, with the text on the disk."""
    number, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=".partial", dir=target.parent)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    return Path(name)
