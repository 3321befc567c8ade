"""SQLite databases of a home: which there are, whether they are sound and of the installed schema."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from landcover_orch.errors import PublishError
from landcover_orch.store import databases
from landcover_orch.store.databases import Database


def make(path: Path, revision: str | None = None) -> Path:
    """A database of one row, with a schema revision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'a row' AS text")
        if revision is not None:
            connection.execute(f"CREATE TABLE alembic_version AS SELECT '{revision}' AS version_num")
        connection.commit()
    return path


def test_the_databases_of_a_home_have_owners(tmp_path: Path) -> None:
    dagster = tmp_path / "elsewhere"
    for path in ("home/mlflow.db", "home/mlflow-before-x.db", "home/fingerprints.sqlite", "elsewhere/history/runs.db"):
        make(tmp_path / path)
    entries = databases.databases(tmp_path / "home", dagster)
    assert [(entry.name, entry.owner) for entry in entries] == [
        ("fingerprints.sqlite", None),
        ("mlflow.db", "MLflow"),
        ("dagster/history/runs.db", "Dagster"),
    ]


def test_revisions_are_those_of_the_installed_packages(tmp_path: Path) -> None:
    from alembic.script import ScriptDirectory

    for owner, (package, folder) in databases.MIGRATIONS.items():
        package_folder = Path(str(databases.importlib.util.find_spec(package).origin)).parent  # type: ignore[union-attr]
        script = ScriptDirectory(str((package_folder / folder).parent))
        assert databases.head(owner) == script.get_current_head()
        revisions = databases.revisions(owner)
        assert len(revisions) > 50
        latest = Database(make(tmp_path / f"{owner}.db", databases.head(owner)), "", owner)
        assert not latest.is_outdated
        former = min(revisions - {databases.head(owner)})
        assert Database(make(tmp_path / f"{owner}-former.db", former), "", owner).is_outdated
        unknown = Database(make(tmp_path / f"{owner}-later.db", "of a later version"), "", owner)
        assert not unknown.is_outdated, "nothing here can upgrade it"
    assert Database(make(tmp_path / "none.db"), "", "MLflow").revision is None


def test_a_copy_is_consistent_while_others_write(tmp_path: Path) -> None:
    source = make(tmp_path / "a.db")
    with closing(sqlite3.connect(source, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES ('uncommitted')")
        databases.copy(source, tmp_path / "copy.db")
        writer.execute("ROLLBACK")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT * FROM t").fetchall() == [("a row",)]


def test_faults_are_named(tmp_path: Path) -> None:
    sound = make(tmp_path / "a.db")
    assert databases.fault(sound) is None
    with closing(sqlite3.connect(sound, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert databases.fault(sound) == "database is locked"
        writer.execute("ROLLBACK")
    damaged = tmp_path / "b.db"
    damaged.write_bytes(b"no database at all" * 100)
    assert databases.fault(damaged) == "file is not a database"
    with pytest.raises(PublishError, match="file is not a database; expected a sound SQLite database"):
        databases.copy(damaged, tmp_path / "copy.db")
