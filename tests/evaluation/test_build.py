"""The report as a product: page, tables and figures that agree with the matrix."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch.evaluation import build
from landcover_orch.evaluation.build import resource_usage
from landcover_orch.legend import IGNORE
from landcover_orch.metrics.catalogue import CLASS_METRICS, METRICS
from landcover_orch.metrics.proportions import divergence
from landcover_orch.store.publish import Product
from landcover_orch.tracking.metrics import report_metrics
from tests.evaluation.scored import Scored, scored

NAMES = ("field", "<script>alert(1)</script>", "a & b, c")


@pytest.fixture
def scene(home: Path) -> Scored:
    rng = np.random.default_rng(3)
    truth = {name: rng.integers(0, 2, (60, 80)).astype(np.uint8) for name in ("north", "south")}
    maps = {name: np.where(rng.random((60, 80)) < 0.8, labels, 1 - labels) for name, labels in truth.items()}
    truth["north"][:20] = IGNORE
    return scored(home, truth, {name: classes.astype(np.uint8) for name, classes in maps.items()}, names=NAMES)


@pytest.fixture
def report(scene: Scored) -> Product:
    return scene.report()


def test_the_product_is_whole(report: Product) -> None:
    figures = {"matrix.png", "classes.png", "tile-north.png", "tile-north-detail.png", "tile-south.png"}
    tables = {
        "index.html",
        "report.json",
        "matrix.csv",
        "metrics.csv",
        "repetitions.csv",
        "summary.json",
        "preview.png",
    }
    assert figures | tables | {"tile-south-detail.png"} == set(report.files)
    assert report.files["preview.png"]["bytes"] < 75_000


def test_all_tables_tell_the_same_matrix(report: Product) -> None:
    content = report.json("report.json")
    matrix = np.array(content["matrix"])
    assert content["axes"] == ["actual", "predicted"]
    assert matrix.sum() == report.json("summary.json")["pixels"] == 40 * 80 + 60 * 80
    assert np.array_equal(sum(np.array(tile["matrix"]) for tile in content["tiles"].values()), matrix)
    with report.file("matrix.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["actual \\ predicted", *NAMES]
    assert [row[0] for row in rows] == list(NAMES)
    assert np.array_equal(np.array([row[1:] for row in rows], int), matrix)


def test_normalised_rows_and_columns_sum_to_one_or_are_undefined(report: Product) -> None:
    content = report.json("report.json")
    assert [sum(row) for row in content["normalised_by_actual"][:2]] == pytest.approx([1, 1])
    assert content["normalised_by_actual"][2] == [None, None, None]
    columns = list(zip(*content["normalised_by_predicted"], strict=True))
    assert [sum(column) for column in columns[:2]] == pytest.approx([1, 1])
    assert columns[2] == (None, None, None)


def test_an_absent_class_has_no_value_and_means_say_so(report: Product) -> None:
    with report.file("metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [rows[2][name] for name in ("precision", "recall", "f1", "iou")] == [""] * 4
    content = report.json("report.json")
    assert content["means_over"]["mean_iou"] == list(NAMES[:2])
    assert content["metrics"]["mean_iou"] == pytest.approx(np.mean([float(row["iou"]) for row in rows[:2]]))
    assert "2 of 3" in report.file("index.html").read_text()


def test_every_metric_is_on_the_page_and_in_every_file(report: Product) -> None:
    content, page = report.json("report.json"), html.unescape(report.file("index.html").read_text(encoding="utf-8"))
    names = {metric.name for metric in METRICS}
    summary = report.json("summary.json")
    assert names <= summary.keys()
    assert {f"test/{name}" for name in names} <= report_metrics(summary).keys()
    assert all(names <= tile["metrics"].keys() for tile in content["tiles"].values())
    for metric in METRICS:
        value = f"{content['metrics'][metric.name]:.3f}"
        assert f'<div class="card"><b>{value}</b>{metric.title}</div>' in page
        assert page.count(f'<th scope="col">{metric.title}</th>') == 1
    for file, columns in (("repetitions.csv", names), ("metrics.csv", {m.class_name for m in CLASS_METRICS})):
        with report.file(file).open(newline="", encoding="utf-8") as rows:
            assert columns <= {*next(csv.reader(rows))}
    assert all(f"<th>{metric.class_title}</th>" in page for metric in CLASS_METRICS)
    assert f"Without such pixels, and in no mean: {NAMES[2]}." in page


@pytest.mark.parametrize("change", [{"VERSION": 13}, {"METRIC_NAMES": ["accuracy"]}], ids=str)
def test_reports_of_earlier_code_are_not_current(
    scene: Scored, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """The leaderboard reads metrics that they do not have."""
    monkeypatch.setattr(build, "load_current", lambda home, dataset: scene.manifest)
    monkeypatch.setattr(build, "experiments_of", lambda dataset: ["small"])
    monkeypatch.setattr(build, "current_models", lambda home, dataset, name: {"small": scene.model})
    with monkeypatch.context() as earlier:
        for name, value in change.items():
            earlier.setattr(build, name, value)
        scene.report()
        assert build.current_reports(scene.manifest.dataset, scene.home).keys() == {"small"}
    assert build.current_reports(scene.manifest.dataset, scene.home) == {}
    scene.report()
    assert build.current_reports(scene.manifest.dataset, scene.home).keys() == {"small"}


def test_proportions_are_compared_tile_by_tile(scene: Scored, report: Product) -> None:
    tiles = report.json("report.json")["tiles"]
    counts = {name: np.array(tile["matrix"]) for name, tile in tiles.items()}
    each = [divergence(np.stack([m.sum(axis=1), m.sum(axis=0)])[None]) for m in counts.values()]
    assert [tile["metrics"]["kl_proportions"] for tile in tiles.values()] == each
    assert report.json("summary.json")["kl_proportions"] == pytest.approx(np.mean(np.array(each, float)))


def test_the_page_stands_alone_and_escapes_names(report: Product) -> None:
    text = report.file("index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a &amp; b, c" in text
    assert set(re.findall(r'(?:src|href)="([a-z]+:)', text)) == {"data:"}
    assert text.count("data:image/png;base64,") == 6


def test_the_page_says_what_was_counted_and_what_it_cost(report: Product) -> None:
    text = report.file("index.html").read_text(encoding="utf-8")
    for words in (
        "actual",
        "predicted",
        "recall",
        "precision",
        "ground truth",
        "peak memory",
        "12\u202f345 parameters",
    ):
        assert words in text
    assert f"{report.json('summary.json')['accuracy']:.3f}" in text
    assert "as uint8 at 1 m a pixel" in text


def test_the_page_links_to_the_registered_model_and_to_the_training_run(scene: Scored, report: Product) -> None:
    text = report.file("index.html").read_text(encoding="utf-8")
    assert 'href="/go/mlflow/models/scored"' in text
    assert f'href="/go/mlflow/trainings/scored/small/{scene.model.fingerprint}"' in text


def test_costs_are_summed_and_what_nobody_measured_stays_unknown(scene: Scored) -> None:
    usage = resource_usage(scene.manifest, [scene.model], [*scene.predictions.values()], scene.home)
    assert {name: count for name, (count, _) in usage.items()} == {
        "ground_truth": 2,
        "patches": 2,
        "dataset_manifest": 0,
        "model": 1,
        "prediction": 2,
    }
    assert usage["dataset_manifest"][1].wall_s is None
    single = [product.cost for product in scene.predictions.values()]
    assert usage["prediction"][1].bytes == sum(cost.bytes or 0 for cost in single) > 0
    assert usage["prediction"][1].peak_bytes == max(cost.peak_bytes or 0 for cost in single)


def test_tables_and_figures_follow_from_the_recipe(scene: Scored, report: Product) -> None:
    again = scored(
        scene.home / "again",
        {"north": np.zeros((9, 9), np.uint8)},
        {"north": np.zeros((9, 9), np.uint8)},
        names=NAMES,
    )
    other, same = again.report(), scene.report()
    assert same.path == report.path
    assert other.fingerprint != report.fingerprint
    assert json.loads(other.file("summary.json").read_text())["accuracy"] == 1.0
