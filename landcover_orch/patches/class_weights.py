"""Class weights: how much each class counts in training, from the labelled train pixels of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from landcover_orch.config.experiments import ClassWeights
from landcover_orch.errors import TrainingError
from landcover_orch.legend import left_out_problems


def class_weights(
    settings: ClassWeights, pixels: Sequence[int], names: Sequence[str], where: str = "class_weights"
) -> tuple[float, ...]:
    """Class weights by the formula of `settings.name`, at most `clip` times the smallest; 0 for `exclude_classes`.

    With n the train pixels of a class, over the C classes that are not left out:
    inverse: 1 / n, then scaled to mean 1 over the classes that occur; median: median(n of those that occur) / n;
    balanced: sum(n) / (n C), as in the Sentinel-2 challenge's study, whose two ignored classes are `exclude_classes`.
    A class without a train pixel has weight 1: it counts nowhere in training, and its pixels elsewhere as any other.

    Args:
        settings: formula, clip and the classes left out.
        pixels: labelled train pixels of each class.
        names: of the classes, in the same order.
        where: place of the settings, for the error.

    Raises:
        TrainingError: `exclude_classes` names no class of the legend, or leaves nothing to learn.
    """
    problems = left_out_problems(settings.exclude_classes, sorted(names), f"{where}.exclude_classes", "learnt")
    if problems:
        raise TrainingError(*problems)
    number = np.asarray(pixels, np.float64)
    learnt = np.array([name not in settings.exclude_classes for name in names])
    occurs = learnt & (number > 0)
    if not occurs.any():
        return tuple(learnt.astype(float).tolist())
    number = np.where(occurs, number, 1.0)
    match settings.name:
        case "inverse":
            weights = 1 / number
        case "median":
            weights = np.median(number[occurs]) / number
        case "balanced":
            weights = number[occurs].sum() / (number * int(learnt.sum()))
        case _:
            assert_never(settings.name)
    if settings.clip is not None:
        weights = np.minimum(weights, settings.clip * weights[occurs].min())
    if settings.name == "inverse":
        weights = weights / weights[occurs].mean()
    return tuple(np.where(learnt, np.where(occurs, weights, 1.0), 0.0).tolist())
