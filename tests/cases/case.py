"""Cases on disk: FOLDER/NAME/{configs,raw,after,expected,expected.json}, as `make.py --all FOLDER` writes them."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_orch.store import products
from tests.cases.renamed import RENAMED, rename_keys

Outcome = dict[str, Any]

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "ds"
"""The dataset of each case."""

MAKE = REPOSITORY.parent / "shared" / "cases" / "make.py"
"""What writes the cases where LANDCOVER_CASES names no folder of them; beside the clone, as the real rasters."""


@dataclass(frozen=True)
class Case:
    """One input or workflow with its right outcomes, any of which will do."""

    name: str
    folder: Path
    outcomes: tuple[Outcome, ...]

    @property
    def kinds(self) -> str:
        """The right outcomes in short: accepted, noted, refused."""
        return " or ".join(dict.fromkeys(str(outcome["is"]) for outcome in self.outcomes))

    @property
    def workflow(self) -> bool:
        """Whether something happens to the files of a project that was materialised once."""
        return (self.folder / "after").is_dir() or any("stale" in outcome for outcome in self.outcomes)


KINDS = ("accepted", "noted", "refused")
STAGES = (
    *("definitions", "check", "sensor", products.GROUND_TRUTH, products.PATCHES, products.LABEL_QUALITY),
    *(products.DATASET_MANIFEST, products.MODEL, products.PREDICTION, products.REPORT, products.LABEL_REVIEW),
    *(products.LEADERBOARD, products.CHAMPION, products.LAND_COVER_MAP, products.PROPORTIONS, products.LABEL_CHANGES),
)
"""Where an outcome may be told."""

KEYS = frozenset(
    {
        *("is", "at", "says", "counts", "splits", "statistics", "stale", "not_stale", "class_at", "champion"),
        *("new_partitions", "built", "loads", "mended_by", "unless_installed", "at_most", "exit_code", "classes"),
        "hidden_where_its_advice_is_followed",
    }
)
"""What an outcome may say; a key that nobody compares would make a case right that checks nothing."""


class MalformedCaseError(ValueError):
    """A folder that is no case: what is wrong with its `expected.json`, or that a folder is missing."""


def load_case(folder: Path) -> Case:
    """The case of a folder.

    Raises:
        MalformedCaseError: no configurations, or outcomes that cannot be compared.
    """
    path = folder / "expected.json"
    try:
        outcomes = json.loads(path.read_text(encoding="utf-8"))["outcomes"]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedCaseError(f'{path}: {type(error).__name__}: {error}; expected {{"outcomes": [...]}}') from error
    if not isinstance(outcomes, list) or not outcomes or not all(isinstance(outcome, dict) for outcome in outcomes):
        raise MalformedCaseError(f"{path}: expected a list of outcomes, one at least")
    for outcome in outcomes:
        if outcome.get("is") not in KINDS:
            raise MalformedCaseError(f"{path}: `is` {outcome.get('is')!r}; expected one of {', '.join(KINDS)}")
        if outcome.get("at", "check") not in STAGES:
            raise MalformedCaseError(f"{path}: `at` {outcome['at']!r}; expected one of {', '.join(STAGES)}")
        if unknown := sorted(set(outcome) - KEYS):
            raise MalformedCaseError(f"{path}: keys {unknown}; expected some of {sorted(KEYS)}")
    if not (folder / "configs").is_dir() or not (folder / "raw").is_dir():
        raise MalformedCaseError(f"{folder}: expected the folders configs and raw")
    return Case(folder.name, folder, tuple(outcomes))


def load_cases(folder: Path) -> tuple[list[Case], list[str]]:
    """The cases of a folder by name, and what is wrong with each that is none."""
    cases, malformed = [], []
    for path in sorted(folder.glob("*/expected.json")):
        try:
            cases.append(load_case(path.parent))
        except MalformedCaseError as error:
            malformed.append(str(error))
    return cases, malformed


def written_cases() -> Path | None:
    """The folder of cases that LANDCOVER_CASES names."""
    named = os.environ.get("LANDCOVER_CASES")
    return Path(named).resolve() if named else None


def case_names(*, workflows: bool = False) -> list[str]:
    """Names of all cases, or of workflows alone, and none is written for it.

    They are the folders of LANDCOVER_CASES, or what the generator's modules list in `CASES`.
    """
    folder = written_cases()
    if folder is not None:
        return [case.name for case in load_cases(folder)[0] if case.workflow or not workflows]
    modules = sorted(MAKE.parent.glob("workflows.py" if workflows else "*.py")) if MAKE.is_file() else []
    return [name for path in modules for name in _listed(ast.parse(path.read_text(encoding="utf-8")))]


def _listed(module: ast.Module) -> list[str]:
    return [
        element.id
        for node in module.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CASES" and isinstance(node.value, ast.Tuple)
        for element in node.value.elts
        if isinstance(element, ast.Name)
    ]


def write_cases(folder: Path) -> None:
    """Writes all cases below `folder`."""
    subprocess.run([sys.executable, "-W", "ignore", str(MAKE), "--all", str(folder)], check=True)


def copy_case(case: Case, folder: Path) -> None:
    """The case's `configs/` and `raw/` into `folder`, times kept, keys renamed, with Dagster's own configuration."""
    for part in ("configs", "raw"):
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.copytree(case.folder / part, folder / part)
    shutil.copytree(REPOSITORY / "configs" / "dagster", folder / "configs" / "dagster", dirs_exist_ok=True)
    for kind, table in RENAMED.items():
        for path in (folder / "configs" / kind).glob("*.yaml"):
            path.write_text(rename_keys(path.read_text(encoding="utf-8"), table), encoding="utf-8")


def copy_after(case: Case, folder: Path) -> None:
    """What the workflow brings: the files of `after/` over those of `raw/`, times kept."""
    if (case.folder / "after").is_dir():
        shutil.copytree(case.folder / "after", folder / "raw", dirs_exist_ok=True)


def mirror(source: Path, target: Path) -> None:
    """Makes `target` equal to `source`: files of products are hard links, all else is copied.

    Others are overwritten in place: an open database stays valid.
    """
    for path in sorted(target.rglob("*"), reverse=True):
        twin = source / path.relative_to(target)
        if path.is_symlink() or not twin.exists() or twin.is_symlink() or twin.is_dir() != path.is_dir():
            path.unlink() if path.is_symlink() or path.is_file() else path.rmdir()
    for path in sorted(source.rglob("*")):
        twin = target / path.relative_to(source)
        if path.is_symlink():
            twin.symlink_to(path.readlink())
        elif path.is_dir():
            twin.mkdir(parents=True, exist_ok=True)
        elif is_published(path.relative_to(source)):
            if not twin.exists() or not twin.samefile(path):
                twin.unlink(missing_ok=True)
                twin.hardlink_to(path)
        elif not twin.exists() or stamp(twin) != stamp(path):
            twin.write_bytes(path.read_bytes())
            shutil.copystat(path, twin)


PUBLISHED = 4
"""Depth of a product's file in a home: dataset, asset, version, file."""


def is_published(path: Path) -> bool:
    """Whether a file of a home is one of a product, which is never written in place."""
    hidden = any(part.startswith(".") for part in path.parts)  # locks and costs beside it
    return len(path.parts) >= PUBLISHED and path.parts[0] == NAME and not hidden


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def stamps(home: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of each file of a product in a home."""
    files = (path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    return {path: stamp(path) for path in files if is_published(path.relative_to(home))}


def overwrite(path: Path, content: bytes) -> None:
    """Gives a path other content; what is linked to its file keeps its own."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
