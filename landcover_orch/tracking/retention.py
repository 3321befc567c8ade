"""Retention in MLflow: models that registered versions are of; runs that nothing points to, and their deletion."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_orch.tracking.describe import CHAMPION
from landcover_orch.tracking.leaderboard import LEADERBOARD
from landcover_orch.tracking.runs import EXPERIMENT, FINGERPRINT, PARENT
from landcover_orch.tracking.server import SQLITE, address, fluent, known_warnings, reachable

PAGE = 1000
DELETED = "deleted"
UNDER_WAY = ("RUNNING", "SCHEDULED")


@dataclass(frozen=True)
class OldRun:
    """A run that nothing points to: its id, its name, and when it ended, in seconds since 1970."""

    run_id: str
    name: str
    ended: float
    is_deleted: bool = False
    """Whether it was deleted before, and its files wait for their removal."""


def has_database(home: Path) -> bool:
    """Whether there is an MLflow to ask: a server, or a database that somebody made."""
    uri = address(home)
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).is_file()


def alias_in_database(dataset: str, home: Path) -> str | None:
    """Version that bears the alias `champion` by the database below `home`, read without MLflow, which takes seconds.

    None where none does, or where a server is to be asked.
    """
    path = Path(address(home).removeprefix(SQLITE))
    query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(query, (dataset, CHAMPION)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])


def database_state(home: Path) -> object:
    """What differs once something was written to the MLflow of `home`; of a server, once time has passed."""
    uri = address(home)
    if not uri.startswith(SQLITE):
        return time.monotonic()
    path = Path(uri.removeprefix(SQLITE))
    files = [path.with_name(f"{path.name}{ending}") for ending in ("", "-wal")]
    return tuple((status.st_mtime_ns, status.st_size) for file in files if file.is_file() and (status := file.stat()))


def registered_models(home: Path) -> frozenset[str]:
    """Fingerprints of the models of all registered versions.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if not has_database(home):
        return frozenset()
    with reachable(home, "looking up the registered versions") as client:
        return frozenset(tags[FINGERPRINT] for version in versions(client) if FINGERPRINT in (tags := version.tags))


def versions(client: Any) -> Iterator[Any]:
    """All registered versions."""
    token = None
    while True:
        page = client.search_model_versions(max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def all_runs(client: Any) -> Iterator[Any]:
    """The runs of all experiments, deleted ones among them."""
    from mlflow.entities import ViewType

    experiments = [e.experiment_id for e in client.search_experiments(view_type=ViewType.ALL, max_results=PAGE)]
    token = None
    while experiments:
        page = client.search_runs(experiments, run_view_type=ViewType.ALL, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def old_runs(home: Path, before: float, fingerprints: Collection[str]) -> list[OldRun]:
    """Runs that ended before a time and that nothing points to.

    A registered version points to its run, a product to that of its fingerprint, the leaderboard to its own; what is
    nested in such a run, or holds one, stays with it. So does a run that has not ended.

    Args:
        home: folder everything is written below.
        before: seconds since 1970.
        fingerprints: of products that are used.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if not has_database(home):
        return []
    with reachable(home, "looking up runs") as client:
        runs = {run.info.run_id: run for run in all_runs(client)}
        used = {version.run_id for version in versions(client)}
    used |= {run_id for run_id, run in runs.items() if is_used(run, fingerprints)}
    parents = {run_id: run.data.tags.get(PARENT) for run_id, run in runs.items()}
    families = {parents.get(run_id) or run_id for run_id in used}
    return [
        OldRun(run_id, title(run), ended(run), run.info.lifecycle_stage == DELETED)
        for run_id, run in runs.items()
        if ended(run) < before and run_id not in used and (parents[run_id] or run_id) not in families
    ]


def is_used(run: Any, fingerprints: Collection[str]) -> bool:
    """Whether a run is under way, shows a leaderboard, or is that of a product that is used."""
    tags = run.data.tags
    return run.info.status in UNDER_WAY or LEADERBOARD in tags or tags.get(FINGERPRINT) in fingerprints


def title(run: Any) -> str:
    """Experiment of a run, or its name."""
    return str(run.data.tags.get(EXPERIMENT) or run.info.run_name or run.info.run_id)


def ended(run: Any) -> float:
    """When a run ended, or started where that is not known, in seconds since 1970."""
    return float(run.info.end_time or run.info.start_time) / 1000


def delete_runs(home: Path, runs: Iterable[OldRun]) -> None:
    """Deletes runs with their logged models and files for good; where it was interrupted, the same call goes on.

    MLflow's garbage collection takes what a person deleted in its pages, too.

    Raises:
        TrackingError: MLflow does not answer.
    """
    chosen = list(runs)
    if not chosen:
        return
    with reachable(home, "deleting runs") as client, fluent(home), known_warnings():
        from mlflow.cli import gc

        for run in chosen:
            for model in logged_models(client, run.run_id):
                client.delete_logged_model(model)
            if not run.is_deleted:
                client.delete_run(run.run_id)
        options = ["--backend-store-uri", address(home), "--tracking-uri", address(home)]
        with contextlib.redirect_stdout(io.StringIO()):
            gc.main([*options, "--run-ids", ",".join(run.run_id for run in chosen)], standalone_mode=False)


def logged_models(client: Any, run_id: str) -> list[str]:
    """Ids of the models that a run logged."""
    outputs = client.get_run(run_id).outputs
    return [output.model_id for output in outputs.model_outputs] if outputs else []
