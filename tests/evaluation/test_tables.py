"""Rows of numbers: undefined measures stay undefined, axes are named."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest

from landcover_orch.evaluation.evaluate import Evaluation
from landcover_orch.evaluation.tables import absent_classes, class_rows, csv_text, defined_classes, summary

NAMES = ("a", "b", "never")
MATRIX = np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]], np.int64)


def metrics(evaluation: Evaluation) -> Any:
    return summary(evaluation.classes, evaluation.pooled, evaluation.stacked_counts)


def test_rows_of_a_known_matrix() -> None:
    a, b, never = class_rows(NAMES, MATRIX)
    assert (a["actual_pixels"], a["predicted_pixels"]) == (8, 7)
    assert (a["precision"], a["recall"], a["iou"]) == (6 / 7, 6 / 8, 6 / 9)
    assert b["f1"] == pytest.approx(2 / 5)
    assert never == {"class": "never", "actual_pixels": 0, "predicted_pixels": 0} | dict.fromkeys(
        ("precision", "recall", "f1", "iou")
    )


def test_the_summary_is_flat_and_keeps_absent_classes_undefined() -> None:
    metrics = summary(NAMES, MATRIX)
    assert metrics["pixels"] == 10
    assert metrics["accuracy"] == 0.7
    assert metrics["iou never"] is None
    assert metrics["mean_iou"] == pytest.approx((6 / 9 + 1 / 4) / 2)


def test_all_is_of_the_pooled_matrix_but_proportions_are_compared_by_tile() -> None:
    tiles = {"t0": np.array([[8, 0], [0, 0]]), "t1": np.array([[0, 4], [0, 4]])}
    margins = {name: {"kl_proportions": np.stack([m.sum(axis=1), m.sum(axis=0)])} for name, m in tiles.items()}
    evaluation = Evaluation(("a", "b"), tiles, margins)
    first, second = (metrics(evaluation.of(name))["kl_proportions"] for name in tiles)
    assert first == pytest.approx(0, abs=1e-9)
    assert second == pytest.approx(0.5 * math.log(0.5 / 1e-7) + 0.5 * math.log(0.5), abs=1e-4)
    both = metrics(evaluation)
    assert both["kl_proportions"] == pytest.approx((first + second) / 2)
    assert both["accuracy"] == 12 / 16
    assert metrics(Evaluation(("a", "b"), tiles))["kl_proportions"] is None


def test_means_say_over_which_classes() -> None:
    classes = defined_classes(NAMES, MATRIX)
    assert set(classes) == {"mean_recall", "mean_precision", "mean_f1", "mean_iou"}
    assert all(names == ["a", "b"] for names in classes.values())
    unpredicted = np.array([[5, 0, 0], [2, 0, 0], [0, 0, 0]], np.int64)
    assert defined_classes(NAMES, unpredicted)["mean_precision"] == ["a"]
    assert defined_classes(NAMES, unpredicted)["mean_recall"] == ["a", "b"]
    assert absent_classes(NAMES, unpredicted) == ["never"]


def test_csv_survives_commas_quotes_and_none() -> None:
    text = csv_text(["x", "y"], [['with, "both"', None], ["line\nbreak", 0.5]])
    assert list(csv.reader(io.StringIO(text))) == [["x", "y"], ['with, "both"', ""], ["line\nbreak", "0.5"]]
