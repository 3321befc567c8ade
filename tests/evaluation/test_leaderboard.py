"""The leaderboard: sorted, complete, with baselines, and never over different test data."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from landcover_orch import config
from landcover_orch.config.experiments import losses
from landcover_orch.errors import GridError
from landcover_orch.evaluation import leaderboard
from landcover_orch.evaluation.choices import COLUMNS, choices
from landcover_orch.evaluation.decisions import Champion, Decision
from landcover_orch.metrics.catalogue import METRICS
from landcover_orch.pages.verdict import software
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe
from tests.evaluation.scored import EXPERIMENT, Scored, scored

TRIVIAL = {"most frequent class", "training proportions"}
NONE: Mapping[str, tuple[str, ...]] = MappingProxyType({})
TEST = (600, 300, 100, 0)
"""Test pixels of each class; the last does not occur."""


@pytest.fixture
def scene(home: Path) -> Scored:
    labels = np.repeat(np.arange(3, dtype=np.uint8), TEST[:3]).reshape(20, 50)
    return scored(home, {"a": labels}, {"a": labels}, names=("field", "forest", "water", "snow"))


def matrix(hits: float, *, into: int | None = None) -> Any:
    """A map that finds this fraction of each class; its errors lie in the next class that occurs, or in `into`."""
    counts = np.diag([int(n * hits) for n in TEST])
    for i, n in enumerate(TEST[:3]):
        counts[i, (i + 1) % 3 if into is None else into] += n - counts[i, i]
    return counts


def report(
    scene: Scored, name: str, counts: Any, base_experiments: Mapping[str, tuple[str, ...]] = NONE, **changes: Any
) -> Product:
    """A report of one matrix, or of several: a repetition each."""
    matrices = counts if isinstance(counts, dict) else {name: counts}
    content = {
        "test_digest": scene.manifest.test_digest,
        "data_digest": scene.manifest.digest,
        "trained_on": dict.fromkeys(matrices, scene.manifest.digest),
        "scored_on": "test split",
        "chosen": next(iter(matrices)),
        "choices": choices(EXPERIMENT, scene.manifest.dataset.patches),
        "repetitions": [
            {
                "name": key,
                "base_experiments": base_experiments.get(key, ()),
                **leaderboard.score(matrix, scene.manifest),
            }
            for key, matrix in matrices.items()
        ],
        "out_of_fold": None,
        **changes,
    }
    folder = scene.home / "reports"
    return publish.publish(
        folder, name, Recipe("test", 1, {}, {"of": content}), lambda stage: stage.write_json("report.json", content)
    )


def board(scene: Scored, reports: dict[str, Product], baselines: tuple[str, ...] = ()) -> Product:
    contents = {name: product.json("report.json") for name, product in reports.items()}
    models = {name: {row["name"]: scene.model for row in content["repetitions"]} for name, content in contents.items()}
    return leaderboard.build(scene.manifest, reports, models, scene.home, baselines)


def rows(product: Product) -> dict[str, dict[str, Any]]:
    return {row["experiment"]: row for row in product.json("summary.json")["leaderboard"]}


def test_the_best_comes_first(scene: Scored) -> None:
    reports = {name: report(scene, name, matrix(hits)) for name, hits in (("a", 0.6), ("b", 0.9), ("d", 0.6))}
    product = board(scene, reports)
    with product.file("leaderboard.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["experiment"] for row in table if row["experiment"] not in TRIVIAL] == ["b", "a", "d"]
    assert table[0]["parameters"] == "12345"
    assert table[0]["model"] == "unet, width 8, levels 2"
    assert table[0]["images_per_second"] == "", "nobody measured it"
    assert product.json("summary.json")["best"] == "b"
    page = product.file("index.html").read_text(encoding="utf-8")
    assert page.index(">b<") < page.index(">a<") < page.index(">d<")


def test_the_champion_stands_before_an_equal_of_another_name(scene: Scored) -> None:
    reports = {name: report(scene, name, matrix(0.6)) for name in ("copied", "unet")}
    models = {name: {name: scene.model} for name in reports}
    elected = Champion(
        experiment="unet", model="scored/model/unet-1", fingerprint="1", data_digest="", test_digest="", mean_iou=0.5
    )
    decision = Decision(at="2026-11-30T00:00:00+00:00", by="rule", champion=elected, reason="")
    product = leaderboard.build(scene.manifest, reports, models, scene.home, decision=decision)
    summary = product.json("summary.json")
    assert summary["best"] == "unet"
    assert summary["verdict"].startswith("unet is the best of 2 models")
    assert summary["verdict"].endswith("Champion, by the rule on 2026-11-30: unet.")


def test_baselines_that_look_at_no_pixel_have_their_known_scores(scene: Scored) -> None:
    by_name = rows(board(scene, {}))
    constant, drawn = by_name["most frequent class"], by_name["training proportions"]
    assert (constant["accuracy"], constant["mean_iou"]) == (pytest.approx(0.6), pytest.approx(0.6 / 3))
    assert (constant["kappa"], constant["mcc"]) == (pytest.approx(0), pytest.approx(0, abs=1e-6))
    assert (constant["mean_precision"], constant["mean_precision_classes"]) == (pytest.approx(0.6), 1)
    assert (constant["mean_iou_classes"], constant["kl_proportions"]) == (3, None)
    # train fractions 0.6, 0.3, 0.1 are those of the test pixels
    assert drawn["accuracy"] == pytest.approx(0.6**2 + 0.3**2 + 0.1**2)
    assert drawn["mean_iou"] == pytest.approx(np.mean([p / (2 - p) for p in (0.6, 0.3, 0.1)]))
    assert (drawn["kappa"], drawn["mcc"]) == (pytest.approx(0), pytest.approx(0))


def test_random_draws_come_out_as_expected(scene: Scored) -> None:
    labels = np.repeat(np.arange(3), np.multiply(TEST[:3], 1000))
    guess = np.random.default_rng(0).choice(3, labels.size, p=[0.6, 0.3, 0.1])
    accuracy = (labels == guess).mean()
    assert rows(board(scene, {}))["training proportions"]["accuracy"] == pytest.approx(accuracy, abs=0.002)


def test_experiments_are_measured_against_the_best_baseline(scene: Scored) -> None:
    reports = {name: report(scene, name, matrix(hits)) for name, hits in (("net", 0.9), ("bad", 0.3), ("forest", 0.7))}
    product = board(scene, reports, baselines=("forest", "another"))
    summary, by_name = product.json("summary.json"), rows(product)
    assert (summary["best_baseline"], summary["below_the_baseline"], summary["best"]) == ("forest", ["bad"], "net")
    assert by_name["net"]["above_baseline"] == pytest.approx(by_name["net"]["mean_iou"] - by_name["forest"]["mean_iou"])
    assert by_name["bad"]["above_baseline"] < 0
    assert {name for name, row in by_name.items() if row["baseline"]} == {"forest", *TRIVIAL}
    assert {name for name, row in by_name.items() if row["above_baseline"] is None} == {"forest", *TRIVIAL}
    page = product.file("index.html").read_text(encoding="utf-8")
    assert page.count('<tr class="baseline">') == 3
    assert page.count(" below</td>") == 1


def test_all_means_are_over_the_classes_of_the_test_pixels(scene: Scored) -> None:
    reports = {"within": report(scene, "within", matrix(0.8)), "snow": report(scene, "snow", matrix(0.8, into=3))}
    product = board(scene, reports)
    assert product.json("summary.json")["means_over"] == ["field", "forest", "water"]
    snow = rows(product)["snow"]
    assert snow["mean_iou"] == pytest.approx(0.8), "errors in a class that does not occur are no fourth IoU of 0"
    assert snow["mean_precision"] == 1
    assert product.json("summary.json")["without_pixels"] == ["snow"]
    page = product.file("index.html").read_text(encoding="utf-8")
    assert "(field, forest, water), the same for every row; snow has none, and is in no mean." in page


def test_it_shows_the_metrics_that_reports_computed(scene: Scored) -> None:
    """Whatever a report says: a metric of maps, which no matrix gives, and every other one."""
    measured = leaderboard.score(matrix(0.8), scene.manifest)
    measured["metrics"] |= {"kl_proportions": 0.125, "mean_iou": 0.75}
    repetitions = [{"name": "a", "base_experiments": (), **measured}]
    product = board(scene, {"a": report(scene, "a", matrix(0.8), repetitions=repetitions)})
    row, page = rows(product)["a"], html.unescape(product.file("index.html").read_text(encoding="utf-8"))
    assert (row["kl_proportions"], row["mean_iou"]) == (0.125, 0.75)
    assert all(f"<th>{metric.title}</th>" in page for metric in METRICS)
    assert "<td>0.125</td>" in page
    with product.file("leaderboard.csv").open(newline="", encoding="utf-8") as file:
        assert {metric.name for metric in METRICS} <= {*next(csv.reader(file))}


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


def test_reports_of_another_manifest_and_repetitions_trained_on_one_are_refused_by_name(scene: Scored) -> None:
    seeds = {"d.seed-1": matrix(0.5), "d.seed-2": matrix(0.6)}
    reports = {
        "a": report(scene, "a", matrix(0.2)),
        "b": report(scene, "b", matrix(0.9), data_digest="old", trained_on={"b": "old"}),
        "c": report(scene, "c", matrix(0.4), trained_on={"c": "another"}),
        "d": report(scene, "d", seeds, trained_on={"d.seed-1": scene.manifest.digest, "d.seed-2": "another"}),
    }
    with pytest.raises(GridError) as caught:
        board(scene, reports)
    assert [(problem.where, problem.found) for problem in caught.value.problems] == [
        ("report of b", "made of manifest old"),
        ("report of b", "repetition b trained on manifest old"),
        ("report of c", "repetition c trained on manifest another"),
        ("report of d", "repetition d.seed-2 trained on manifest another"),
    ]


def test_folds_are_trained_on_manifests_of_their_own(scene: Scored) -> None:
    repetitions = {"f.fold-1": matrix(0.5), "f.fold-2": matrix(0.7)}
    seeds = [{"name": "f", **leaderboard.score(matrix(0.8), scene.manifest)}]
    trained_on = dict.fromkeys(repetitions, "fold's")
    folded = report(scene, "f", repetitions, trained_on=trained_on, out_of_fold={"seeds": seeds})
    row = rows(board(scene, {"f": folded}))["f"]
    assert row["repetitions"] == 2
    assert row["out_of_fold_mean_iou"] == pytest.approx(iou(0.8))


def iou(hits: float) -> float:
    """Mean IoU of `matrix`: each class loses its own misses and takes those of the class before it."""
    counts = matrix(hits)
    return float(np.mean(np.diag(counts)[:3] / (counts.sum(0) + counts.sum(1) - np.diag(counts))[:3]))


def test_experiments_rank_by_the_mean_of_their_repetitions(scene: Scored) -> None:
    reports = {
        "steady": report(scene, "steady", {f"steady.seed-{n}": matrix(0.8) for n in (1, 2, 3)}),
        "lucky": report(scene, "lucky", {"lucky.seed-1": matrix(0.95), "lucky.seed-2": matrix(0.4)}),
        "once": report(scene, "once", matrix(0.7)),
    }
    product = board(scene, reports)
    by_name = rows(product)
    assert [name for name in by_name if name not in TRIVIAL] == ["steady", "lucky", "once"]
    assert by_name["lucky"]["mean_iou"] == pytest.approx((iou(0.95) + iou(0.4)) / 2)
    assert by_name["lucky"]["mean_iou_sd"] == pytest.approx(abs(iou(0.95) - iou(0.4)) / 2**0.5)
    assert by_name["steady"]["mean_iou_sd"] == pytest.approx(0)
    assert (by_name["once"]["mean_iou_sd"], by_name["once"]["repetitions"]) == (None, 1)
    assert "leaderboard.png" in product.files


def test_the_gain_of_a_variant_is_paired_by_repetition(scene: Scored) -> None:
    base = {f"base.seed-{n}": matrix(hits) for n, hits in ((1, 0.6), (2, 0.8))}
    better = {f"better.seed-{n}": matrix(hits) for n, hits in ((1, 0.7), (2, 0.85))}
    bases = {f"better.seed-{n}": (f"base.seed-{n}",) for n in (1, 2)}
    together = {"together": matrix(0.75)}
    reports = {
        "base": report(scene, "base", base),
        "better": report(scene, "better", better, bases),
        "together": report(scene, "together", together, {"together": ("base.seed-1", "base.seed-2")}),
        "all": report(scene, "all", {"all": matrix(0.75)}, {"all": ("base",)}),
        "registered": report(scene, "registered", matrix(0.9), {"registered": ("models:/tiny/3",)}),
    }
    by_name = rows(board(scene, reports))
    gains = iou(0.7) - iou(0.6), iou(0.85) - iou(0.8)
    assert by_name["better"]["gain"] == pytest.approx(np.mean(gains))
    assert by_name["better"]["gain_sd"] == pytest.approx(np.std(gains, ddof=1))
    assert (by_name["better"]["gain_n"], by_name["better"]["base_experiments"]) == (2, "base.seed-1, base.seed-2")
    assert by_name["together"]["gain"] == pytest.approx(iou(0.75) - (iou(0.6) + iou(0.8)) / 2)
    assert by_name["together"]["gain_sd"] is None
    assert by_name["all"]["gain"] == by_name["together"]["gain"], (
        "an experiment that repeats stands for its repetitions"
    )
    assert [by_name[name]["gain"] for name in ("base", "registered")] == [None, None]


def test_means_without_minor_classes_are_columns_too(home: Path) -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), TEST[:3]).reshape(20, 50)
    scene = scored(home, {"a": labels}, {"a": labels}, names=("field", "forest", "water", "snow"), minor=("water",))
    product = board(scene, {"a": report(scene, "a", matrix(0.8))})
    hits = np.array([480, 240, 80])
    union = np.array([600, 300, 100]) + np.array([20, 120, 60])  # misses of water, field, forest
    assert rows(product)["a"]["mean_iou without water"] == pytest.approx((hits / union)[:2].mean())
    assert "mean IoU without water" in product.file("index.html").read_text(encoding="utf-8")


def test_the_competition_is_by_accuracy_then_by_time(scene: Scored) -> None:
    reports = {name: report(scene, name, matrix(hits)) for name, hits in (("slow", 0.9), ("quick", 0.9), ("bad", 0.5))}
    seconds = {"slow": 9.0, "quick": 2.0, "bad": 1.0}
    models = {name: {name: _timed(scene, name, wall_s)} for name, wall_s in seconds.items()}
    product = leaderboard.build(scene.manifest, reports, models, scene.home, competition=True)
    assert '<h2 id="competition">' in product.file("index.html").read_text(encoding="utf-8")
    with product.file("competition.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [(row["rank"], row["experiment"], row["training_s"]) for row in table] == [
        ("1", "quick", "2.0"),
        ("2", "slow", "9.0"),
        ("3", "bad", "1.0"),
    ]
    first = table[0]
    assert (first["optimiser"], first["learning_rate"], first["epochs"]) == ("adam", "0.001", "20")
    assert (first["stride_factor"], first["device"]) == ("1.0", "auto")
    assert first["augmentation"] == "flips, right angles, brightness 0.1, contrast 0.1"


def test_there_is_one_ranking_unless_a_study_asks_for_the_competition(scene: Scored) -> None:
    product = board(scene, {"a": report(scene, "a", matrix(0.8))})
    assert "competition.csv" not in product.files
    assert "competition" not in product.json("summary.json")
    assert "ompetition" not in product.file("index.html").read_text(encoding="utf-8")
    assert [name for name in config.names("studies") if config.load_dataset(name).competition] == ["vaihingen"]


def test_the_verdict_names_the_best_against_the_best_baseline_on_its_ground(scene: Scored) -> None:
    reports = {name: report(scene, name, matrix(hits)) for name, hits in (("net", 0.9), ("forest", 0.7))}
    product = board(scene, reports, baselines=("forest",))
    lead = f"{iou(0.9) - iou(0.7):.3f} above forest ({iou(0.7):.3f})"
    verdict = product.json("summary.json")["verdict"]
    assert verdict == (
        f"net is the best of 2 models: mean IoU {iou(0.9):.3f}, accuracy 0.900, {lead}, "
        f"on 1\u202f000 test pixels (0.10\u00a0ha) of tile a; by landcover_orch {software()}."
    )
    assert verdict in product.file("index.html").read_text(encoding="utf-8")


def test_a_baseline_that_leads_is_compared_with_the_most_frequent_class(scene: Scored) -> None:
    product = board(scene, {"forest": report(scene, "forest", matrix(0.7))}, baselines=("forest",))
    assert "above the most frequent class alone (0.200)" in product.json("summary.json")["verdict"]


def test_an_interrupted_training_took_at_least_its_epochs(scene: Scored) -> None:
    models = {
        "a": {"a": _timed(scene, "a", 3.0, epochs=(2.0, 2.5))},
        "b": {"b": _timed(scene, "b", 9.0, epochs=(4.0,))},
    }
    by_name = rows(
        leaderboard.build(scene.manifest, {n: report(scene, n, matrix(0.8)) for n in "ab"}, models, scene.home)
    )
    assert [by_name[name]["training_s"] for name in "ab"] == [4.5, 9.0]
    assert [by_name[name]["training_cpu_s"] for name in "ab"] == [6.0, 18.0]


def _timed(scene: Scored, name: str, wall_s: float, epochs: tuple[float, ...] = ()) -> Product:
    """A model whose last process took so many seconds, and whose epochs these."""

    def write(stage: publish.Stage) -> None:
        stage.write_json("summary.json", {})
        stage.write_json("throughput.json", {"images_per_second": {}, "epoch_seconds": epochs})

    product = publish.publish(scene.home / "timed", name, Recipe("test", 1, {}, {"of": name}), write)
    cost = {"wall_s": wall_s, "cpu_s": 2 * wall_s, "peak_bytes": 1, "bytes": 1, "files": 1}
    product.path.with_name(f".{product.path.name}.cost.json").write_text(json.dumps(cost))
    return product


def test_every_choice_of_a_recipe_is_a_column_and_a_word_on_the_page(scene: Scored) -> None:
    other = EXPERIMENT.model_copy(update={"loss": (losses.Focal(class_weights=losses.ClassWeights(name="median")),)})
    changed = choices(other, scene.manifest.dataset.patches)
    reports = {"a": report(scene, "a", matrix(0.8)), "b": report(scene, "b", matrix(0.7), choices=changed)}
    product = board(scene, reports)
    with product.file("leaderboard.csv").open(newline="", encoding="utf-8") as file:
        table = {row["experiment"]: row for row in csv.DictReader(file)}
    assert set(COLUMNS) <= set(table["a"])
    assert (table["a"]["loss"], table["b"]["loss"], table["b"]["class_weights"]) == ("cross entropy", "focal", "median")
    page = product.file("index.html").read_text(encoding="utf-8")
    assert '<th class="text">loss</th><th class="text">class weights</th></tr>' in page, "only what differs is a column"
    assert "batch size <b>16</b>" in page


def test_without_a_report_the_baselines_stand_alone(scene: Scored) -> None:
    product = board(scene, {})
    summary = product.json("summary.json")
    assert (summary["experiments"], summary["best"]) == (0, None)
    assert set(rows(product)) == TRIVIAL
    assert "No experiment" in product.file("index.html").read_text(encoding="utf-8")


def test_a_failed_experiment_has_a_cell_in_every_column(scene: Scored) -> None:
    """Else a click on a column's head would sort nothing."""
    reports = {"small": scene.report()}
    models = {"small": {"small": scene.model}}
    product = leaderboard.build(scene.manifest, reports, models, scene.home, failed={"wild": "diverged at epoch 1"})
    rows = [line for line in product.file("index.html").read_text().splitlines() if line.startswith("<tr")]
    failed = next(row for row in rows if "failed: diverged at epoch 1" in row)
    head = next(
        line for line in product.file("index.html").read_text().splitlines() if line.startswith("<thead><tr><th>exp")
    )
    assert failed.count("<td") == head.count("<th>")
    assert product.json("summary.json")["leaderboard"][-1]["failed"] == "diverged at epoch 1"
