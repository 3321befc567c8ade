"""Parallel map through Dask: threads of this machine, or a cluster by the address of its scheduler."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


def workers() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def run(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    done: Callable[[T, R], None] = lambda item, result: None,
    cluster: str | None = None,
    label: str = "work",
) -> list[R]:
    """Parallel map: results of `function` for each item, in order; `done` is called with each as it ends, one by one.

    The first error ends the work and is raised. `cluster` is the address of a Dask scheduler; the function and items
    must then be of importable types, and paths must mean the same on every machine.
    """
    if not items:
        return []
    progress = Progress(label, len(items))

    def on_item_done(item: T, result: R) -> None:
        done(item, result)
        progress.step()

    if cluster:
        return run_on_cluster(function, items, on_item_done, cluster)
    return run_on_threads(function, items, on_item_done)


def run_on_threads(function: Callable[[T], R], items: Sequence[T], on_item_done: Callable[[T, R], None]) -> list[R]:
    """Dask's threaded scheduler: results in the items' order, one thread a CPU of this process."""
    import threading

    from dask.base import compute
    from dask.delayed import delayed

    lock = threading.Lock()

    def call(item: T) -> R:
        result = function(item)
        with lock:
            on_item_done(item, result)
        return result

    tasks = [delayed(call, pure=False)(item) for item in items]
    return list(compute(*tasks, scheduler="threads", num_workers=workers()))  # type: ignore[no-untyped-call]


def run_on_cluster(
    function: Callable[[T], R], items: Sequence[T], on_item_done: Callable[[T, R], None], address: str
) -> list[R]:
    """Dask distributed: results in the items' order from the scheduler at an address."""
    from distributed import Client, as_completed

    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        futures = client.map(function, items, pure=False)
        position = {future.key: i for i, future in enumerate(futures)}
        results: dict[int, R] = {}
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            i = position[future.key]
            results[i] = future.result()
            on_item_done(items[i], results[i])
    return [results[i] for i in range(len(items))]


class Progress:
    """Progress log: one line each tenth of the way."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total, self._count = label, total, 0

    def step(self) -> None:
        """Counts one item that is done."""
        self._count += 1
        if self._total == 1:
            return
        if self._count == self._total or self._count * 10 // self._total > (self._count - 1) * 10 // self._total:
            log.info("%s: %d of %d", self._label, self._count, self._total)
