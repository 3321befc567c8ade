"""Facts of products for people: numbers in four digits, scores named by the split that they are measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from landcover_orch.metrics.catalogue import CLASS_METRICS, SHOWN

ORDER = [metric.name for metric in SHOWN]
"""Scores in the order of pages."""

SCORE = re.compile(
    rf"({'|'.join(ORDER)})( without .+)?|majority_share|({'|'.join(metric.class_name for metric in CLASS_METRICS)}) .+"
)
"""Names of scores: metrics, also without minor classes or of one class, and the accuracy of the most frequent class."""

FRACTIONS = ("share", "labelled", "coverage")
TINY = 1e-12
"""What a sum of numbers around 1 may be off by."""

SPLITS = ("train", "validation", "test")
AREA = re.compile(r"area|\w+_area|allowance|difference|largest_hole|labels|raster|patches|outside patches")
"""Names of areas, in the unit of the CRS."""

NAMES = {"loss": "train loss", "validation_loss": "validation loss"}


def name_scores(summary: Mapping[str, Any], split: str) -> dict[str, Any]:
    """A summary whose scores are named by their split: 'validation accuracy', 'test mean_iou'."""
    return {f"{split} {name}" if SCORE.fullmatch(name) else NAMES.get(name, name): v for name, v in summary.items()}


def ordered(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary with what people look for first: the scores that models are chosen by, the others, then the rest."""
    return dict(sorted(summary.items(), key=lambda item: rank(item[0])))


def rank(name: str) -> int:
    """Place of a name in a list of facts."""
    metric = name.partition(" ")[2] if name.partition(" ")[0] in SPLITS else name
    if metric in ORDER:
        return ORDER.index(metric)
    return len(ORDER) + (0 if SCORE.fullmatch(metric) else 1)


def with_units(values: Mapping[str, Any], unit_of_area: str) -> dict[str, Any]:
    """Facts whose names say the unit: areas in that of the CRS, shares in per cent; so the columns of their tables."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            shown[name] = [with_units(row, unit_of_area) for row in value]
        elif name in FRACTIONS and isinstance(value, int | float):
            shown[f"{name} (%)"] = 100 * value
        elif unit_of_area and AREA.fullmatch(name):
            shown[f"{name} ({unit_of_area})"] = value
        else:
            shown[name] = value
    return shown


def rounded(value: float) -> float:
    """A number in four digits; of one from a thousand on, all digits before the point. What rounding left of 0 is 0."""
    if abs(value) < TINY:
        return 0.0
    return float(round(value)) if abs(value) >= 1000 else float(f"{value:.4g}")
