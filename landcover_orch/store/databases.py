"""SQLite databases of a home: Dagster's, MLflow's and the library's; online backup, integrity, schema revisions."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from landcover_orch.errors import Problem, PublishError

ENDINGS = (".db", ".sqlite")
COMPANIONS = ("-wal", "-shm", "-journal")
"""Files beside an open database, parts of it: never copied by themselves."""

WAIT_S = 30
BACKUPS = "backups"
"""Folder of a home that holds its databases as they were before a migration."""

MIGRATIONS = {
    "MLflow": ("mlflow", "store/db_migrations/versions"),
    "Dagster": ("dagster", "_core/storage/alembic/versions"),
}
"""Owner of a schema -> its package, and where the alembic revisions lie in it."""

REVISION = re.compile(r"""^(?P<key>revision|down_revision)\s*(?::[^=\n]*)?=\s*(?P<value>.*)$""", re.MULTILINE)


@dataclass(frozen=True)
class Database:
    """A database: where it is, its name relative to the home, and whose schema it has; None: the library's."""

    path: Path
    name: str
    owner: str | None

    @property
    def revision(self) -> str | None:
        """Alembic revision of its schema; None where it has none."""
        with connected(self.path) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            row = (
                connection.execute("SELECT version_num FROM alembic_version").fetchone() if VERSIONS in tables else None
            )
        return None if row is None else str(row[0])

    @property
    def is_outdated(self) -> bool:
        """Whether its schema is an earlier one than the installed packages read."""
        return self.owner is not None and self.revision in revisions(self.owner) - {head(self.owner)}


VERSIONS = "alembic_version"


def databases(home: Path, dagster: Path) -> list[Database]:
    """The databases of a home.

    Args:
        home: folder everything is written below.
        dagster: folder of Dagster's instance, which may lie elsewhere.
    """
    files = [path for path in home.glob("*") if path.suffix in ENDINGS and "-before-" not in path.name]
    of_home = [Database(p, p.name, "MLflow" if p.name == "mlflow.db" else None) for p in sorted(files)]
    history = [path for path in sorted(dagster.rglob("*.db")) if path.is_file()]
    names = [f"dagster/{path.relative_to(dagster).as_posix()}" for path in history]
    return [*of_home, *(Database(p, n, "Dagster") for p, n in zip(history, names, strict=True))]


def copy(source: Path, target: Path) -> None:
    """Online backup: a consistent copy of a database that others may be writing to.

    Raises:
        PublishError: it is no database, damaged, or locked for too long.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        with connected(source) as connection, closing(sqlite3.connect(target)) as other:
            connection.backup(other)
    except sqlite3.Error as error:
        fix = "see `landcover doctor`; restore it from a backup, or move it away: the history is then a new one"
        raise PublishError(Problem(str(source), str(error), "a sound SQLite database", fix)) from error


def fault(path: Path) -> str | None:
    """What SQLite finds wrong with a database (`PRAGMA quick_check`), or that it is locked; None where nothing is."""
    try:
        with connected(path, wait_s=1) as connection:
            lines = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return None if lines == ["ok"] else "; ".join(lines)


def connected(path: Path, wait_s: float = WAIT_S) -> closing[sqlite3.Connection]:
    """A connection that reads alone."""
    return closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=wait_s))


def outdated(home: Path, dagster: Path) -> list[Database]:
    """Databases whose schema is an earlier one than the installed packages read; damaged ones are none."""
    migrated = (database for database in databases(home, dagster) if database.path.name != RUNLESS)
    return [database for database in migrated if not fault(database.path) and database.is_outdated]


RUNLESS = ".db"
"""Dagster's events of no run: its own migration leaves them out, and reads any revision."""


@cache
def revisions(owner: str) -> frozenset[str]:
    """Alembic revisions that an installed package knows; read from its files, since importing it takes seconds."""
    return frozenset(revision for revision, _ in migrations(owner))


@cache
def head(owner: str) -> str:
    """The latest of these revisions: the one that no other follows."""
    former = {name for _, parents in migrations(owner) for name in parents}
    (latest,) = revisions(owner) - former
    return latest


def migrations(owner: str) -> Iterator[tuple[str, list[str]]]:
    """Each alembic revision of a package with those that it follows."""
    package, folder = MIGRATIONS[owner]
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for file in (Path(location) / folder).glob("*.py"):
            values = {m["key"]: re.findall(r"['\"](\w+)['\"]", m["value"]) for m in REVISION.finditer(file.read_text())}
            if values.get("revision"):
                yield values["revision"][0], values.get("down_revision", [])


def back_up(home: Path, dagster: Path, purpose: str, now: datetime | None = None) -> Path:
    """Copies all databases of a home into home/backups/<purpose>-<time>; gives the folder, which appears whole."""
    target = home / BACKUPS / f"{purpose}-{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    partial = target.with_name(f".{target.name}.partial")
    for interrupted in target.parent.glob(".*.partial"):
        shutil.rmtree(interrupted)
    for database in databases(home, dagster):
        copy(database.path, partial / database.name)
    partial.rename(target)
    return target
