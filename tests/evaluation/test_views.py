"""Views of tiles: what is scored, and the detail where most is to be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landcover_orch.config import Splits, SplitSpec
from landcover_orch.evaluation import views
from landcover_orch.legend import IGNORE
from tests.evaluation.scored import scored


def _corner() -> np.ndarray:  # type: ignore[type-arg]
    labels = np.zeros((700, 900), np.uint8)
    labels[450:600, 600:800] = np.random.default_rng(0).integers(0, 3, (15, 20)).repeat(10, 0).repeat(10, 1)
    return labels


def test_the_detail_is_where_the_classes_are(home: Path) -> None:
    scene = scored(home, {"a": _corner()}, {"a": _corner()})
    (entry,) = scene.manifest.tiles
    overview = views.overview(scene.manifest, entry, scene.predictions["a"], home)
    detail = views.detail(scene.manifest, entry, scene.predictions["a"], home, overview)
    assert max(overview.labels.shape) == views.SIDE
    assert detail.labels.shape == (views.DETAIL, views.DETAIL)
    assert len(np.unique(detail.scored)) == 3
    assert np.array_equal(detail.predicted, detail.labels)


def test_pixels_that_are_not_test_are_not_shown_as_scored(home: Path) -> None:
    splits = Splits(test=SplitSpec(blocks=0.5), block=100)
    scene = scored(home, {"a": _corner()}, {"a": _corner()}, splits=splits)
    (entry,) = scene.manifest.tiles
    overview = views.overview(scene.manifest, entry, scene.predictions["a"], home)
    fraction = sum(entry.class_pixels["test"]) / (700 * 900)
    assert abs((overview.scored != IGNORE).mean() - fraction) < 0.02


def test_a_tile_smaller_than_a_detail_is_shown_whole(home: Path) -> None:
    labels = np.tile(np.arange(3, dtype=np.uint8), (30, 7))
    scene = scored(home, {"a": labels}, {"a": labels})
    (entry,) = scene.manifest.tiles
    overview = views.overview(scene.manifest, entry, scene.predictions["a"], home)
    assert np.array_equal(views.detail(scene.manifest, entry, scene.predictions["a"], home, overview).labels, labels)
