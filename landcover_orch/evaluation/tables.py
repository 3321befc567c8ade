"""Metric tables of an evaluation: a row a class, flat metrics, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from landcover_orch.metrics import catalogue, confusion
from landcover_orch.metrics.catalogue import CLASS_METRICS, NO_COUNTS, MapCounts
from landcover_orch.metrics.confusion import Matrix
from landcover_orch.metrics.metric import Counts, Value

CORNER = "actual \\ predicted"
"""Head of a matrix's first column: which way its axes run."""


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """CSV text of rows; an undefined value is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def class_rows(names: Sequence[str], matrix: Matrix) -> list[dict[str, Any]]:
    """Per-class metrics: pixels actual and predicted, and each metric of a class, None where it is undefined."""
    columns: dict[str, Sequence[Any]] = {
        "class": names,
        "actual_pixels": matrix.sum(axis=1).tolist(),
        "predicted_pixels": matrix.sum(axis=0).tolist(),
        **{metric.class_name: metric.function(matrix) for metric in CLASS_METRICS},
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def summary(
    names: Sequence[str], matrix: Counts, counts: MapCounts = NO_COUNTS, minor: Sequence[str] = ()
) -> dict[str, Value]:
    """Metrics of an evaluation, flat: pixels, every metric of the catalogue, and the IoU of each class.

    Where there are minor classes, each mean is also taken without them, as 'mean_iou without clutter'; pixels of
    theirs still count as errors in the other classes.

    Args:
        names: the classes.
        matrix: (actual, predicted), of all tiles together.
        counts: of each map metric (tile, ...).
        minor: the classes that a second set of means leaves out.
    """
    ious = {f"iou {name}": value for name, value in zip(names, confusion.iou(matrix), strict=True)}
    means = means_excluding(names, matrix, minor)
    return {"pixels": int(matrix.sum()), **catalogue.summary(matrix, counts), **means, **ious}


def means_excluding(names: Sequence[str], matrix: Counts, minor: Sequence[str]) -> dict[str, Value]:
    """Class means without minor classes, as 'mean_iou without clutter'; none where no class is minor.

    Args:
        names: the classes.
        matrix: (actual, predicted), of all classes.
        minor: the classes to leave out.
    """
    if not minor:
        return {}
    occurs = catalogue.occurring(matrix)
    major = [within and name not in minor for name, within in zip(names, occurs, strict=True)]
    return {f"{metric.name} without {', '.join(minor)}": metric.mean(matrix, major) for metric in CLASS_METRICS}


def defined_classes(names: Sequence[str], matrix: Counts) -> dict[str, list[str]]:
    """The classes that each mean is over: those that occur as actual, where the metric has a value."""
    occurs = catalogue.occurring(matrix)
    return {
        metric.name: [
            name
            for name, value, within in zip(names, metric.function(matrix), occurs, strict=True)
            if within and value is not None
        ]
        for metric in CLASS_METRICS
    }


def absent_classes(names: Sequence[str], matrix: Counts) -> list[str]:
    """The classes without scored pixels, which no mean is over."""
    return [name for name, occurs in zip(names, catalogue.occurring(matrix), strict=True) if not occurs]
