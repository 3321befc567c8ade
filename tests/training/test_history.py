"""Rows of epochs: metrics, the best, patience, CSV, curves."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from landcover_orch.config.experiments import Metric
from landcover_orch.tracking.metrics import epoch_metrics
from landcover_orch.training import history
from landcover_orch.training.distributed.process_group import SINGLE_PROCESS
from landcover_orch.training.fit import mean_loss
from landcover_orch.training.history import Row, Tally

FIXED = {"accuracy": 0.5, "mean_f1": 0.4}


def _rows(*scores: float | None, losses: tuple[float, ...] = ()) -> list[Row]:
    losses = losses or tuple(1.0 for _ in scores)
    return [
        Row(
            i + 1,
            1 / (i + 1),
            loss,
            {**FIXED, "mean_iou": score},
            {"a": score, "b": None},
            0.01,
        )
        for i, (score, loss) in enumerate(zip(scores, losses, strict=True))
    ]


def _tally() -> Tally:
    """Of the matrix [[6, 2, 0], [1, 1, 0], [0, 0, 0]], in two patches; the second has the class 1 alone."""
    tally = Tally(3)
    tally.add(
        np.array([[[0, 0, 0, 0, 0, 0, 0, 0, 255]]], np.uint8), np.array([[[0, 0, 0, 0, 0, 0, 1, 1, 2]]], np.uint8)
    )
    tally.add(np.array([[[1, 1]]], np.uint8), np.array([[[0, 1]]], np.uint8))
    return tally


def test_metrics_are_functions_of_the_matrix_and_absent_classes_are_none() -> None:
    row = history.row(1, 0.5, 0.6, _tally(), ("a", "b", "c"), 0.01)
    assert row.metrics["accuracy"] == 0.7
    assert row.iou == {"a": 6 / 9, "b": 0.25, "c": None}
    assert row.metrics["mean_iou"] == pytest.approx((6 / 9 + 0.25) / 2)
    metrics = epoch_metrics(asdict(row), 2.0)
    assert "validation/iou/c" not in metrics
    assert metrics["validation/iou/b"] == 0.25
    assert (metrics["train/loss"], metrics["validation/loss"]) == (0.5, 0.6)
    assert (metrics["train/lr"], metrics["train/seconds"]) == (0.01, 2.0)
    assert {name.partition("/")[0] for name in metrics} == {"train", "validation"}


def test_the_loss_of_an_epoch_counts_each_labelled_pixel_once_and_not_each_batch() -> None:
    batches = [(torch.tensor(1.0), torch.tensor(100)), (torch.tensor(3.0), torch.tensor(300))]
    assert mean_loss(batches, SINGLE_PROCESS) == 2.5
    assert mean_loss([*batches, (torch.tensor(0.0), torch.tensor(0))], SINGLE_PROCESS) == 2.5, "nothing is labelled"


def test_every_metric_that_can_choose_is_there_and_scores() -> None:
    row = history.row(1, 0.5, 0.6, _tally(), ("a", "b", "c"), 0.01)
    assert {"loss", *row.metrics} == set(get_args(Metric))
    assert all(np.isfinite(history.score(row, name)) for name in get_args(Metric))


def test_the_divergence_of_proportions_is_the_mean_over_patches() -> None:
    first, second = math.log(8 / 6), math.log(2)  # of (1, 0) against (3/4, 1/4), and of (0, 1) against (1/2, 1/2)
    assert _tally().metrics()["kl_proportions"] == pytest.approx((first + second) / 2, abs=1e-5)


def test_a_smaller_divergence_is_better() -> None:
    rows = [
        replace(row, metrics={"kl_proportions": kl}) for row, kl in zip(_rows(0, 0, 0), (0.5, 0.1, 0.3), strict=True)
    ]
    assert history.best(rows, "kl_proportions").epoch == 2


def test_the_best_is_the_first_of_equals() -> None:
    assert history.best(_rows(0.2, 0.7, 0.7, 0.1), "mean_iou").epoch == 2


def test_a_smaller_loss_is_better() -> None:
    assert history.best(_rows(0.1, 0.2, 0.3, losses=(0.5, 0.2, 0.9)), "loss").epoch == 2


def test_an_undefined_metric_is_worse_than_any() -> None:
    assert history.best(_rows(None, 0.0), "mean_iou").epoch == 2


@pytest.mark.parametrize(
    ("scores", "patience", "stops"),
    [((0.5, 0.4, 0.4), 2, True), ((0.5, 0.4, 0.6), 2, False), ((0.5, 0.4), 2, False), ((0.5,) * 9, None, False)],
)
def test_patience(scores: tuple[float, ...], patience: int | None, stops: bool) -> None:
    assert history.exhausted(_rows(*scores), "mean_iou", patience) is stops


def test_csv_has_a_line_an_epoch_and_empty_cells_where_undefined(tmp_path: Path) -> None:
    history.write_csv(tmp_path / "h.csv", _rows(0.25, 0.5))
    lines = list(csv.DictReader((tmp_path / "h.csv").read_text().splitlines()))
    assert [line["mean_iou"] for line in lines] == ["0.25", "0.5"]
    assert [line["iou b"] for line in lines] == ["", ""]


def test_curves_are_a_picture_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        history.draw(tmp_path / name, _rows(0.2, None, 0.5), ["#ff0000", "#0000ff"], 3)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "one.png").convert("RGB"))
    assert ((picture[..., 0] > 200) & (picture[..., 1:] < 60).all(axis=2)).any()
