"""How many images a second each part of training manages: reading, reading + varying, the whole step."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence

from landcover_orch.training.fit import Task, host_variation
from landcover_orch.training.loader import Batches, shuffled

PATIENCE_S = 1.0
"""How long one measurement goes on."""

Table = dict[str, float | None]


def table(task: Task, seconds: Sequence[float]) -> Table:
    """Images a second: `read`, `read_augment` (measured now, on one thread each time), `step` (of the epochs so far).

    A step is reading, varying, moving, forward, backward and update, with validation in the epoch's time.
    """
    e = task.experiment
    steps = shuffled(len(task.train), e.batch_size, e.steps_per_epoch, e.seed, 0)
    images = sum(len(step) for step in steps)
    return {
        "read": _rate(Batches(task.train, steps), len(steps)),
        "read_augment": _rate(Batches(task.train, steps, host_variation(task, 0)), len(steps)),
        "step": images * len(seconds) / sum(seconds) if seconds else None,
    }


def _rate(batches: Batches, steps: int) -> float:
    began, images = time.perf_counter(), 0
    for step in _until(began + PATIENCE_S, range(steps)):
        images += len(batches.read(step).image)
    return images / (time.perf_counter() - began)


def _until(deadline: float, steps: Iterable[int]) -> Iterable[int]:
    return itertools.takewhile(lambda step: step == 0 or time.perf_counter() < deadline, steps)


def lines(measured: Table) -> list[str]:
    """The table for a log."""
    names = {"read": "read", "read_augment": "read + augment", "step": "step (with validation)"}
    return [f"{title}: {measured[key]:.0f} images/s" for key, title in names.items() if measured[key] is not None]
