"""Execution of registered jobs, as runs that Dagster's pages and timeline know the origin of.

In this process, or through the code server where `landcover ui` serves the home.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from assets import processes
from assets.dagster_internals import (
    InMemoryJob,
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    execute_run,
)
from assets.location import LOCATION, MODULE, REPOSITORY

MAX_RETRIES = "dagster/max_retries"
"""Tag by which Dagster's daemon starts no run anew by itself: a person runs it again, or a sensor that is on."""

CANCELLED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)

WATCH_S = 2.0
"""Seconds between looks whether a run was cancelled."""


def job_origin(job: str) -> RemoteJobOrigin:
    """Origin of a job: the code location that holds it."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job)


@dataclass(frozen=True)
class RunRequest:
    """What a run of a job is about."""

    assets: Sequence[dg.AssetKey] | None
    """Those of the job's assets that it makes; None for all of the job."""

    partition: str | None
    """The run's partition; None where it has none, or several by its tags."""

    tags: Mapping[str, str]
    pools: Sequence[str] = ()
    """Pools in which it takes a place."""


@dataclass(frozen=True)
class InProcess:
    """Execution of runs in this process, as `JobDefinition.execute_in_process` does.

    That method records no origin, without which the timeline and the job's page leave a run out.

    Args:
        instance: Dagster's instance.
        log: takes a line where a run waits.
        run_config: of each run.
    """

    instance: dg.DagsterInstance
    log: Callable[[str], object]
    run_config: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, job: dg.JobDefinition, request: RunRequest) -> dg.DagsterRun:
        """Executes a run of a job; gives the run as it ended."""
        processes.wait_for_pools(self.instance, request.pools, self.log)
        run = self.create(job, request)
        try:
            with interrupted_when_cancelled(self.instance, run.run_id):
                execute_run(InMemoryJob(job), run, self.instance)
        finally:
            ended = self.instance.get_run_by_id(run.run_id) or run
            if not ended.is_finished:  # an interrupt between two steps leaves it as it was
                self.instance.report_run_canceled(ended)
        return ended

    def create(self, job: dg.JobDefinition, request: RunRequest) -> dg.DagsterRun:
        """Records a run that is to be executed, with the origin of its job."""
        keys = set(request.assets or ())
        selected = job.get_subset(asset_selection=frozenset(keys)) if keys else job
        partition_tags: Mapping[str, str] = {}
        if request.partition is not None:
            partition_tags = job.get_tags_for_partition_key(request.partition, selected_asset_keys=keys or None)
        this = {processes.PROCESS: processes.this_process(), MAX_RETRIES: "0"}
        return self.instance.create_run_for_job(
            job_def=selected,
            run_config=dict(self.run_config),
            tags={**job.run_tags, **partition_tags, **request.tags, **this},
            asset_selection=frozenset(keys) or None,
            remote_job_origin=job_origin(job.name),
        )


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
