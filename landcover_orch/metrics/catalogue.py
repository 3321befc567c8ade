"""Catalogue of metrics: every one that is computed, in the order of files; tables, pages and choices loop over it.

Means over classes are over those that occur as actual in the pixels that are scored, everywhere: the same classes for
all maps of the same pixels. A class that is predicted and does not occur lowers the precision of others, and no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, assert_never

from landcover_orch.metrics import confusion, proportions
from landcover_orch.metrics.metric import ClassMetric, Counts, MapMetric, MatrixMetric, Metric, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METRICS: tuple[Metric, ...] = (*confusion.METRICS, *proportions.METRICS)

CLASS_METRICS = tuple(metric for metric in METRICS if isinstance(metric, ClassMetric))
MAP_METRICS = tuple(metric for metric in METRICS if isinstance(metric, MapMetric))

RANKED_BY = "mean_iou"
"""Name of the metric that experiments are ranked and champions elected by."""

SHOWN = tuple(sorted(METRICS, key=lambda metric: (metric.name != RANKED_BY, not metric.headline)))
"""All metrics in the order of pages: what people look for first."""

HEADLINE = tuple(metric for metric in SHOWN if metric.headline)

MapCounts: TypeAlias = "Mapping[str, NDArray[np.int64]]"
"""Name of a map metric -> its counts."""

NO_COUNTS: MapCounts = MappingProxyType({})


def summary(matrix: Counts, counts: MapCounts = NO_COUNTS) -> dict[str, Value]:
    """Name -> value of every metric; None where it is undefined, as a map metric without counts.

    Args:
        matrix: (actual, predicted).
        counts: of each map metric (picture, ...).
    """
    included = occurring(matrix)
    return {metric.name: _value(metric, matrix, counts, included) for metric in METRICS}


def _value(metric: Metric, matrix: Counts, counts: MapCounts, included: Sequence[bool]) -> Value:
    match metric:
        case MatrixMetric():
            return metric.function(matrix)
        case ClassMetric():
            return metric.mean(matrix, included)
        case MapMetric():
            return metric.function(counts[metric.name]) if metric.name in counts else None
        case _:
            assert_never(metric)


def ranking_score(matrix: Counts) -> float:
    """The score that experiments are ranked by; 0 where it is undefined."""
    return summary(matrix)[RANKED_BY] or 0.0


def occurring(matrix: Counts) -> list[bool]:
    """Which classes occur as actual: the same for all maps of the same pixels."""
    occurs: list[bool] = (matrix.sum(axis=1) > 0).tolist()
    return occurs


def map_counts(labels: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> dict[str, NDArray[np.int64]]:
    """Name of each map metric -> its counts of a block of a picture, both (y, x)."""
    return {metric.name: metric.count(labels, predicted, classes) for metric in MAP_METRICS}


def title(name: str) -> str:
    """Display name of a metric: 'mean IoU' of 'mean_iou'; of another number its name in words."""
    titles = {metric.name: metric.title for metric in METRICS}
    return titles.get(name, name.replace("_", " "))


def smaller_is_better(name: str) -> bool:
    """Whether the smaller value is the better one: of the loss, and of the metrics that say so."""
    return name == "loss" or any(metric.smaller_is_better for metric in METRICS if metric.name == name)
