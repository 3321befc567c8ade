"""Launch of runs through the code server of `landcover ui`, followed until they end, with the lines of their steps."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg

from assets import chain
from assets.client import Client, ServerUnreachableError, running
from assets.execution import MAX_RETRIES, InProcess, RunRequest
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import LandcoverError, Problem

NOISE = re.compile(r"\[pipes\]|.*Pipes\w*(Injector|Reader|Client|Session)|Dependencies for step")
"""Lines that Dagster writes about itself as if a step had written them."""

POLL_S = 0.5
QUEUED_S = 10
"""Seconds in Dagster's queue after which a person is told what a run waits for."""

RELOAD_S = 15
"""Seconds for which a changed configuration may take to reach the servers."""

LOOK_S = 5
"""Seconds between looks whether the servers of a run are still there."""

IN_QUEUE = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)

PATIENCE_S = 60
"""Seconds for which servers that neither answer nor end are waited for: a webserver is being started again."""

Log = Callable[[str], object]


def is_noise(line: str) -> bool:
    """Whether a line of a run is Dagster's own, about how it runs."""
    return bool(NOISE.match(line))


class OtherHistoryError(LandcoverError):
    """The servers of this home write another history than this process reads."""


class ServersEndedError(Exception):
    """The servers ended while a run was under way that they had launched; it has been ended too."""


@dataclass
class Launcher:
    """Launcher of runs through a running `landcover ui`; where that ends, they are executed in this process.

    Args:
        client: of its webserver; None: there is none any more.
        in_process: what executes runs in this process.
        log: takes the lines of a run's steps.
    """

    client: Client | None
    in_process: InProcess
    log: Log
    cursors: dict[str, str] = field(default_factory=dict)
    """Run -> behind what of it has been passed on."""

    def __call__(self, job: dg.JobDefinition, request: RunRequest) -> dg.DagsterRun:
        """Executes a run of a job; gives the run as it ended. Ctrl-C terminates it.

        Raises:
            KeyboardInterrupt: a person interrupted it.
        """
        if self.client is not None:
            try:
                return self.launch(self.client, job.name, request)
            except ServerUnreachableError as error:
                self.log(f"  not launched there, but in this process: {error.problems[0].found}")
            except ServersEndedError:
                self.log("  `landcover ui` has ended: what it had begun goes on in this process")
            self.client = None
        return self.in_process(job, request)

    def launch(self, client: Client, job: str, request: RunRequest) -> dg.DagsterRun:
        """Launches a run, and follows it to its end.

        Raises:
            OtherHistoryError: the run is not in the history of this process; it was terminated.
        """
        of_partition = {} if request.partition is None else {"dagster/partition": request.partition}
        run_id = client.launch(job, request.assets, {**of_partition, **request.tags, MAX_RETRIES: "0"})
        if self.in_process.instance.get_run_by_id(run_id) is None:
            client.terminate(run_id)
            raise OtherHistoryError(other_history(client.url))
        try:
            return self.follow(client, run_id)
        except KeyboardInterrupt:
            client.terminate(run_id)
            self.follow(client, run_id)
            raise

    def follow(self, client: Client, run_id: str) -> dg.DagsterRun:
        """Passes on the lines of a run's steps until it has ended; gives the run."""
        started = looked = time.monotonic()
        in_queue = False
        while (run := self.run(run_id)) and not run.is_finished:
            self.pass_on(run_id)
            now = time.monotonic()
            if not in_queue and run.status in IN_QUEUE and now - started > QUEUED_S:
                self.log("  waits: in Dagster's queue, behind runs that are under way")
                in_queue = True
            if now - looked > LOOK_S:
                looked = now
                self.require_servers(client, run)
            time.sleep(POLL_S)
        self.pass_on(run_id)
        if not run.is_success:
            self.require_servers(client, run)
        return run

    def run(self, run_id: str) -> dg.DagsterRun:
        """A run as it stands; one that a person deleted counts as interrupted."""
        run = self.in_process.instance.get_run_by_id(run_id)
        if run is None:
            raise KeyboardInterrupt
        return run

    def pass_on(self, run_id: str) -> None:
        """Passes on what steps wrote since the last time, and nothing of Dagster's own events."""
        while True:
            connection = self.in_process.instance.get_records_for_run(run_id, self.cursors.get(run_id))
            self.cursors[run_id] = connection.cursor
            for entry in (record.event_log_entry for record in connection.records):
                is_line = entry.dagster_event is None and int(entry.level) >= logging.INFO
                if is_line and not is_noise(entry.user_message):
                    self.log(f"    {entry.user_message}")
            if not connection.has_more:
                return

    def require_servers(self, client: Client, run: dg.DagsterRun) -> None:
        """Raises ServersEndedError where the servers have ended, or do; a run that they left is ended with them."""
        deadline = time.monotonic() + PATIENCE_S
        while running(config.home()) is not None:
            if client.answers() or time.monotonic() > deadline:
                return
            time.sleep(POLL_S)
        if not self.run(run.run_id).is_finished:
            self.in_process.instance.report_run_canceled(run)
        raise ServersEndedError


def other_history(url: str) -> Problem:
    """What is wrong where servers write another history, as DAGSTER_HOME differs between two shells."""
    return Problem(
        f"DAGSTER_HOME={os.environ.get('DAGSTER_HOME', '')}",
        f"its history has no run that {url} launched",
        "the history that `landcover ui` writes",
        "unset DAGSTER_HOME, or set it as where `landcover ui` was started",
    )


def launcher(dataset: Dataset, in_process: InProcess, log: Log) -> Launcher:
    """The launcher of a dataset's runs; it says once where they are executed, where `landcover ui` serves the home.

    Servers that read another configuration of the dataset, after the time that a reload takes, execute none of them.
    """
    client = running(config.home())
    if client is None:
        return Launcher(None, in_process, log)
    if serves(client, dataset):
        log(f"  runs are launched through {client.url}, where `landcover ui` serves the home")
        return Launcher(client, in_process, log)
    log(f"  {client.url} serves no {dataset.name}, or one of another configuration: runs in this process")
    return Launcher(None, in_process, log)


def serves(client: Client, dataset: Dataset) -> bool:
    """Whether servers have a dataset as it was read here."""
    wanted = chain.configuration_tags(dataset).items()
    deadline = time.monotonic() + RELOAD_S
    while time.monotonic() < deadline:
        try:
            if wanted <= client.job_tags(chain.job_name(dataset, chain.EVERYTHING)).items():
                return True
        except ServerUnreachableError:
            return False
        time.sleep(POLL_S)
    return False
