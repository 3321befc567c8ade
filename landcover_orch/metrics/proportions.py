"""KL divergence of class proportions: how far those of a map are from those of the labels, picture by picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landcover_orch.legend import IGNORE

FLOOR = 1e-7
"""Added to every fraction, so that a class that only one of two has does not make the divergence infinite."""

Counts = NDArray[np.int64]
"""Pixels of each class, a picture a row: (picture, class)."""


def counts(classes: NDArray[np.uint8], label: NDArray[np.uint8], number: int) -> Counts:
    """Class histogram of each picture (picture, class), where there is a label.

    Args:
        classes: (picture, y, x), each below `number` where there is a label.
        label: (picture, y, x), 255 where nothing is labelled.
        number: of classes.
    """
    picture, row, column = np.nonzero(label != IGNORE)
    joint = picture * number + classes[picture, row, column]
    return np.bincount(joint, minlength=len(label) * number).reshape(len(label), number)


def divergence(actual: Counts, predicted: Counts) -> float | None:
    """Mean KL divergence over pictures (see `divergences`); those without labels are left out, None of none."""
    each = divergences(actual, predicted)
    known = each[~np.isnan(each)]
    return float(known.mean()) if len(known) else None


def divergences(actual: Counts, predicted: Counts) -> NDArray[np.float64]:
    """KL divergence: KL(y, p) = sum (y + e) ln((y + e) / (p + e)), e = 1e-7, of each picture; the smaller the better.

    y and p are a picture's fractions of each class, actual and predicted. The mean over pictures is the score of the
    Sentinel-2 challenge on land-cover proportions. NaN for a picture without labels; one of which nothing is
    predicted has fractions of 0.
    """
    y, p = (part / np.maximum(part.sum(axis=1, keepdims=True), 1) + FLOOR for part in (actual, predicted))
    each = (y * np.log(y / p)).sum(axis=1)
    return np.where(actual.sum(axis=1) > 0, each, np.nan)
