"""Evaluation: each labelled test pixel exactly once, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch.config import Splits, SplitSpec
from landcover_orch.errors import GridError, IncompleteError
from landcover_orch.evaluation import evaluate as module
from landcover_orch.evaluation.evaluate import evaluate, tiles_to_predict
from landcover_orch.grid import Window
from landcover_orch.legend import IGNORE
from landcover_orch.metrics import catalogue
from landcover_orch.patches.splits import TEST, roles
from tests.evaluation.scored import Classes, scored

BLOCKS = Splits(test=SplitSpec(blocks=0.4), validation=SplitSpec(blocks=0.2), block=16)


def _classes(shape: tuple[int, int], seed: int) -> Classes:
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def _truth(shape: tuple[int, int], seed: int) -> Classes:
    labels = _classes(shape, seed)
    labels[np.random.default_rng(seed + 100).random(shape) < 0.3] = IGNORE
    return labels


def test_the_matrix_is_that_of_a_loop_over_pixels(home: Path) -> None:
    truth, maps = {"a": _truth((40, 50), 1)}, {"a": _classes((40, 50), 2)}
    evaluation = evaluate(scored(home, truth, maps).manifest, scored(home, truth, maps).predictions, home)
    expected = np.zeros((3, 3), int)
    for actual, predicted in zip(truth["a"].flat, maps["a"].flat, strict=True):
        if actual != IGNORE:
            expected[actual, predicted] += 1
    assert np.array_equal(evaluation.pooled, expected)


@pytest.mark.parametrize("block", [16, 23, 2048])
def test_every_test_pixel_counts_once_whatever_the_blocks(
    home: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    truth = {"a": _truth((90, 70), 1), "b": _truth((64, 100), 2)}
    scene = scored(home, truth, {name: _classes(labels.shape, 7) for name, labels in truth.items()}, splits=BLOCKS)
    evaluation = evaluate(scene.manifest, scene.predictions, home)
    for entry in scene.manifest.tiles:
        role = roles(BLOCKS, entry.name, entry.grid, Window(0, 0, *entry.shape))
        labelled = truth[entry.name] != IGNORE
        assert (
            evaluation.tiles[entry.name].sum() == ((role == TEST) & labelled).sum() == sum(entry.class_pixels["test"])
        )
        assert 0 < evaluation.tiles[entry.name].sum() < labelled.sum()
    assert np.array_equal(evaluation.pooled, evaluation.tiles["a"] + evaluation.tiles["b"])


def test_a_perfect_map_scores_one(home: Path) -> None:
    truth = {"a": _truth((40, 50), 1)}
    scene = scored(home, truth, {"a": np.where(truth["a"] == IGNORE, 0, truth["a"]).astype(np.uint8)})
    evaluation = evaluate(scene.manifest, scene.predictions, home)
    metrics = catalogue.summary(evaluation.pooled, evaluation.stacked_counts)
    assert metrics == {metric.name: float(not metric.smaller_is_better) for metric in catalogue.METRICS}


def test_only_tiles_with_labelled_test_pixels_are_predicted(home: Path) -> None:
    truth = {"a": _truth((40, 50), 1), "b": _truth((40, 50), 2), "c": np.full((40, 50), IGNORE, np.uint8)}
    scene = scored(home, truth, {}, splits=Splits(test=SplitSpec(tiles=("b", "c"))))
    assert [entry.name for entry in tiles_to_predict(scene.manifest)] == ["b"]


def test_missing_maps_are_named_together(home: Path) -> None:
    truth = {name: _truth((20, 20), 1) for name in "abc"}
    scene = scored(home, truth, {"b": _classes((20, 20), 1)})
    with pytest.raises(IncompleteError, match=r"no map of tiles \['a', 'c'\]"):
        evaluate(scene.manifest, scene.predictions, home)


def test_a_map_on_another_grid_is_refused(home: Path) -> None:
    scene = scored(home, {"a": _truth((20, 20), 1)}, {"a": _classes((20, 21), 1)})
    with pytest.raises(GridError, match="its labels' grid"):
        evaluate(scene.manifest, scene.predictions, home)


def test_a_labelled_pixel_without_a_prediction_is_an_error(home: Path) -> None:
    predicted = _classes((20, 20), 1)
    predicted[3, 4] = IGNORE
    scene = scored(home, {"a": _classes((20, 20), 1)}, {"a": predicted})
    with pytest.raises(GridError, match=r"predicted classes: values \[255\]"):
        evaluate(scene.manifest, scene.predictions, home)
