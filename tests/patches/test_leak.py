"""The leak check: shared pixels are found across tiles, grids and coordinate systems; neighbours are no leak."""

from __future__ import annotations

import numpy as np
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from landcover_orch.config import Splits, SplitSpec
from landcover_orch.grid import Window, windows
from landcover_orch.patches.footprints import TileFootprints
from landcover_orch.patches.leak import dropped, leaks
from landcover_orch.patches.splits import MIXED, TEST, TRAIN, held_out, window_roles

SHAPE = (60, 60)


def footprints(
    name: str, col: float, row: float, splits: Splits, *, crs: str = "EPSG:25830", pixel: float = 1.0
) -> TileFootprints:
    """A tile whose upper left corner lies `col` and `row` pixels from a common origin."""
    grid = GeoBox(SHAPE, Affine(pixel, 0, 500_000 + col * pixel, 0, -pixel, 4_700_000 - row * pixel), crs)
    boxes = windows(SHAPE, 10, 10)
    return TileFootprints(name, grid, boxes, window_roles(splits, name, grid, boxes), held_out(splits, name, grid))


BY_TILE = Splits(test=SplitSpec(tiles=("e",)), validation=SplitSpec(tiles=("v",)))
BY_BLOCK = Splits(test=SplitSpec(blocks=0.3), validation=SplitSpec(blocks=0.2), block=20)


@given(st.integers(-70, 70), st.integers(-70, 70))
def test_a_train_tile_leaks_where_it_shares_a_pixel_with_a_test_tile(col: int, row: int) -> None:
    result = leaks([footprints("a", 0, 0, BY_TILE), footprints("e", col, row, BY_TILE)])
    assert bool(result) == (abs(col) < 60 and abs(row) < 60)


def test_tiles_without_a_place_never_meet() -> None:
    def nowhere(name: str) -> TileFootprints:
        grid = GeoBox(SHAPE, Affine(1, 0, 0, 0, -1, SHAPE[0]), None)
        boxes = windows(SHAPE, 10, 10)
        return TileFootprints(
            name, grid, boxes, window_roles(BY_TILE, name, grid, boxes), held_out(BY_TILE, name, grid)
        )

    assert leaks([nowhere("a"), nowhere("e"), nowhere("v")]) == []
    assert (dropped([nowhere("a"), nowhere("e")])[0].roles == TRAIN).all()


def test_a_leak_says_where_and_what_to_do() -> None:
    (problem,) = leaks([footprints("a", 0, 0, BY_TILE), footprints("e", 45, 0, BY_TILE)])
    assert str(problem).startswith("tile a: 12 train windows on held-out ground of tile e, first at row 0, col 40")
    assert "splits.on_overlap: drop" in problem.fix


@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(0, 1000))
def test_blocks_never_leak_whatever_the_shift(col: float, row: float, seed: int) -> None:
    splits = BY_BLOCK.model_copy(update={"seed": seed})
    assert leaks([footprints("a", 0, 0, splits), footprints("b", col, row, splits)]) == []


def test_tiles_in_two_coordinate_systems_are_held_together() -> None:
    """The same ground in UTM zones 30 and 29: the boxes are found by reprojection."""
    from pyproj import Transformer

    x, y = Transformer.from_crs("EPSG:25830", "EPSG:25829", always_xy=True).transform(500_000, 4_700_000)
    grid = GeoBox(SHAPE, Affine(1, 0, x, 0, -1, y), "EPSG:25829")
    boxes = windows(SHAPE, 10, 10)
    test = TileFootprints("e", grid, boxes, np.full(len(boxes), TEST, np.int8), [Window(0, 0, *SHAPE)])
    assert len(leaks([footprints("a", 0, 0, BY_TILE), test])) == 1
    assert leaks([footprints("a", 5000, 0, BY_TILE), test]) == []


def test_dropped_windows_are_those_that_meet_and_no_others() -> None:
    one, other = dropped([footprints("a", 0, 0, BY_TILE), footprints("e", 45, 0, BY_TILE)])
    assert {box.col for box, role in zip(one.windows, one.roles, strict=True) if role == MIXED} == {40, 50}
    assert (other.roles == TEST).all()
    assert (one.roles == TRAIN).sum() == 24
    assert leaks([one, other]) == []


def test_held_out_pixels_count_even_where_no_window_lies_on_them() -> None:
    test = footprints("e", 45, 0, BY_TILE)
    bare = TileFootprints("e", test.grid, [], np.empty(0, np.int8), test.held)
    assert len(leaks([footprints("a", 0, 0, BY_TILE), bare])) == 1


def test_a_wrong_assignment_inside_one_tile_is_found() -> None:
    result = footprints("a", 0, 0, BY_BLOCK)
    invalid = TileFootprints("a", result.grid, result.windows, np.zeros_like(result.roles), result.held)
    assert result.held
    assert len(leaks([invalid])) == 1
    assert leaks([]) == []
