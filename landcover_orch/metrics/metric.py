"""Metric: how well a map agrees with labels; its names, and the function that computes it.

A metric is a function of the confusion matrix, a function of it for each class, or a function of a map and its labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Counts: TypeAlias = "NDArray[np.int64 | np.float64]"
"""Pixel counts as metrics take them: an expected matrix holds fractions."""

Value = float | None
"""Value of a metric; None where it is undefined."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Names of a metric, and how it is read.

    `name` stands in files, configurations and MLflow, `title` on pages. `headline` metrics are those that are shown
    where only a few are: on the index page, in the curves of a training, on the terminal.
    """

    name: str
    title: str
    smaller_is_better: bool = False
    headline: bool = False


@dataclass(frozen=True, kw_only=True)
class MatrixMetric(Naming):
    """Metric of a confusion matrix (actual, predicted) as one number."""

    function: Callable[[Counts], Value]


@dataclass(frozen=True, kw_only=True)
class ClassMetric(Naming):
    """Metric of each class by a confusion matrix (actual, predicted); `name` and `title` are those of its mean."""

    class_name: str
    class_title: str
    function: Callable[[Counts], list[Value]]

    def mean(self, matrix: Counts, included: Sequence[bool]) -> Value:
        """Mean over the included classes, of those that have a value; None where none has."""
        return mean([value for value, within in zip(self.function(matrix), included, strict=True) if within])


@dataclass(frozen=True, kw_only=True)
class MapMetric(Naming):
    """Metric of pictures, each a map and its labels: a tile in a report, a patch in a training's validation.

    `count` takes labels (y, x; 255 where nothing is scored), map (y, x) and the number of classes, and gives whole
    numbers in an array of any shape. It is called block by block, and a picture's counts are the sum of its blocks':
    what it counts must not depend on where a picture is cut. `function` takes the counts (picture, ...).
    """

    count: Callable[[NDArray[np.uint8], NDArray[np.uint8], int], NDArray[np.int64]]
    function: Callable[[NDArray[np.int64]], Value]


Metric = MatrixMetric | ClassMetric | MapMetric


def mean(values: Sequence[Value]) -> Value:
    """Mean of the values that are defined; None where none is."""
    import numpy as np

    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
