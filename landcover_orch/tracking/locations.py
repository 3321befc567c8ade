"""Artifact locations in MLflow's database: `mlflow-artifacts:`, which names no folder, so that a home may be moved and
clients of the server load its models; those of earlier versions, which name one, are rewritten."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from landcover_orch.errors import Problem, TrackingError, pluralise

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

ACTIVE_LOCATIONS = f"""
SELECT experiments.name, artifact_location FROM experiments
WHERE lifecycle_stage = 'active' AND {NAMES_FOLDER.format(column="artifact_location")} AND NOT ({UNUSED_DEFAULT})
UNION
SELECT experiments.name, artifact_uri FROM runs JOIN experiments USING (experiment_id)
WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
AND {NAMES_FOLDER.format(column="artifact_uri")}
ORDER BY 1, 2
"""  # noqa: S608
"""Names and locations of the experiments and runs that name a folder, and were not deleted."""

WAIT_S = 30


@dataclass(frozen=True)
class Migration:
    """Migration of locations: how many of each column were rewritten, the database as it was, and what was left."""

    rewritten: dict[str, int]
    backup: Path
    left: tuple[str, ...] = ()


def file_locations(home: Path) -> dict[str, list[str]]:
    """Experiments of a home with the folders that they and their runs name as their artifacts' place.

    Clients of the server on other machines cannot load these. What was deleted in MLflow does not count.
    """
    path = home / DATABASE
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)) as connection:
            rows = connection.execute(ACTIVE_LOCATIONS).fetchall()
    except sqlite3.Error:
        return {}  # no database of MLflow's: its client says what it is
    return {name: [location for other, location in rows if other == name] for name, _ in rows}


def file_locations_problem(home: Path) -> Problem | None:
    """What is wrong with the locations of a home, and its fix; None where nothing is.

    A folder outside the home that is there is a person's choice.
    """
    named = file_locations(home)
    every = [location for named_folders in named.values() for location in named_folders]
    folders = own_folders(every, home)
    moving = [
        name
        for name, named_folders in named.items()
        if any(served(location, home, folders) for location in named_folders)
    ]
    expected = f"`{SCHEME}:`, which other machines load from"
    if moving:
        naming = pluralise(len(moving), "experiment names", "experiments name")
        reason = f"{naming} a folder as the artifacts' place ({', '.join(moving[:5])})"
        fix = "end what trains and serves, and run `landcover migrate`"
        return Problem(str(home / DATABASE), reason, expected, fix)
    gone = {
        name: location
        for name, named_folders in named.items()
        for location in named_folders
        if not local_path(location).exists()
    }
    if not gone:
        return None
    name, location = next(iter(gone.items()))
    lost = pluralise(len(gone), "experiment keeps", "experiments keep")
    reason = f"{lost} artifacts in folders that are gone ({name}: {location})"
    match = split_location(location)
    into_home = f", or put what it held into {home.resolve() / FOLDER} and run `landcover migrate`" if match else ""
    fix = f"bring {match[0] if match else local_path(location)} back{into_home}, or delete the experiment in MLflow"
    return Problem(str(home / DATABASE), reason, expected, fix)


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
    rows = list(locations(connection))
    folders = own_folders((location for _, _, location in rows), home)
    for table, column, location in rows:
        target = served(location, home, folders)
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


def local_path(location: str) -> Path:
    """The folder that a location names."""
    return Path(unquote(location.removeprefix("file://")))


def split_location(location: str) -> tuple[Path, str] | None:
    """A location as the folder of all artifacts of some home, and the path below it; None where it is not of such."""
    match = re.fullmatch(rf"(?P<folder>/(?:.*/)?{FOLDER})(?P<rest>/.*)?", str(local_path(location)))
    return None if match is None else (Path(match["folder"]), (match["rest"] or "").strip("/"))


def own_folders(named: Iterable[str], home: Path) -> set[Path]:
    """Folders of artifacts that are the home's: its own, and that of a home it was moved or copied from.

    Such a one is known by artifacts that lie below the present home at the same path. Of one that is gone, a path that
    is the folder itself tells as much.
    """
    own = home.resolve() / FOLDER
    pairs = [pair for pair in map(split_location, named) if pair]
    return {folder for folder, rest in pairs if folder.resolve() == own or is_copied(folder, rest, own)}


def is_copied(folder: Path, rest: str, own: Path) -> bool:
    """Whether what a location of another home names lies below the home's own folder, too."""
    return (own / rest).exists() and bool(rest or not folder.exists())


def served(location: str, home: Path, folders: Collection[Path]) -> str | None:
    """The location as the server serves it; None where it is not of the folders of artifacts that are the home's."""
    pair = split_location(location)
    return None if pair is None or pair[0] not in folders else f"{SCHEME}:/{pair[1]}"


def back_up(path: Path) -> Path:
    """Copies the database beside itself, by SQLite's own backup; gives the copy."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target, partial = path.with_name(f"{path.stem}-before-{stamp}.db"), path.with_name(f".{path.stem}-before.partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    partial.replace(target)
    return target
