"""Which patches each step of an epoch takes: all of them shuffled, or drawn by the classes they hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config.experiments import Experiment
from landcover_orch.training.loader import PatchSource, in_order, shuffled

BY_CLASS = 3
"""Tells this stream of random numbers from the others of one (seed, epoch)."""


def order(source: PatchSource, experiment: Experiment, epoch: int, steps: int | None = None) -> list[NDArray[np.int64]]:
    """Patch indices of each step of an epoch, as the experiment samples; `steps` stands for its `steps_per_epoch`."""
    e, steps = experiment, steps or experiment.steps_per_epoch
    if e.sampling == "by_class":
        return by_class(source.class_count(), e.batch_size, steps, e.seed, epoch)
    return shuffled(len(source), e.batch_size, steps, e.seed, epoch)


def by_class(
    count: NDArray[np.int64], batch_size: int, steps: int | None, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """As many patches as `shuffled` gives, each drawn as the home of a pixel.

    A class is drawn, all that occur alike, then one of its labelled pixels: a patch comes in proportion to how much of
    the class it holds, as often as it is drawn.

    Args:
        count: labelled pixels (patch, class).
        batch_size: patches a step.
        steps: full batches; None: as many draws as there are patches.
        seed: of the experiment.
        epoch: from 0.
    """
    random = np.random.default_rng([seed, epoch, BY_CLASS])
    wanted = len(count) if steps is None else steps * batch_size
    up_to = count.cumsum(axis=0)
    drawn = random.choice(np.flatnonzero(up_to[-1]), wanted)
    pixel = random.integers(0, up_to[-1, drawn])
    patch = np.empty(wanted, np.int64)
    for found in np.unique(drawn):
        patch[drawn == found] = np.searchsorted(up_to[:, found], pixel[drawn == found], side="right")
    return in_order(patch, batch_size)
