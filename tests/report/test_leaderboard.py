"""The leaderboard: sorted, complete, and never over different test data."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from landcover_orch import publish
from landcover_orch.errors import GridError
from landcover_orch.publish import Product
from landcover_orch.report import leaderboard
from landcover_orch.report.build import build
from tests.report.scored import EXPERIMENT, Scored, scored


@pytest.fixture
def scene(home: Path) -> Scored:
    labels = np.random.default_rng(3).integers(0, 3, (30, 40)).astype(np.uint8)
    return scored(home, {"a": labels}, {"a": labels})


def _report(scene: Scored, name: str, iou: float | None, digest: str | None = None) -> Product:
    metrics = dict.fromkeys(leaderboard.MEASURES, 0.5) | {"mean_iou": iou}
    content = {"test_digest": digest or scene.manifest.test_digest, "metrics": metrics}
    folder = scene.home / "reports"
    return publish.publish(folder, name, {"of": content}, lambda stage: stage.write_json("report.json", content))


def test_the_best_comes_first_and_undefined_scores_last(scene: Scored) -> None:
    reports = {name: _report(scene, name, iou) for name, iou in (("a", 0.2), ("b", 0.9), ("c", None), ("d", 0.2))}
    found = leaderboard.build(scene.manifest, reports, dict.fromkeys(reports, scene.model), scene.home)
    with found.file("leaderboard.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["experiment"] for row in rows] == ["b", "a", "d", "c"]
    assert rows[0]["parameters"] == "12345"
    assert rows[0]["model"] == "unet, width 8, levels 2"
    assert rows[3]["mean_iou"] == ""
    assert found.json("summary.json")["best"] == "b"
    page = found.file("index.html").read_text(encoding="utf-8")
    assert page.index(">b<") < page.index(">a<") < page.index(">c<")


def test_it_takes_real_reports(scene: Scored) -> None:
    report = build(scene.manifest, EXPERIMENT, scene.model, scene.predictions, scene.home)
    found = leaderboard.build(scene.manifest, {"small": report}, {"small": scene.model}, scene.home)
    assert found.json("summary.json")["best_mean_iou"] == 1.0


def test_reports_of_other_test_data_are_refused_by_name(scene: Scored) -> None:
    reports = {
        "a": _report(scene, "a", 0.2),
        "b": _report(scene, "b", 0.9, "old"),
        "c": _report(scene, "c", 1, "older"),
    }
    with pytest.raises(GridError) as caught:
        leaderboard.build(scene.manifest, reports, dict.fromkeys(reports, scene.model), scene.home)
    assert [problem.where for problem in caught.value.problems] == ["report of b", "report of c"]


def test_no_report_yet_is_an_empty_table(scene: Scored) -> None:
    found = leaderboard.build(scene.manifest, {}, {}, scene.home)
    assert found.json("summary.json")["experiments"] == 0
    assert "No experiment" in found.file("index.html").read_text(encoding="utf-8")
