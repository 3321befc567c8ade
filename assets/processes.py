"""Processes of runs: in-process runs whose process was killed are ended, so that nothing waits for them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable

import dagster as dg
import psutil

PROCESS = "landcover/process"
"""Tag of a run in the process that started it: host, number and start of that process."""

POLL_S = 1.0
CLOCK_S = 2.0
"""By how much the start of one process may differ as two others read it: the boot time follows the machine's clock."""


def this_process() -> str:
    """This process as a run's tag names it."""
    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time():.2f}"


def is_gone(tag: str) -> bool:
    """Whether a process of this machine has ended; of another machine nothing is known."""
    host, _, rest = tag.partition(" ")
    number, _, started = rest.partition(" ")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        return bool(abs(psutil.Process(int(number)).create_time() - float(started)) > CLOCK_S)
    except psutil.NoSuchProcess:
        return True


def end_dead_runs(instance: dg.DagsterInstance, statuses: list[dg.DagsterRunStatus]) -> int:
    """Ends runs whose process was killed, and frees their places in pools; gives their number."""
    ended = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=statuses)):
        if PROCESS in run.tags and is_gone(run.tags[PROCESS]):
            instance.report_run_failed(run, "its process was killed")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended += 1
    return ended


def wait_for_pools(instance: dg.DagsterInstance, pools: Iterable[str], log: Callable[[str], object]) -> None:
    """Waits until pools have a free place, and says so; Ctrl-C ends the wait."""
    for pool in sorted({*pools}):
        waited = False
        while True:
            info = instance.event_log_storage.get_concurrency_info(pool)
            if not info.slot_count or info.active_slot_count < info.slot_count:
                break
            if not waited:
                log(f"  waits: the pool {pool} is taken by run {', '.join(run[:8] for run in info.active_run_ids)}")
                waited = True
            time.sleep(POLL_S)
