"""Metric names in MLflow: each says which split it was measured on, `train/`, `validation/` or `test/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def epoch_metrics(row: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """Metrics of an epoch: losses, learning rate, seconds, validation metrics, and IoU as 'validation/iou/<class>'.

    Args:
        row: an epoch of history.json.
        seconds: how long it took.
    """
    training = {f"{TRAIN}/loss": row["loss"], f"{TRAIN}/lr": row["lr"], f"{TRAIN}/seconds": seconds}
    iou = {f"{VALIDATION}/iou/{name}": value for name, value in row["iou"].items()}
    means = {f"{VALIDATION}/{name}": value for name, value in row["metrics"].items()}
    return defined({**training, f"{VALIDATION}/loss": row["validation_loss"], **means, **iou})


def training_metrics(images_per_second: Mapping[str, float | None], accumulate: int) -> dict[str, float]:
    """Metrics of a whole training: images a second of each part, as 'train/throughput/<part>', and micro-batches."""
    rates = {f"{TRAIN}/throughput/{name}": value for name, value in images_per_second.items()}
    return defined({**rates, f"{TRAIN}/accumulate": accumulate})


def repetition_metrics(spread: Mapping[str, Mapping[str, float | None]], repetitions: int) -> dict[str, float]:
    """Metrics of repetitions: mean and standard deviation, 'validation/mean/<metric>' and 'validation/sd/<metric>'."""
    statistics = {
        f"{VALIDATION}/{kind}/{metric_path(name)}": values[kind]
        for name, values in spread.items()
        for kind in ("mean", "sd")
    }
    return defined({**statistics, f"{TRAIN}/repetitions": repetitions})


def report_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of a report's summary.json: 'test/<metric>'; of repetitions also 'test/mean/...' and 'test/sd/...'."""
    numbers = {name: value for name, value in summary.items() if isinstance(value, int | float)}
    return defined({f"{TEST}/{metric_path(name)}": value for name, value in numbers.items()})


def metric_path(name: str) -> str:
    """The words of a summary as the path of a metric: 'mean of iou water' -> 'mean/iou/water'."""
    path = re.sub(r"^(mean|sd) of ", r"\1/", name)
    return re.sub(r"(^|/)iou ", r"\1iou/", path).replace("validation_loss", "loss")


def defined(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics that have a value."""
    return {name: float(value) for name, value in metrics.items() if value is not None}
