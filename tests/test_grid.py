"""Windows cover tiles, blocks agree about the ground, grids know where each other lie."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from landcover_orch import grid
from landcover_orch.errors import GridError
from landcover_orch.grid import Window

LENGTHS, SIZES = st.integers(1, 200), st.integers(1, 60)


def geobox(height: int, width: int, x: float = 0.0, y: float = 0.0, size: float = 1.0) -> GeoBox:
    return GeoBox((height, width), Affine(size, 0, x, 0, -size, y), "EPSG:25830")


@given(LENGTHS, SIZES, SIZES)
def test_shift_back_covers_all_and_stays_inside(length: int, size: int, stride: int) -> None:
    if length < size:
        with pytest.raises(GridError, match=r"patches\.edge: pad"):
            grid.starts(length, size, stride)
        return
    found = grid.starts(length, size, stride)
    assert found == sorted(set(found))
    assert found[0] == 0
    assert found[-1] + size == length or found[-1] + size > length - stride
    assert all(start + size <= length for start in found)
    if stride <= size:
        assert {i for start in found for i in range(start, start + size)} == set(range(length))


@given(LENGTHS, SIZES, SIZES)
def test_pad_covers_all_at_regular_steps(length: int, size: int, stride: int) -> None:
    found = grid.starts(length, size, stride, "pad")
    assert found == list(range(0, len(found) * stride, stride))
    if stride <= size:
        assert found[-1] + size >= length
    assert found[-1] < length + stride


@given(LENGTHS, SIZES, SIZES)
def test_drop_is_every_regular_window_that_fits(length: int, size: int, stride: int) -> None:
    if length >= size:
        expected = [start for start in range(0, length, stride) if start + size <= length]
        assert grid.starts(length, size, stride, "drop") == expected


@given(LENGTHS, SIZES, SIZES)
def test_drop_strict_is_the_loop_that_stops_short_of_the_edge(length: int, size: int, stride: int) -> None:
    expected, start = [], 0
    while start + size < length:
        expected.append(start)
        start += stride
    if expected:
        assert grid.starts(length, size, stride, "drop_strict") == expected
    else:
        with pytest.raises(GridError, match="drop_strict"):
            grid.starts(length, size, stride, "drop_strict")


def test_the_published_patch_counts() -> None:
    """The Potsdam study: a tile of 6000 px gives 529 windows of 256 px without overlap; INRIA's 5000 px give 361."""
    assert len(grid.windows((6000, 6000), 256, 256, "drop")) == 529
    assert len(grid.windows((5000, 5000), 256, 256, "drop")) == 361


VAIHINGEN = {
    "train": "1919x2569 2006x3007 1887x2557 1887x2557 1893x2566 2818x2558 2336x1281 1903x2546 2995x1783 1917x2567 "
    "1388x2555 1996x1995",
    "validation": "1934x2563 1980x2555",
}
"""Sizes of the tiles of the Vaihingen study: 1, 3, 5, 7, 11, 13, 17, 21, 26, 28, 34, 37 and 30, 32."""


@pytest.mark.parametrize(("side", "patches"), [("train", 2083), ("validation", 368)])
def test_the_patch_counts_of_the_vaihingen_study(side: str, patches: int) -> None:
    """Published doubled by an augmentation each: 4,166 and 736; windows of 256 px every 153 px."""
    shapes = [tuple(map(int, size.split("x"))) for size in VAIHINGEN[side].split()]
    assert sum(len(grid.windows((h, w), 256, 153, "drop_strict")) for h, w in shapes) == patches


@given(LENGTHS, LENGTHS, SIZES, SIZES)
def test_blocks_cover_each_pixel_once(height: int, width: int, tall: int, wide: int) -> None:
    seen = np.zeros((height, width), int)
    for box in grid.blocks((height, width), tall, wide):
        seen[box.slices] += 1
    assert (seen == 1).all()


@given(st.integers(20, 80), st.integers(20, 80), st.integers(5, 20), st.integers(3, 30))
def test_coverage_is_what_counting_says(height: int, width: int, size: int, stride: int) -> None:
    boxes = grid.windows((height, width), size, stride, "drop")
    seen = np.zeros((height, width), bool)
    for box in boxes:
        seen[box.slices] = True
    assert grid.coverage((height, width), boxes) == pytest.approx(seen.mean())


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_window_within_a_tile(row: int, col: int, height: int, width: int) -> None:
    part = Window(row, col, height, width).within((40, 30))
    seen = np.zeros((200, 200), bool)
    seen[100 + row : 100 + row + height, 100 + col : 100 + col + width] = True
    assert part.height * part.width == seen[100:140, 100:130].sum()
    if part.height and part.width:
        assert seen[100:140, 100:130][part.slices].all()


@given(st.integers(-40, 40), st.integers(-40, 40), st.sampled_from([3.0, 7.5, 20.0]))
def test_tiles_agree_about_the_blocks_of_shared_ground(col: int, row: int, size: float) -> None:
    whole = geobox(30, 30, 1000.25, 5000.75, 0.5)
    moved = geobox(30, 30, 1000.25 + col * 0.5, 5000.75 - row * 0.5, 0.5)
    part = Window(row, col, 30, 30).within((30, 30))
    if part.height and part.width:
        same = Window(part.row - row, part.col - col, part.height, part.width)
        for a, b in zip(grid.ground_blocks(whole, part, size), grid.ground_blocks(moved, same, size), strict=True):
            np.testing.assert_array_equal(np.broadcast_to(a, part[2:]), np.broadcast_to(b, part[2:]))


def test_a_pixel_belongs_to_the_block_of_its_centre() -> None:
    cols, rows = grid.ground_blocks(geobox(4, 4, 8.0, 12.0), Window(0, 0, 4, 4), 10.0)
    assert np.broadcast_to(cols, (4, 4))[0].tolist() == [0, 0, 1, 1]
    assert np.broadcast_to(rows, (4, 4))[:, 0].tolist() == [1, 1, 0, 0]


def test_shift_corner_and_crop() -> None:
    whole = geobox(100, 80, 500.0, 900.0, 0.5)
    part = grid.window_grid(whole, Window(10, 20, 30, 40))
    assert part.shape == (30, 40)
    assert grid.upper_left(whole, part) == (20.0, 10.0)
    assert grid.lower_right(whole, part) == (60.0, 40.0)
    assert grid.resolution(part) == 0.5
    assert grid.upper_left(whole, geobox(5, 5, 500.1, 900.0, 0.5)) == pytest.approx((0.2, 0.0))


def test_names_and_bounds_in_other_systems() -> None:
    place = geobox(100, 100, 500_000.0, 4_700_000.0)
    assert grid.crs_name(place) == "EPSG:25830"
    assert grid.crs_name(GeoBox((5, 5), Affine.identity(), None)) is None
    west, south, east, north = grid.transform_bounds(place, "EPSG:4326")
    assert west == pytest.approx(-3.0, abs=1e-4)
    assert west < east < -2.99
    assert 42.4 < south < north < 42.5


@pytest.mark.parametrize(
    ("crs", "length", "area"),
    [
        ("EPSG:25833", "m", "m²"),
        ("EPSG:2263", "US survey foot", "US survey foot²"),
        ("EPSG:4326", "degrees", "degrees²"),
        (None, None, "m²"),
    ],
)
def test_lengths_and_areas_have_the_unit_of_the_crs(crs: str | None, length: str | None, area: str) -> None:
    box = GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 4), crs)
    assert (grid.unit_of_length(box), grid.unit_of_area(box)) == (length, area)
