"""Private API of dependencies: only `*_internals` modules import it, and each name is where they look for it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import dagster as dg
import pytest

from assets import storage
from assets.storage_internals import DagsterSqliteStorage, SqliteEventLogStorage

REPOSITORY = Path(__file__).resolve().parents[2]
INTERNALS = sorted((REPOSITORY / "assets").glob("*_internals.py"))
PRIVATE = re.compile(r"(dagster\w*|mlflow|lightning)(\.\w+)*\._")


def imported(path: Path) -> list[tuple[str, str]]:
    """Module and name of each private import of a file."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return [(n.module, alias.name) for n in nodes if n.module and PRIVATE.match(f"{n.module}.") for alias in n.names]


@pytest.mark.parametrize(("module", "name"), [each for path in INTERNALS for each in imported(path)])
def test_a_private_name_of_dagster_is_where_it_is_looked_for(module: str, name: str) -> None:
    text = (
        f"Dagster {dg.__version__} has no {module}.{name}: look for its successor, and name it in assets/*_internals.py"
    )
    try:
        assert hasattr(importlib.import_module(module), name), text
    except ImportError:
        pytest.fail(text)


@pytest.mark.parametrize("kind", [storage.RunStorage, storage.ScheduleStorage, storage.EventLogStorage])
def test_what_the_storage_replaces_and_calls_is_dagster_s(kind: type) -> None:
    parents = [parent for parent in kind.__mro__[1:] if parent.__module__.startswith("dagster.")]
    defined = {name for name in vars(kind) if not name.startswith("__")}
    lost = sorted(name for name in defined if not any(hasattr(parent, name) for parent in parents))
    assert not lost, f"Dagster {dg.__version__} has no {lost} in {kind.__name__}: it would never be called"


def test_what_the_storage_calls_takes_what_it_gives() -> None:
    takes = {
        "_store_asset_event": ["self", "conn", "event", "event_id"],
        "_store_asset_event_tags": ["self", "conn", "events", "event_ids"],
    }
    for name, parameters in takes.items():
        given = list(inspect.signature(getattr(SqliteEventLogStorage, name, lambda: None)).parameters)
        assert given == parameters, f"Dagster {dg.__version__}: SqliteEventLogStorage.{name} takes {given}"
    stored = inspect.getsource(DagsterSqliteStorage.__init__)
    for name in ("_run_storage", "_event_log_storage", "_schedule_storage"):
        assert f"self.{name} = " in stored, f"Dagster {dg.__version__}: SqliteStorage keeps no {name}"


def test_nothing_else_imports_a_private_module() -> None:
    folders = [REPOSITORY / name for name in ("assets", "landcover_orch", "tools")]
    files = [path for folder in folders for path in folder.rglob("*.py") if path not in INTERNALS]
    private = {str(path.relative_to(REPOSITORY)): names for path in files if (names := imported(path))}
    assert not private, "import it in assets/*_internals.py, with its reason"
