"""Class proportions of pictures, and how far a map's are from the labels'."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landcover_orch.legend import IGNORE

FLOOR = 1e-7
"""Added to every share, so that a class that only one side has does not make the divergence infinite."""

Counts = NDArray[np.int64]
"""Pixels of each class, a picture a row: (picture, class)."""


def counts(classes: NDArray[np.uint8], label: NDArray[np.uint8], number: int) -> Counts:
    """Pixels of each class (picture, class) where there is a label.

    Args:
        classes: (picture, y, x), each below `number` where there is a label.
        label: (picture, y, x), 255 where nothing is labelled.
        number: of classes.
    """
    picture, row, column = np.nonzero(label != IGNORE)
    joint = picture * number + classes[picture, row, column]
    return np.bincount(joint, minlength=len(label) * number).reshape(len(label), number)


def divergence(actual: Counts, predicted: Counts) -> float | None:
    """Mean over pictures of KL(y, p) = sum (y + e) ln((y + e) / (p + e)), e = 1e-7; the smaller the better.

    y and p are a picture's shares of each class, actual and predicted. It is the score of the Sentinel-2 challenge on
    land-cover proportions. Pictures without labels are left out; None where none has any.
    """
    known = actual.sum(axis=1) > 0
    if not known.any():
        return None
    y, p = (part[known] / part[known].sum(axis=1, keepdims=True) + FLOOR for part in (actual, predicted))
    return float((y * np.log(y / p)).sum(axis=1).mean())
