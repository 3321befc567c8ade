"""Training throughput: images a second of reading, reading + augmentation, and the whole step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from landcover_orch.training import sampling
from landcover_orch.training.loader import Batch, Batches
from landcover_orch.training.task import Task, train_batches, varied

PATIENCE_S = 1.0
"""Seconds of one measurement."""

Table = dict[str, float | None]

TITLES = {"read": "read", "read_augment": "read + augment", "step": "step, with validation"}


def table(task: Task, seconds: Sequence[float]) -> Table:
    """Images a second: `read`, `read_augment` (measured now, as training reads), `step` (of the epochs so far).

    A step is reading, augmentation, transfer, forward, backward and update, with validation in the epoch's time.
    """
    order = sampling.order(task.train, task.experiment, 0, code=task.code)
    images = sum(len(step) for step in order)
    return {
        "read": rate(iter(Batches(task.train, order))),
        "read_augment": rate(augmented(task)),
        "step": images * len(seconds) / sum(seconds) if seconds else None,
    }


def augmented(task: Task, steps: int | None = None) -> Iterator[Batch]:
    """The first epoch's train batches, or that many full ones, varied where training varies them."""
    kind = task.device.kind
    for batch in train_batches(task, 0, steps):
        yield varied(task, batch.to(kind), 0)


def rate(batches: Iterator[Batch], patience: float = PATIENCE_S) -> float:
    """Images a second of a pass that is left after `patience` seconds."""
    began, images, batch = time.perf_counter(), 0, None
    for batch in batches:
        images += len(batch.image)
        if time.perf_counter() - began > patience:
            break
    if batch is not None and batch.image.is_cuda:
        torch.cuda.synchronize()
    return images / (time.perf_counter() - began)


def lines(measured: Table, cache: str) -> list[str]:
    """The table for a log; what was not measured is left out."""
    rates = [f"  {TITLES[key]:24s}{value:10,.0f}" for key, value in measured.items() if value is not None]
    return [f"throughput, images/s (cache: {cache})", *rates] if rates else []
