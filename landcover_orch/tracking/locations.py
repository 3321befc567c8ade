"""Artifact locations in MLflow's database: `mlflow-artifacts:`, which names no folder, so that a home may be moved and
clients of the server load its models; those of earlier versions, which name one, are rewritten."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from landcover_orch.errors import Problem, TrackingError

DATABASE, FOLDER = "mlflow.db", "mlartifacts"
SCHEME = "mlflow-artifacts"

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""Where MLflow's database holds locations."""

NAMES_FOLDER = "({column} LIKE 'file:%' OR {column} LIKE '/%')"
UNUSED_DEFAULT = "experiment_id = 0 AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.experiment_id = 0)"
"""MLflow's experiment `Default` as it made it itself, below the working folder; nobody used it."""

WAIT_S = 30


@dataclass(frozen=True)
class Migration:
    """Migration of locations: how many of each column were rewritten, the database as it was, and what was left."""

    rewritten: dict[str, int]
    backup: Path
    left: tuple[str, ...] = ()


def file_experiments(home: Path) -> tuple[str, ...]:
    """Experiments of a home whose artifacts are named by a folder: clients of the server cannot load them."""
    path = home / DATABASE
    if not path.is_file():
        return ()
    names_folder = NAMES_FOLDER.format(column="artifact_location")
    query = f"SELECT name FROM experiments WHERE {names_folder} AND NOT ({UNUSED_DEFAULT}) ORDER BY name"  # noqa: S608
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)) as connection:
            return tuple(name for (name,) in connection.execute(query))
    except sqlite3.Error:
        return ()  # no database of MLflow's: its client says what it is


def file_locations_problem(home: Path) -> Problem | None:
    """What is wrong with the locations of a home, and its fix; None where nothing is."""
    names = file_experiments(home)
    if not names:
        return None
    found = f"{len(names)} experiments name a folder as their artifacts' place ({', '.join(names[:5])})"
    fix = "end what trains and serves, and run `landcover migrate`"
    return Problem(str(home / DATABASE), found, f"`{SCHEME}:`, which other machines load from", fix)


def move_artifacts(home: Path) -> Migration | None:
    """Rewrites the locations that name the home's folder to `mlflow-artifacts:`; no file moves. None: there are none.

    MLflow's client cannot change a location, so the database is: in one transaction, after a backup beside it. Runs,
    models and versions keep their ids. A home that was renamed since is mended alike. What lies elsewhere is left.

    Raises:
        TrackingError: another process holds the database, or it is none of MLflow's.
    """
    path = home / DATABASE
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            changes, left = plan(connection, home)
            if not changes:
                return None
            backup = back_up(path)
            for table, column, old, new in changes:
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))  # noqa: S608
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        fix = "end what trains and serves (`landcover ui`), and try again"
        raise TrackingError(Problem(str(path), str(error), "MLflow's database, not in use", fix)) from error
    tables = [f"{table}.{column}" for table, column, _, _ in changes]
    return Migration({name: tables.count(name) for name in dict.fromkeys(tables)}, backup, left)


Change = tuple[str, str, str, str]
"""Table, column, location as it is, location as it becomes."""


def plan(connection: sqlite3.Connection, home: Path) -> tuple[list[Change], tuple[str, ...]]:
    """What becomes of each location that names a folder; and those that are left, since they are not the home's."""
    changes, left = [], []
    for table, column, location in locations(connection):
        target = served(location, home)
        if target is None:
            left.append(location)
        else:
            changes.append((table, column, location, target))
    unused = connection.execute(
        f"SELECT artifact_location FROM experiments WHERE {UNUSED_DEFAULT} AND artifact_location NOT LIKE '{SCHEME}:%'"  # noqa: S608
    ).fetchone()
    if unused:
        changes.append(("experiments", "artifact_location", unused[0], f"{SCHEME}:/0"))
        left = [location for location in left if location != unused[0]]
    return changes, tuple(left)


def locations(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    """Table, column and value of each different location that names a folder."""
    for table, column in COLUMNS:
        names_folder = NAMES_FOLDER.format(column=column)
        query = f"SELECT DISTINCT {column} FROM {table} WHERE {names_folder} ORDER BY {column}"  # noqa: S608
        yield from ((table, column, location) for (location,) in connection.execute(query).fetchall())


def served(location: str, home: Path) -> str | None:
    """The location as the server serves it; None where it lies outside the home, as it is or was before a renaming."""
    match = re.fullmatch(rf"(?:file://)?(?P<folder>/(?:.*/)?{FOLDER})(?P<rest>/.*)?", unquote(location))
    if match is None:
        return None
    folder, rest = Path(match["folder"]), (match["rest"] or "").strip("/")
    own = home.resolve() / FOLDER
    same = folder.resolve() == own or (not folder.exists() and (own / rest).exists())
    return f"{SCHEME}:/{rest}" if same else None


def back_up(path: Path) -> Path:
    """Copies the database beside itself, by SQLite's own backup; gives the copy."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target, partial = path.with_name(f"{path.stem}-before-{stamp}.db"), path.with_name(f".{path.stem}-before.partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    partial.replace(target)
    return target
