"""Reports of several repetitions: mean and spread known by hand, drawn as validation chose, folds counted once."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch.config import Splits, SplitSpec
from landcover_orch.config.experiments import Experiment, Folds, Protocol
from landcover_orch.config.experiments.repetitions import repetitions
from landcover_orch.errors import ContractError, IncompleteError
from landcover_orch.evaluation.build import build
from landcover_orch.evaluation.repetition import score_repetitions
from landcover_orch.grid import Window
from landcover_orch.legend import IGNORE
from landcover_orch.metrics.proportions import divergence
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, TileEntry
from landcover_orch.patches.splits import roles
from landcover_orch.store.publish import Product
from tests.evaluation.scored import EXPERIMENT, Classes, Scored, scored

SEEDS = EXPERIMENT.model_copy(update={"name": "seeds", "protocol": Protocol(seeds=(1, 2, 3))})
ERRORS = {"seeds.seed-1": 500, "seeds.seed-2": 1000, "seeds.seed-3": 3000}
"""Of 10,000 pixels, half of each class: how many fields each repetition takes for forest."""

HALVES = np.repeat(np.array([0, 1], np.uint8), 5000).reshape(100, 100)


def with_errors(errors: int) -> Classes:
    """The halves with so many errors in the first."""
    classes = HALVES.copy()
    classes.flat[:errors] = 1
    return classes


@pytest.fixture
def scene(home: Path) -> Scored:
    return scored(home, {"a": HALVES}, {"a": HALVES}, names=("field", "forest"))


@pytest.fixture
def report(scene: Scored) -> Product:
    return _report(scene, "seeds.seed-2")


def _report(scene: Scored, chosen: str) -> Product:
    trained = [scene.repetition(r, {"a": with_errors(ERRORS[r.name])}) for r in repetitions(SEEDS, 1)]
    return build(scene.manifest, SEEDS, trained, chosen, scene.home)


def test_mean_and_sample_deviation_are_those_of_a_hand(report: Product) -> None:
    content = report.json("report.json")
    accuracies = [0.95, 0.90, 0.70]
    assert [row["metrics"]["accuracy"] for row in content["repetitions"]] == pytest.approx(accuracies)
    assert content["spread"]["accuracy"] == {
        "mean": pytest.approx(0.85),
        "sd": pytest.approx(0.1322875656),
        "n": 3,
        "min": pytest.approx(0.70),
        "max": pytest.approx(0.95),
    }
    assert content["spread"]["iou field"]["mean"] == pytest.approx((0.9 + 0.8 + 0.4) / 3)
    assert content["spread"]["iou forest"]["max"] == pytest.approx(5000 / 5500)


def test_all_that_is_drawn_is_the_repetition_that_validation_chose(scene: Scored, report: Product) -> None:
    content = report.json("report.json")
    assert content["chosen"] == "seeds.seed-2", "seed 1 is better on test"
    assert content["matrix"] == content["repetitions"][1]["matrix"] == [[4000, 1000], [0, 5000]]
    assert content["metrics"]["accuracy"] == report.json("summary.json")["accuracy"] == pytest.approx(0.9)
    assert report.json("summary.json")["mean of accuracy"] == pytest.approx(0.85)
    page = report.file("index.html").read_text(encoding="utf-8")
    assert "those of <b>seeds.seed-2</b>, the best by validation mean IoU: to choose by test would flatter" in page
    assert _report(scene, "seeds.seed-1").fingerprint != report.fingerprint


def test_the_repetitions_are_a_table_and_a_figure(report: Product) -> None:
    with report.file("repetitions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["repetition"], row["seed"], row["fold"]) for row in rows] == [
        (f"seeds.seed-{n}", str(n), "") for n in (1, 2, 3)
    ]
    assert "repetitions.png" in report.files
    page = report.file("index.html").read_text(encoding="utf-8")
    assert "all 3: 0.850&nbsp;±&nbsp;0.132" in page


def test_one_repetition_has_no_deviation_and_no_table_of_repetitions(scene: Scored) -> None:
    product = scene.report()
    spread = product.json("report.json")["spread"]["accuracy"]
    assert (spread["mean"], spread["sd"], spread["n"]) == (1.0, None, 1)
    assert "repetitions.png" not in product.files
    assert "Repetitions</h2>" not in product.file("index.html").read_text(encoding="utf-8")


def test_means_are_also_taken_without_minor_classes(home: Path) -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), (50, 45, 5)).reshape(10, 10)
    mapped = labels.copy()
    mapped[labels == 2] = 0  # the rare class is never found
    content = scored(home, {"a": labels}, {"a": mapped}, minor=("water",)).report().json("report.json")
    assert content["metrics"]["mean_iou"] == pytest.approx((50 / 55 + 1 + 0) / 3)
    assert content["metrics"]["mean_iou without water"] == pytest.approx((50 / 55 + 1) / 2)
    assert content["metrics"]["mean_recall without water"] == pytest.approx(1)


def test_a_model_of_other_data_is_refused_by_name(scene: Scored) -> None:
    other = scored(scene.home / "other", {"a": 1 - HALVES}, {"a": HALVES}, names=("field", "forest"))
    first, second, third = (scene.repetition(r, {"a": with_errors(0)}) for r in repetitions(SEEDS, 1))
    strange = replace(second, model=other.model)
    with pytest.raises(ContractError) as caught:
        build(scene.manifest, SEEDS, [first, strange, third], first.name, scene.home)
    assert "model of seeds.seed-2" in [problem.where for problem in caught.value.problems]


def test_a_map_of_another_model_is_refused_by_name(scene: Scored) -> None:
    first, second, third = (scene.repetition(r, {"a": with_errors(0)}) for r in repetitions(SEEDS, 1))
    with pytest.raises(ContractError) as caught:
        build(scene.manifest, SEEDS, [first, replace(second, maps=third.maps), third], first.name, scene.home)
    assert [problem.where for problem in caught.value.problems] == ["map of tile a by seeds.seed-2"]


def fold_manifest(manifest: DatasetManifest, truth: dict[str, Classes], settings: Folds, index: int) -> DatasetManifest:
    """The manifest of a fold, its pixels counted anew."""
    described = folds.described(manifest, folds.fold_of(manifest, settings, index))
    return described.model_copy(update={"tiles": tuple(_counted(described, e, truth[e.name]) for e in manifest.tiles)})


def _counted(described: DatasetManifest, entry: TileEntry, labels: Classes) -> TileEntry:
    role = roles(described.dataset.splits, entry.name, entry.grid, Window(0, 0, *labels.shape))
    pixels = {
        split: tuple(np.bincount(labels[(role == number) & (labels != IGNORE)], minlength=3).tolist())
        for number, split in enumerate(SPLITS)
    }
    return entry.model_copy(update={"class_pixels": pixels})


def _folded(home: Path, splits: Splits, settings: Folds, seeds: tuple[int, ...] = ()) -> tuple[Scored, Experiment, Any]:
    """A dataset whose folds' models map everything as their own class of error: fold 1 errs nowhere."""
    random = np.random.default_rng(5)
    truth = {name: random.integers(0, 2, (60, 70)).astype(np.uint8) for name in "abcd"}
    for labels in truth.values():
        labels[random.random(labels.shape) < 0.2] = IGNORE
    scene = scored(home, truth, {}, splits=splits)
    experiment = EXPERIMENT.model_copy(update={"name": "folds", "protocol": Protocol(seeds=seeds, folds=settings)})
    trained = []
    for repetition in repetitions(experiment, len(folds.non_test_tiles(scene.manifest))):
        own_fold = fold_manifest(scene.manifest, truth, settings, repetition.protocol.fold or 0)
        maps = {name: _map(labels, repetition.protocol.fold or 0) for name, labels in truth.items()}
        trained.append(scene.repetition(repetition, maps, own_fold))
    return scene, experiment, (trained, truth)


def _map(labels: Classes, fold: int) -> Classes:
    """Right in the first fold; in all others water, which is nowhere."""
    right = np.where(labels == IGNORE, 0, labels).astype(np.uint8)
    return right if fold == 1 else np.full_like(right, 2)


@pytest.mark.parametrize("settings", [Folds(count=4), Folds(by="tiles", count=3), Folds(by="tiles")])
def test_out_of_fold_every_labelled_pixel_beside_the_test_side_counts_once(home: Path, settings: Folds) -> None:
    splits = Splits(test=SplitSpec(tiles=("d",), blocks=0.2 if settings.by == "blocks" else 0.0), block=16)
    scene, _, (trained, truth) = _folded(home, splits, settings)
    counted = score_repetitions(scene.manifest, trained, trained[0].name, home)
    (pooled,) = counted.seed_groups
    for entry in scene.manifest.tiles:
        role = roles(splits, entry.name, entry.grid, Window(0, 0, *entry.shape))
        labels = truth[entry.name]
        expected = np.bincount(labels[(role != 2) & (labels != IGNORE)], minlength=3)
        assert pooled.evaluation.tiles.get(entry.name, np.zeros((3, 3))).sum(axis=1).tolist() == expected.tolist()
        unseen = fold_test_mask(trained[0].manifest, entry)
        right = np.bincount(labels[unseen & (labels != IGNORE)], minlength=3)
        hits = np.diag(pooled.evaluation.tiles.get(entry.name, np.zeros((3, 3))))
        assert hits.tolist() == right.tolist(), "the first fold's model is right, and scores its own fold alone"
    assert counted.split == "test split"
    assert len(counted.scores) == len(trained)


def fold_test_mask(manifest: DatasetManifest, entry: TileEntry) -> Any:
    return roles(manifest.dataset.splits, entry.name, entry.grid, Window(0, 0, *entry.shape)) == 2


def test_seeds_of_folds_are_each_whole_out_of_fold(home: Path) -> None:
    scene, experiment, (trained, _) = _folded(
        home, Splits(test=SplitSpec(tiles=("d",))), Folds(by="tiles"), seeds=(4, 7)
    )
    content = build(scene.manifest, experiment, trained, "folds.seed-7.fold-2", home).json("report.json")
    assert len(content["repetitions"]) == 6
    folded = content["out_of_fold"]
    assert [row["name"] for row in folded["seeds"]] == ["folds.seed-4", "folds.seed-7"]
    assert folded["seed"] == 7
    assert folded["seeds"][1]["matrix"] == folded["matrix"]
    assert folded["spread"]["accuracy"]["n"] == 6
    assert folded["metrics"]["accuracy"] == pytest.approx(
        np.trace(folded["matrix"]) / np.sum(folded["matrix"]), rel=1e-12
    )


def test_without_a_test_side_the_report_is_out_of_fold(home: Path) -> None:
    scene, experiment, (trained, truth) = _folded(home, Splits(block=16), Folds(count=3))
    report = build(scene.manifest, experiment, trained, "folds.fold-2", home)
    content = report.json("report.json")
    assert content["scored_on"] == "out of fold"
    assert content["metrics"]["pixels"] == sum(int((labels != IGNORE).sum()) for labels in truth.values())
    assert content["matrix"] == content["out_of_fold"]["matrix"]
    assert [row["name"] for row in content["repetitions"]] == ["folds"]
    matrices = {name: np.array(tile["matrix"]) for name, tile in content["tiles"].items()}
    each = {name: divergence(np.stack([m.sum(axis=1), m.sum(axis=0)])[None]) for name, m in matrices.items()}
    assert {name: tile["metrics"]["kl_proportions"] for name, tile in content["tiles"].items()} == each
    page = report.file("index.html").read_text(encoding="utf-8")
    assert "This dataset has no test split" in page
    assert "The next fold (after the last the first) chose each checkpoint" in page
    assert {"preview.png", "tile-a-out-of-fold.png"} <= set(report.files)


def test_without_a_test_side_other_labels_are_another_comparison(home: Path) -> None:
    scene, _, _ = _folded(home, Splits(block=16), Folds(count=3))
    first, *rest = scene.manifest.tiles
    relabelled = first.model_copy(update={"ground_truth_fingerprint": "new"})
    assert scene.manifest.test_digest != scene.manifest.model_copy(update={"tiles": (relabelled, *rest)}).test_digest


def test_with_neither_test_side_nor_folds_there_is_nothing_to_score(home: Path) -> None:
    scene = scored(home, {"a": HALVES}, {}, splits=Splits(validation=SplitSpec(blocks=0.5)))
    with pytest.raises(IncompleteError, match="no test split and no folds"):
        scene.report()


def test_a_fold_of_other_splits_is_refused(home: Path) -> None:
    scene, experiment, (trained, _) = _folded(home, Splits(block=16), Folds(count=3))
    changed = scene.manifest.model_copy(
        update={"dataset": scene.manifest.dataset.model_copy(update={"splits": Splits(block=16, seed=9)})}
    )
    with pytest.raises(ContractError, match="ground of folds"):
        build(changed, experiment, trained, "folds.fold-1", home)
