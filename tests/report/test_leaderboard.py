"""The leaderboard: sorted, complete, with floors, and never over different test data."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch import publish
from landcover_orch.errors import GridError
from landcover_orch.publish import Product
from landcover_orch.report import leaderboard
from landcover_orch.report.choices import choices
from tests.report.scored import EXPERIMENT, Scored, scored

TRIVIAL = {"most frequent class", "training proportions"}
TEST = (600, 300, 100, 0)
"""Test pixels of each class; the last does not occur."""


@pytest.fixture
def scene(home: Path) -> Scored:
    labels = np.repeat(np.arange(3, dtype=np.uint8), TEST[:3]).reshape(20, 50)
    return scored(home, {"a": labels}, {"a": labels}, names=("field", "forest", "water", "snow"))


def matrix(hits: float, *, into: int | None = None) -> Any:
    """A map that finds this share of each class; its errors lie in the next class that occurs, or in `into`."""
    found = np.diag([int(n * hits) for n in TEST])
    for i, n in enumerate(TEST[:3]):
        found[i, (i + 1) % 3 if into is None else into] += n - found[i, i]
    return found


def report(scene: Scored, name: str, counts: Any, **changes: Any) -> Product:
    """A report of one matrix, or of several: a repetition each."""
    several = counts if isinstance(counts, dict) else {name: counts}
    content = {
        "test_digest": scene.manifest.test_digest,
        "data_digest": scene.manifest.digest,
        "trained_on": dict.fromkeys(several, scene.manifest.digest),
        "scored_on": "test side",
        "chosen": next(iter(several)),
        "choices": choices(EXPERIMENT, scene.manifest.dataset.patches),
        "repetitions": [{"name": one, "stands_on": [], "matrix": found.tolist()} for one, found in several.items()],
        "out_of_fold": None,
        **changes,
    }
    folder = scene.home / "reports"
    return publish.publish(folder, name, {"of": content}, lambda stage: stage.write_json("report.json", content))


def board(scene: Scored, reports: dict[str, Product], floors: tuple[str, ...] = ()) -> Product:
    told = {name: product.json("report.json") for name, product in reports.items()}
    models = {name: {one["name"]: scene.model for one in content["repetitions"]} for name, content in told.items()}
    return leaderboard.build(scene.manifest, reports, models, scene.home, floors)


def rows(found: Product) -> dict[str, dict[str, Any]]:
    return {row["experiment"]: row for row in found.json("summary.json")["leaderboard"]}


def test_the_best_comes_first(scene: Scored) -> None:
    reports = {name: report(scene, name, matrix(hits)) for name, hits in (("a", 0.6), ("b", 0.9), ("d", 0.6))}
    found = board(scene, reports)
    with found.file("leaderboard.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["experiment"] for row in table if row["experiment"] not in TRIVIAL] == ["b", "a", "d"]
    assert table[0]["parameters"] == "12345"
    assert table[0]["model"] == "unet, width 8, levels 2"
    assert table[0]["images_per_second"] == "", "nobody measured it"
    assert found.json("summary.json")["best"] == "b"
    page = found.file("index.html").read_text(encoding="utf-8")
    assert page.index(">b<") < page.index(">a<") < page.index(">d<")


def test_floors_that_look_at_no_pixel_have_their_known_scores(scene: Scored) -> None:
    found = rows(board(scene, {}))
    constant, drawn = found["most frequent class"], found["training proportions"]
    assert (constant["accuracy"], constant["mean_iou"]) == (pytest.approx(0.6), pytest.approx(0.6 / 3))
    assert (constant["kappa"], constant["mcc"]) == (pytest.approx(0), pytest.approx(0, abs=1e-6))
    assert (constant["mean_precision"], constant["classes_found"]) == (pytest.approx(0.6), 1)
    # train shares 0.6, 0.3, 0.1 are those of the test pixels
    assert drawn["accuracy"] == pytest.approx(0.6**2 + 0.3**2 + 0.1**2)
    assert drawn["mean_iou"] == pytest.approx(np.mean([p / (2 - p) for p in (0.6, 0.3, 0.1)]))
    assert (drawn["kappa"], drawn["mcc"]) == (pytest.approx(0), pytest.approx(0))


def test_random_draws_come_out_as_expected(scene: Scored) -> None:
    labels = np.repeat(np.arange(3), np.multiply(TEST[:3], 1000))
    guess = np.random.default_rng(0).choice(3, labels.size, p=[0.6, 0.3, 0.1])
    accuracy = (labels == guess).mean()
    assert rows(board(scene, {}))["training proportions"]["accuracy"] == pytest.approx(accuracy, abs=0.002)


def test_experiments_are_measured_against_the_best_floor(scene: Scored) -> None:
    reports = {name: report(scene, name, matrix(hits)) for name, hits in (("net", 0.9), ("bad", 0.3), ("forest", 0.7))}
    found = board(scene, reports, floors=("forest", "another"))
    summary, told = found.json("summary.json"), rows(found)
    assert (summary["best_floor"], summary["below_the_floor"], summary["best"]) == ("forest", ["bad"], "net")
    assert told["net"]["above_floor"] == pytest.approx(told["net"]["mean_iou"] - told["forest"]["mean_iou"])
    assert told["bad"]["above_floor"] < 0
    assert {name for name, row in told.items() if row["floor"]} == {"forest", *TRIVIAL}
    assert {name for name, row in told.items() if row["above_floor"] is None} == {"forest", *TRIVIAL}
    page = found.file("index.html").read_text(encoding="utf-8")
    assert page.count('<tr class="floor">') == 3
    assert page.count(" below</td>") == 1


def test_all_means_are_over_the_classes_of_the_test_pixels(scene: Scored) -> None:
    reports = {"within": report(scene, "within", matrix(0.8)), "snow": report(scene, "snow", matrix(0.8, into=3))}
    found = board(scene, reports)
    assert found.json("summary.json")["means_over"] == ["field", "forest", "water"]
    snow = rows(found)["snow"]
    assert snow["mean_iou"] == pytest.approx(0.8), "errors in a class that does not occur are no fourth IoU of 0"
    assert snow["mean_precision"] == 1
    assert "snow" not in found.json("summary.json")["means_over"]


def test_it_takes_real_reports(scene: Scored) -> None:
    assert board(scene, {"small": scene.report()}).json("summary.json")["best_mean_iou"] == 1.0


def test_reports_of_other_test_data_are_refused_by_name(scene: Scored) -> None:
    reports = {
        "a": report(scene, "a", matrix(0.2)),
        "b": report(scene, "b", matrix(0.9), test_digest="old"),
        "c": report(scene, "c", matrix(1), test_digest="older"),
    }
    with pytest.raises(GridError) as caught:
        board(scene, reports)
    assert [problem.where for problem in caught.value.problems] == ["report of b", "report of c"]


def test_without_a_report_the_floors_stand_alone(scene: Scored) -> None:
    found = board(scene, {})
    summary = found.json("summary.json")
    assert (summary["experiments"], summary["best"]) == (0, None)
    assert set(rows(found)) == TRIVIAL
    assert "No experiment" in found.file("index.html").read_text(encoding="utf-8")
