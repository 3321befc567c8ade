"""Confusion matrix, and every metric as a function of it. Rows = actual, columns = predicted.

A class that occurs neither as actual nor as predicted has no precision, recall, F1 or IoU: it is None, never 0, and
means leave it out and say over which classes they were taken.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from landcover_orch.errors import GridError, Problem
from landcover_orch.legend import IGNORE
from landcover_orch.metrics.metric import ClassMetric, Counts, MatrixMetric, Metric, Value

if TYPE_CHECKING:  # configurations know the names of metrics without loading NumPy
    import numpy as np
    from numpy.typing import NDArray

Matrix: TypeAlias = "NDArray[np.int64]"
"""Pixel counts (actual, predicted), shape (classes, classes)."""

BLOCK = 2**20


def count(actual: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> Matrix:
    """Confusion matrix (actual, predicted) of two class arrays of one shape; where the actual is 255 nothing counts.

    Counts by `bincount` over a joint 16-bit code, block by block.

    Raises:
        GridError: shapes differ, or a labelled pixel has a value that is no class.
    """
    import numpy as np

    if actual.shape != predicted.shape:
        raise GridError(
            Problem(
                "confusion matrix",
                f"shapes {actual.shape} and {predicted.shape}",
                "equal shapes",
                "predict on the label's grid",
            )
        )
    joint = np.zeros(65_536, np.int64)
    flat_actual, flat_predicted = actual.reshape(-1), predicted.reshape(-1)
    for start in range(0, flat_actual.size, BLOCK):
        code = flat_actual[start : start + BLOCK].astype(np.uint16) << 8 | flat_predicted[start : start + BLOCK]
        joint += np.bincount(code, minlength=65_536)
    table = joint.reshape(256, 256)
    invalid = {
        "actual": np.flatnonzero(table[classes:IGNORE].sum(axis=1)) + classes,
        "predicted": np.flatnonzero(table[:classes, classes:].sum(axis=0)) + classes,
    }
    for axis, values in invalid.items():
        if values.size:
            raise GridError(
                Problem(
                    f"confusion matrix, {axis} classes",
                    f"values {values.tolist()}",
                    f"0 to {classes - 1}",
                    "use the legend both were made with",
                )
            )
    return table[:classes, :classes].copy()


def _ratios(part: Counts, total: Counts) -> list[Value]:
    return [float(p / t) if t else None for p, t in zip(part, total, strict=True)]


def accuracy(matrix: Counts) -> Value:
    """Overall accuracy: correct pixels over all pixels; None for an empty matrix."""
    total = matrix.sum()
    return float(matrix.trace() / total) if total else None


def recall(matrix: Counts) -> list[Value]:
    """Recall, producer's accuracy, a class: correct over actual; None for a class that does not occur."""
    return _ratios(matrix.diagonal(), matrix.sum(axis=1))


def precision(matrix: Counts) -> list[Value]:
    """Precision, user's accuracy, a class: correct over predicted; None for a class that is never predicted."""
    return _ratios(matrix.diagonal(), matrix.sum(axis=0))


def f1(matrix: Counts) -> list[Value]:
    """F1, the harmonic mean of precision and recall, a class: 2 hits / (actual + predicted)."""
    return _ratios(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1))


def iou(matrix: Counts) -> list[Value]:
    """Intersection over union (Jaccard index) a class: hits / (actual + predicted - hits)."""
    return _ratios(matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1) - matrix.diagonal())


def kappa(matrix: Counts) -> Value:
    """Cohen's kappa: (po - pe) / (1 - pe); None where it is undefined (no pixels, or pe = 1)."""
    total = float(matrix.sum())
    if not total:
        return None
    expected = float((matrix.sum(axis=0) / total) @ (matrix.sum(axis=1) / total))
    return float((matrix.trace() / total - expected) / (1 - expected)) if expected < 1 else None


def mcc(matrix: Counts) -> Value:
    """Matthews correlation coefficient for any number of classes (Gorodkin 2004); 0 where a margin is empty.

    None for an empty matrix.
    """
    total = float(matrix.sum())
    if not total:
        return None
    fractions = matrix / total
    predicted, actual = fractions.sum(axis=0), fractions.sum(axis=1)
    spread = (1 - predicted @ predicted) * (1 - actual @ actual)
    return float((fractions.trace() - predicted @ actual) / math.sqrt(spread)) if spread > 0 else 0.0


def normalised(matrix: Counts, axis: str) -> list[list[Value]]:
    """Normalised confusion matrix: fractions of each `actual` row or `predicted` column; None where it is empty."""
    import numpy as np

    totals = matrix.sum(axis=1, keepdims=True) if axis == "actual" else matrix.sum(axis=0, keepdims=True)
    totals = np.broadcast_to(totals, matrix.shape)
    return [_ratios(part, total) for part, total in zip(matrix, totals, strict=True)]


METRICS: tuple[Metric, ...] = (
    MatrixMetric(name="accuracy", title="accuracy", headline=True, function=accuracy),
    ClassMetric(name="mean_recall", title="mean recall", class_name="recall", class_title="recall", function=recall),
    ClassMetric(
        name="mean_precision",
        title="mean precision",
        class_name="precision",
        class_title="precision",
        function=precision,
    ),
    ClassMetric(name="mean_f1", title="mean F1", class_name="f1", class_title="F1", headline=True, function=f1),
    ClassMetric(name="mean_iou", title="mean IoU", class_name="iou", class_title="IoU", headline=True, function=iou),
    MatrixMetric(name="kappa", title="Cohen's \u03ba", function=kappa),
    MatrixMetric(name="mcc", title="MCC", function=mcc),
)
