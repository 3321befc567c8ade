"""KL divergence of class proportions: how far those of a map are from those of the labels, picture by picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from landcover_orch.metrics import confusion
from landcover_orch.metrics.metric import MapMetric, Metric, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOOR = 1e-7
"""Added to every fraction, so that a class that only one of two has does not make the divergence infinite."""

Counts: TypeAlias = "NDArray[np.int64]"
"""Pixels of each class, a picture a row: (picture, class)."""


def class_counts(labels: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Class histograms (2, class) of labels and map, both (y, x), where there is a label."""
    import numpy as np

    matrix = confusion.count(labels, predicted, classes)
    return np.stack([matrix.sum(axis=1), matrix.sum(axis=0)])


def divergence(counts: NDArray[np.int64]) -> Value:
    """Mean KL divergence over pictures (see `divergences`); those without labels are left out, None of none.

    Args:
        counts: pixels (picture, 2, class), actual and predicted.
    """
    import numpy as np

    each = divergences(counts[:, 0], counts[:, 1])
    known = each[~np.isnan(each)]
    return float(known.mean()) if len(known) else None


def divergences(actual: Counts, predicted: Counts) -> NDArray[np.float64]:
    """KL divergence: KL(y, p) = sum (y + e) ln((y + e) / (p + e)), e = 1e-7, of each picture; the smaller the better.

    y and p are a picture's fractions of each class, actual and predicted. The mean over pictures is the score of the
    Sentinel-2 challenge on land-cover proportions. NaN for a picture without labels; one of which nothing is
    predicted has fractions of 0.
    """
    import numpy as np

    y, p = (part / np.maximum(part.sum(axis=1, keepdims=True), 1) + FLOOR for part in (actual, predicted))
    each = (y * np.log(y / p)).sum(axis=1)
    return np.where(actual.sum(axis=1) > 0, each, np.nan)


METRICS: tuple[Metric, ...] = (
    MapMetric(
        name="kl_proportions",
        title="KL of proportions",
        smaller_is_better=True,
        count=class_counts,
        function=divergence,
    ),
)
