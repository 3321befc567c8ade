"""Metric tables of a confusion matrix: a row a class, flat headline metrics, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from landcover_orch.metrics import confusion, proportions
from landcover_orch.metrics.confusion import Counts, Matrix, Value

MEANS = ("mean_recall", "mean_precision", "mean_f1", "mean_iou")

CORNER = "actual \\ predicted"
"""Head of a matrix's first column: which way its axes run."""


WORDS = {"iou": "IoU", "f1": "F1", "kappa": "\u03ba", "mcc": "MCC"}


def words(metric: str) -> str:
    """Display name of a metric: 'mean IoU' of 'mean_iou'."""
    return " ".join(WORDS.get(word, word) for word in metric.replace("_", " ").split(" "))


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """CSV text of rows; an undefined value is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def class_rows(names: Sequence[str], matrix: Matrix) -> list[dict[str, Any]]:
    """Per-class metrics: pixels actual and predicted, precision, recall, F1 and IoU, each None where undefined."""
    columns: dict[str, Sequence[Any]] = {
        "class": names,
        "actual_pixels": matrix.sum(axis=1).tolist(),
        "predicted_pixels": matrix.sum(axis=0).tolist(),
        "precision": confusion.precision(matrix),
        "recall": confusion.recall(matrix),
        "f1": confusion.f1(matrix),
        "iou": confusion.iou(matrix),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def summary(names: Sequence[str], tiles: Collection[Matrix], minor: Sequence[str] = ()) -> dict[str, Value]:
    """Headline metrics of tiles together, flat: pixels, accuracy, means, kappa, MCC, and the IoU of each class.

    `kl_proportions` alone is not of the pooled matrix: it is the mean over tiles of the divergence of their class
    proportions, which are the margins of their matrices. Where there are minor classes, each mean is also taken
    without them, as 'mean_iou without clutter'; pixels of theirs still count as errors in the other classes.
    """
    pooled = np.sum([np.zeros((len(names), len(names)), np.int64), *tiles], axis=0)
    actual, predicted = (np.array([matrix.sum(axis=axis) for matrix in tiles or [pooled]]) for axis in (1, 0))
    ious = {f"iou {name}": value for name, value in zip(names, confusion.iou(pooled), strict=True)}
    divergence = proportions.divergence(actual, predicted)
    headline = {**confusion.summary(pooled), **means_excluding(names, pooled, minor)}
    return {"pixels": int(pooled.sum()), **headline, "kl_proportions": divergence, **ious}


def means_excluding(
    names: Sequence[str], matrix: Counts, minor: Sequence[str], among: Sequence[bool] | None = None
) -> dict[str, Value]:
    """Class means without minor classes, as 'mean_iou without clutter'; none where no class is minor.

    Args:
        names: the classes.
        matrix: (actual, predicted), of all classes.
        minor: the classes to leave out.
        among: which classes the means are taken over, before the minor ones are left out; None: those that occur.
    """
    if not minor:
        return {}
    included = among or confusion.occurring(matrix)
    major = [name not in minor and used for name, used in zip(names, included, strict=True)]
    means = confusion.summary(matrix, major)
    return {f"{mean} without {', '.join(minor)}": means[mean] for mean in MEANS}


def defined_classes(names: Sequence[str], matrix: Matrix) -> dict[str, list[str]]:
    """Defined classes of each mean: those that occur as actual, where the measure has a value."""
    among = confusion.occurring(matrix)
    measures = {
        "mean_recall": confusion.recall(matrix),
        "mean_precision": confusion.precision(matrix),
        "mean_f1": confusion.f1(matrix),
        "mean_iou": confusion.iou(matrix),
    }
    return {
        mean: [name for name, value, occurs in zip(names, values, among, strict=True) if occurs and value is not None]
        for mean, values in measures.items()
    }
