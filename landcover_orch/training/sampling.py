"""Patch sampling: which patches each step of an epoch takes: all of them shuffled, drawn by class, or by own code."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from landcover_orch import config, custom
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.sampling import CustomSampling
from landcover_orch.errors import CodeError, Problem
from landcover_orch.training.loader import PatchSource, in_order, shuffled

BY_CLASS, CUSTOM = 3, 4
"""Separate these streams of random numbers from the others of one (seed, epoch)."""


def order(
    source: PatchSource, experiment: Experiment, epoch: int, steps: int | None = None, *, code: Path | None = None
) -> list[NDArray[np.int64]]:
    """Patch indices of each step of an epoch, as the experiment samples.

    Args:
        source: the patches.
        experiment: how they are sampled.
        epoch: from 0.
        steps: stands for its `steps_per_epoch`.
        code: folder of custom code; None: that of the configurations.

    Raises:
        CodeError: a custom sampler is switched off, cannot be built, or does not give indices of patches.
    """
    e, steps = experiment, steps or experiment.steps_per_epoch
    match e.sampling:
        case "uniform":
            return shuffled(len(source), e.batch_size, steps, e.seed, epoch)
        case "by_class":
            return by_class(source.class_count(), e.batch_size, steps, e.seed, epoch)
        case CustomSampling():
            draws = len(source) if steps is None else steps * e.batch_size
            folder = code or config.code_folder()
            return in_order(custom_draws(e.sampling, folder, source.class_count(), draws, e.seed, epoch), e.batch_size)
        case _:
            assert_never(e.sampling)


def custom_draws(
    settings: CustomSampling, folder: Path, count: NDArray[np.int64], draws: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Draws of a custom sampler: patch indices (draws,) that `build(**arguments)(count, draws, epoch, random)` gives.

    Args:
        settings: the sampler.
        folder: of its code.
        count: labelled pixels (patch, class).
        draws: how many patches an epoch takes.
        seed: of the experiment; with the epoch it seeds `random`, a generator of NumPy's.
        epoch: from 0.

    Raises:
        CodeError: the sampler cannot be built, or gives something else.
    """
    sampler = custom.create(settings, folder)
    patch = np.asarray(sampler(count, draws, epoch, np.random.default_rng([seed, epoch, CUSTOM])))
    if patch.shape != (draws,) or patch.dtype.kind not in "iu" or patch.min() < 0 or patch.max() >= len(count):
        text = f"gives {patch.dtype} {patch.shape}" + (f" from {patch.min()} to {patch.max()}" if patch.size else "")
        expected = f"{draws} indices of patches, whole numbers from 0 to {len(count) - 1}"
        raise CodeError(Problem(f"`build: {settings.build}`", text, expected, "return one index a draw"))
    return patch.astype(np.int64)


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
