"""Where work runs: threads of this machine through Dask, or a Dask cluster by address."""

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
    """Results of `function` for each item, in the items' order; `done` hears of each as it ends, one at a time.

    The first error ends the work and is raised. `cluster` is the address of a Dask scheduler; the function and items
    must then be of importable types, and paths must mean the same on every machine.
    """
    if not items:
        return []
    progress = _Progress(label, len(items))

    def heard(item: T, result: R) -> None:
        done(item, result)
        progress.step()

    return _on_cluster(function, items, heard, cluster) if cluster else _on_threads(function, items, heard)


def _on_threads(function: Callable[[T], R], items: Sequence[T], heard: Callable[[T, R], None]) -> list[R]:
    import threading

    import dask
    import dask.threaded

    lock = threading.Lock()

    def one(item: T) -> R:
        result = function(item)
        with lock:
            heard(item, result)
        return result

    tasks = [dask.delayed(one, pure=False)(item) for item in items]
    return list(dask.compute(*tasks, scheduler="threads", num_workers=workers()))


def _on_cluster(function: Callable[[T], R], items: Sequence[T], heard: Callable[[T, R], None], address: str) -> list[R]:
    from distributed import Client, as_completed

    with Client(address, set_as_default=False) as client:
        futures = client.map(function, items, pure=False)
        position = {future.key: i for i, future in enumerate(futures)}
        results: dict[int, R] = {}
        for future in as_completed(futures, loop=client.loop):
            i = position[future.key]
            results[i] = future.result()
            heard(items[i], results[i])
    return [results[i] for i in range(len(items))]


class _Progress:
    """One log line each tenth of the way."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total, self._count = label, total, 0

    def step(self) -> None:
        self._count += 1
        if self._total == 1:
            return
        if self._count == self._total or self._count * 10 // self._total > (self._count - 1) * 10 // self._total:
            log.info("%s: %d of %d", self._label, self._count, self._total)
