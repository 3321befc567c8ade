"""Patch sampling: which patches each step of an epoch takes, all of them shuffled, or drawn by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config.experiments import Experiment
from landcover_orch.training.loader import PatchSource, in_order, shuffled

BY_CLASS = 3
"""Separates this stream of random numbers from the others of one (seed, epoch)."""


def order(source: PatchSource, experiment: Experiment, epoch: int, steps: int | None = None) -> list[NDArray[np.int64]]:
    """Patch indices of each step of an epoch, as the experiment samples; `steps` stands for its `steps_per_epoch`."""
    e, steps = experiment, steps or experiment.steps_per_epoch
    if e.sampling == "by_class":
        return by_class(source.class_count(), e.batch_size, steps, e.seed, epoch)
    return shuffled(len(source), e.batch_size, steps, e.seed, epoch)


def by_class(
    count: NDArray[np.int64], batch_size: int, steps: int | None, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Class-balanced sampling: as many patches as `shuffled` gives, each drawn by one of its pixels.

    A class is drawn, uniformly from all that occur, then one of its labelled pixels: a patch comes in proportion to how
    much of the class it holds, as often as it is drawn.

    Args:
        count: labelled pixels (patch, class).
        batch_size: patches a step.
        steps: full batches; None: as many draws as there are patches.
        seed: of the experiment.
        epoch: from 0.
    """
    random = np.random.default_rng([seed, epoch, BY_CLASS])
    draws = len(count) if steps is None else steps * batch_size
    cumulative = count.cumsum(axis=0)
    drawn = random.choice(np.flatnonzero(cumulative[-1]), draws)
    pixel = random.integers(0, cumulative[-1, drawn])
    patch = np.empty(draws, np.int64)
    for label in np.unique(drawn):
        patch[drawn == label] = np.searchsorted(cumulative[:, label], pixel[drawn == label], side="right")
    return in_order(patch, batch_size)
