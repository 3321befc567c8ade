"""Execution of registered jobs in this process, as runs that Dagster's pages and timeline know the origin of."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION, MODULE = "landcover_orch", "assets.definitions"
"""Code location, as workspace.yaml names it, and the module that it loads."""

REPOSITORY = "__repository__"
"""Dagster's name of the repository that a module of `Definitions` is."""


MAX_RETRIES = "dagster/max_retries"
"""Tag by which Dagster's daemon starts no run anew by itself: who ran the command runs it again."""

CANCELLED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)

WATCH_S = 2.0
"""Seconds between looks whether a run was cancelled."""


def job_origin(job: str) -> RemoteJobOrigin:
    """Origin of a job: the code location that holds it."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job)


def execute(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    *,
    run_config: Mapping[str, Any],
    asset_selection: Sequence[dg.AssetKey] | None,
    partition_key: str | None,
    tags: Mapping[str, str],
) -> dg.DagsterRun:
    """Executes a job in this process, as `JobDefinition.execute_in_process` does; gives the run as it ended.

    That method records no origin, without which the timeline and the job's page leave a run out.
    """
    keys = set(asset_selection or ())
    selected = job.get_subset(asset_selection=frozenset(keys)) if keys else job
    partition_tags: Mapping[str, str] = {}
    if partition_key is not None:
        partition_tags = job.get_tags_for_partition_key(partition_key, selected_asset_keys=keys or None)
    run = instance.create_run_for_job(
        job_def=selected,
        run_config=run_config,
        tags={**job.run_tags, **partition_tags, **tags, MAX_RETRIES: "0"},
        asset_selection=frozenset(keys) or None,
        remote_job_origin=job_origin(job.name),
    )
    try:
        with interrupted_when_cancelled(instance, run.run_id):
            execute_run(InMemoryJob(job), run, instance)
    finally:
        ended = instance.get_run_by_id(run.run_id) or run
        if not ended.is_finished:  # an interrupt between two steps leaves it as it was
            instance.report_run_canceled(ended)
    return ended


@contextmanager
def interrupted_when_cancelled(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Interrupts this process, as Ctrl-C does, when a person cancels its run in Dagster's pages.

    They cannot reach the process of a run that no code server started; it is marked as one that is to end.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_S):
            run = instance.get_run_by_id(run_id)
            if run is None or run.status in CANCELLED:
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
