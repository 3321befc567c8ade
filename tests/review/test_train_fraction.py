"""Train fraction of polygons: areas by geometry are those of the pixels' roles."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from landcover_orch.config import Splits, SplitSpec
from landcover_orch.grid import Window
from landcover_orch.patches.splits import TRAIN, roles
from landcover_orch.review.train_fraction import train_fractions
from tests.scenes import CRS, ORIGIN, transform

GRID = GeoBox((60, 80), transform(), CRS)
X, Y = ORIGIN


def test_shares_are_those_of_the_pixels() -> None:
    splits = Splits(test=SplitSpec(blocks=0.5), block=15)
    boxes = [(0, 0, 80, 60), (10, 20, 30, 45), (70, 50, 80, 60), (3, 3, 5, 4)]
    shapes = np.array([box(X + a, Y - d, X + c, Y - b) for a, b, c, d in boxes], object)
    train = roles(splits, "a", GRID, Window(0, 0, 60, 80)) == TRAIN
    expected = [train[b:d, a:c].mean() for a, b, c, d in boxes]
    assert 0.2 < expected[0] < 0.8
    assert train_fractions(splits, "a", GRID, shapes, GRID) == pytest.approx(expected)


@pytest.mark.parametrize(("tile", "fraction"), [("a", 1.0), ("b", 0.0)])
def test_a_tile_may_belong_to_one_side(tile: str, fraction: float) -> None:
    reaching_out = np.array([box(X - 50, Y - 10, X + 10, Y)], object)
    assert train_fractions(Splits(test=SplitSpec(tiles=("b",))), tile, GRID, reaching_out, GRID).tolist() == [fraction]


def test_moved_labels_count_where_they_are_burnt() -> None:
    splits = Splits(test=SplitSpec(blocks=0.5), block=15)
    shape = shapely.box(X + 10, Y - 30, X + 25, Y - 15)
    there = train_fractions(splits, "a", GRID, np.array([shape], object), GRID)
    translated = np.array([shapely.affinity.translate(shape, 7, 0)], object)
    assert train_fractions(splits, "a", GRID, translated, GRID.translate_pix(7, 0)) == pytest.approx(there)


def test_a_polygon_beside_the_tile_has_none() -> None:
    assert train_fractions(Splits(), "a", GRID, np.array([box(0, 0, 1, 1)], object), GRID).tolist() == [0.0]
    assert train_fractions(Splits(), "a", GRID, np.zeros(0, object), GRID).tolist() == []
