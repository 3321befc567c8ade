"""One list of metrics, and one rule for means: over the classes that occur as actual."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from landcover_orch.metrics import catalogue
from landcover_orch.metrics.catalogue import CLASS_METRICS, METRICS, SHOWN, smaller_is_better, summary, title

ROOT = Path(__file__).resolve().parents[2]
NEVER_LABELLED = np.array([[6, 2, 0], [0, 4, 4], [0, 0, 0]], np.int64)
"""The third class is predicted and does not occur; it lowers the second's recall, and is in no mean."""


def test_a_class_without_labelled_pixels_is_in_no_mean() -> None:
    metrics = summary(NEVER_LABELLED)
    assert catalogue.occurring(NEVER_LABELLED) == [True, True, False]
    assert metrics["mean_iou"] == pytest.approx((6 / 8 + 4 / 10) / 2)
    assert metrics["mean_f1"] == pytest.approx((12 / 14 + 8 / 14) / 2)
    assert metrics["mean_recall"] == pytest.approx((6 / 8 + 4 / 8) / 2)
    assert metrics["mean_precision"] == pytest.approx((6 / 6 + 4 / 6) / 2)
    assert catalogue.ranking_score(NEVER_LABELLED) == metrics["mean_iou"]


def test_a_class_that_is_never_predicted_counts_as_missed_and_has_no_precision() -> None:
    metrics = summary(np.array([[5, 0], [5, 0]], np.int64))
    assert metrics["mean_iou"] == pytest.approx((5 / 10 + 0) / 2)
    assert metrics["mean_precision"] == pytest.approx(5 / 10)


def test_map_metrics_are_undefined_without_counts() -> None:
    labels, classes = np.array([[0, 0, 1]], np.uint8), np.array([[0, 1, 1]], np.uint8)
    counts = {name: counted[None] for name, counted in catalogue.map_counts(labels, classes, 2).items()}
    matrix = np.array([[1, 1], [0, 1]], np.int64)
    assert summary(matrix)["kl_proportions"] is None
    expected = 2 / 3 * np.log((2 / 3) / (1 / 3)) + 1 / 3 * np.log((1 / 3) / (2 / 3))
    assert summary(matrix, counts)["kl_proportions"] == pytest.approx(expected, abs=1e-5)


def test_names_are_unique_and_pages_show_them_all_with_what_ranks_first() -> None:
    names = [metric.name for metric in METRICS]
    assert len({*names, *(metric.class_name for metric in CLASS_METRICS)}) == len(METRICS) + len(CLASS_METRICS)
    assert sorted(metric.name for metric in SHOWN) == sorted(names) == sorted(summary(NEVER_LABELLED))
    assert SHOWN[0].name == catalogue.RANKED_BY
    assert all(metric.headline for metric in SHOWN[:3])


def test_what_is_better_and_what_it_is_called() -> None:
    assert [name for name in (*summary(NEVER_LABELLED), "loss") if smaller_is_better(name)] == [
        "kl_proportions",
        "loss",
    ]
    assert (title("mean_iou"), title("kappa"), title("iou tall grass")) == ("mean IoU", "Cohen's κ", "iou tall grass")


def test_no_other_list_names_the_metrics() -> None:
    """A metric that is added here has to be added nowhere else."""
    names = {metric.name for metric in METRICS}
    sources = [path for folder in ("landcover_orch", "assets") for path in (ROOT / folder).rglob("*.py")]
    lists = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict)
        and len(names & {part.value for part in ast.iter_child_nodes(node) if isinstance(part, ast.Constant)}) > 2
    ]
    templates = {path.name: path.read_text() for path in (ROOT / "landcover_orch/pages/templates").glob("*.html")}
    written = {name: re.findall(rf"\b({'|'.join(names - {'accuracy'})})\b", text) for name, text in templates.items()}
    assert (lists, {name: found for name, found in written.items() if found}) == ([], {})
