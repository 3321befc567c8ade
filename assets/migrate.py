"""`landcover migrate`: brings the home of an earlier version up to this one, after a backup of its databases."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

from assets import instance
from assets.chain import UNDER_WAY
from assets.processes import PROCESS, is_gone
from landcover_orch import config, tracking
from landcover_orch.checks.doctor import SERVED
from landcover_orch.config.instance_settings import FILE, add_blocks
from landcover_orch.errors import Problem, PublishError, pluralise
from landcover_orch.planner.retention import dataset_folders, stored
from landcover_orch.store import databases
from landcover_orch.store.databases import Database, connected
from landcover_orch.store.locks import is_locked
from landcover_orch.store.publish import MANIFEST, SCHEMA
from landcover_orch.store.retention import locks_held
from landcover_orch.tracking.locations import Migration

RUNS = "history/runs.db"
PROCESSES = "SELECT run_id, (SELECT value FROM run_tags t WHERE t.run_id = runs.run_id AND key = ?) FROM runs"


def migrate() -> Iterator[str]:
    """Migrates the home: schemas of Dagster and MLflow, locations of artifacts; gives lines. Twice is as once.

    Raises:
        PublishError: servers or runs of the home are under way, or a database cannot be copied; nothing was changed.
        TrackingError: MLflow's migration failed.
    """
    home, dagster = config.home(), config.dagster_home()
    if not home.is_dir():
        raise PublishError(Problem(str(home), "no such folder", "the home of an earlier version", "set LANDCOVER_HOME"))
    require_idle(home, dagster)
    outdated = databases.outdated(home, dagster)
    if outdated:
        yield f"Databases as they were: {databases.back_up(home, dagster, 'before-migrate')}"
    if mlflow := [database for database in outdated if database.owner == "MLflow"]:
        tracking.upgrade_schema(home)
        yield upgraded("MLflow", mlflow)
    migration = tracking.move_artifacts(home)
    if migration is not None:
        named = pluralise(sum(migration.rewritten.values()), "location names", "locations name")
        yield f"MLflow's artifacts: {named} the server, no file moved; as it was: {migration.backup}"
    if history := [database for database in outdated if database.owner == "Dagster"]:
        upgrade_dagster()
        yield upgraded("Dagster", history)
    added = add_blocks(dagster)
    if added:
        names = " and ".join(f"`{name}:`" for name in added.names)
        yield f"Dagster's settings: {names} added to {dagster / FILE}, history stays; as it was: {added.former}"
    yield from left_as_it_is(home, migration)
    if not (outdated or migration or added):
        yield f"{home}: its databases are of the installed versions."


def left_as_it_is(home: Path, migration: Migration | None) -> Iterator[str]:
    """Lines about what a migration leaves, and what becomes of it."""
    if migration and migration.left:
        yield f"Left: {pluralise(len(migration.left), 'location')} outside {home}, as {migration.left[0]}"
    if problem := tracking.file_locations_problem(home):
        yield f"To do: {problem.found}. Fix: {problem.fix}"
    if count := len(earlier_products(home)):
        earlier = pluralise(count, "product is", "products are")
        yield f"{earlier} of an earlier version, and built again (`landcover status DATASET`)"


def upgraded(owner: str, outdated: list[Database]) -> str:
    """A line about the databases of an owner that were upgraded."""
    return f"{owner}: {pluralise(len(outdated), 'database')} upgraded to schema {databases.head(owner)}"


def upgrade_dagster() -> None:
    """Upgrades the schema of Dagster's instance (`dagster instance migrate`), without its progress."""
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), instance.opened() as dagster:
        dagster.upgrade()


def require_idle(home: Path, dagster: Path) -> None:
    """Raises PublishError where servers or builds of the home are under way, or runs that have not ended."""
    busy = ["`landcover ui` serves it"] if is_locked(home / SERVED) else []
    busy += [f"being built: {lock}" for folder in dataset_folders(home) for lock in locks_held(folder)]
    busy += [f"Dagster's run {run_id[:8]} is under way" for run_id in runs_under_way(dagster / RUNS)]
    if busy:
        fix = "end the servers, and wait for the runs or end them; then try again"
        raise PublishError(*(Problem(str(home), text, "a home that nobody uses", fix) for text in busy))


def runs_under_way(path: Path) -> list[str]:
    """Ids of the runs that have not ended, of processes that are not known to be gone.

    Read by SQL, since Dagster's client refuses a schema that is to be migrated.
    """
    if not path.is_file():
        return []
    marks = ", ".join("?" * len(UNDER_WAY))
    query = f"{PROCESSES} WHERE status IN ({marks})"
    with connected(path) as connection:
        rows = connection.execute(query, (PROCESS, *(status.value for status in UNDER_WAY))).fetchall()
    return [run_id for run_id, process in rows if process is None or not is_gone(process)]


def earlier_products(home: Path) -> list[Path]:
    """Current products whose manifest is of an earlier version: never read, but built again."""
    current = (product.path for folder in dataset_folders(home) for product in stored(folder) if product.is_current)
    return [path for path in current if schema(path) != SCHEMA]


def schema(product: Path) -> int | None:
    """Schema version of a product's manifest; None where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        version: int | None = json.loads((product / MANIFEST).read_text(encoding="utf-8")).get("schema")
        return version
    return None
