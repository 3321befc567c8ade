"""Splits by place: tiles that overlap agree, windows have the role of all their pixels, run lengths come back."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from landcover_orch.config import BlockFold, Splits, SplitSpec
from landcover_orch.grid import Window, windows
from landcover_orch.patches.splits import (
    EXCLUDED,
    MIXED,
    TEST,
    TRAIN,
    VALIDATION,
    block_roles,
    decode,
    encode,
    held_out,
    roles,
    whole_tile_role,
    window_roles,
)

BLOCKS = Splits(validation=SplitSpec(blocks=0.2), test=SplitSpec(blocks=0.3), block=7.5)
EXCLUDING = BLOCKS.model_copy(update={"excluded": SplitSpec(blocks=0.2)})
FOLD = Splits(excluded=SplitSpec(blocks=0.2), fold=BlockFold(index=2, count=4), block=7.5)
DRAWN = st.sampled_from([BLOCKS, EXCLUDING, FOLD])
SHAPE = (40, 30)
CRS = "EPSG:25830"


@st.composite
def grids(draw: st.DrawFn) -> GeoBox:
    """Grids anywhere, fine or coarse, mirrored or tilted."""
    angle = np.radians(draw(st.sampled_from([0, 0, 0, 30])))
    x, y, scale = draw(st.integers(-200, 200)) / 3, draw(st.integers(-200, 200)) / 3, draw(st.sampled_from([1, 0.7, 3]))
    across, down = scale * np.array([np.cos(angle), np.sin(angle)]), draw(st.sampled_from([-scale, scale]))
    return GeoBox(SHAPE, Affine(across[0], -down * np.sin(angle), x, across[1], down * np.cos(angle), y), CRS)


@given(DRAWN, grids(), st.integers(1, 9), st.sampled_from(["shift_back", "pad", "drop"]))
def test_a_window_has_the_role_of_all_its_pixels(splits: Splits, grid: GeoBox, size: int, edge: str) -> None:
    boxes = windows(SHAPE, size, 5, edge)  # type: ignore[arg-type]
    pixels = roles(splits, "t", grid, Window(0, 0, *SHAPE))
    expected = []
    for box in boxes:
        result = np.unique(pixels[box.slices])
        expected.append(int(result[0]) if result.size == 1 else MIXED)
    assert window_roles(splits, "t", grid, boxes).tolist() == expected


@given(DRAWN, grids(), st.integers(1, 50))
def test_held_out_boxes_are_exactly_the_held_out_pixels(splits: Splits, grid: GeoBox, strip: int) -> None:
    count = np.zeros(SHAPE, int)
    for box in held_out(splits, "t", grid, strip=strip):
        count[box.slices] += 1
    np.testing.assert_array_equal(count, roles(splits, "t", grid, Window(0, 0, *SHAPE)) != TRAIN)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 2**40))
def test_tiles_that_overlap_agree(col: int, row: int, seed: int) -> None:
    splits = BLOCKS.model_copy(update={"seed": seed})
    one = GeoBox((60, 60), Affine(1, 0, 1000, 0, -1, 2000), CRS)
    other = GeoBox((60, 60), Affine(1, 0, 1000 + col, 0, -1, 2000 - row), CRS)
    shared = Window(max(row, 0), max(col, 0), 60 - abs(row), 60 - abs(col))
    moved = Window(shared.row - row, shared.col - col, shared.height, shared.width)
    np.testing.assert_array_equal(roles(splits, "a", one, shared), roles(splits, "b", other, moved))


def test_tiles_without_a_place_share_no_blocks() -> None:
    """All lie at (0, 0): by place alone each would be split alike."""
    grid = GeoBox((1, 4000), Affine(1, 0, 0, 0, -1, 1), None)
    result = {name: roles(BLOCKS, name, grid, Window(0, 0, 1, 4000))[0] for name in ("a", "b", "c")}
    assert np.mean(result["a"] == result["b"]) < 0.5  # by chance 0.25 + 0.04 + 0.09
    assert np.mean(result["b"] == result["c"]) < 0.5
    for seen in result.values():
        np.testing.assert_allclose(np.bincount(seen) / seen.size, [0.5, 0.2, 0.3], atol=0.08)
    boxes = windows((1, 4000), 1, 5, "drop")
    assert window_roles(BLOCKS, "a", grid, boxes).tolist() == result["a"][::5].tolist()


def test_blocks_are_drawn_in_the_shares_asked_for() -> None:
    cols, rows = np.meshgrid(np.arange(-200, 200), np.arange(-200, 200))
    result = np.bincount(block_roles(BLOCKS, cols, rows).ravel(), minlength=3) / cols.size
    np.testing.assert_allclose(result, [0.5, 0.2, 0.3], atol=0.005)


def test_neighbouring_blocks_are_independent() -> None:
    """A weak hash shows as stripes: rows, columns and diagonals that are all of one kind."""
    cols, rows = np.meshgrid(np.arange(300), np.arange(300))
    test = (block_roles(BLOCKS, cols, rows) == TEST).astype(float)
    for shift in ((0, 1), (1, 0), (1, 1), (2, 3)):
        moved = np.roll(test, shift, (0, 1))
        assert abs(np.corrcoef(test.ravel(), moved.ravel())[0, 1]) < 0.02
    assert abs(test.mean(axis=0) - 0.3).max() < 0.12


def test_the_draw_is_that_of_splitmix64_in_plain_integers() -> None:
    """Another machine, or a later version, must draw the same blocks."""

    def mix(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    def role(col: int, row: int) -> int:
        share = (mix(mix(mix(0) ^ col % 2**64) ^ row % 2**64) >> 11) / 2**53
        return TEST if share < 0.3 else VALIDATION if share < 0.5 else TRAIN

    result = block_roles(BLOCKS, np.arange(-6, 6), np.full(12, -3))
    assert result.tolist() == [role(col, -3) for col in range(-6, 6)]
    assert encode(block_roles(BLOCKS, np.arange(-6, 6), np.full(12, 3)).astype(np.int8)) == "2v1e3t1v1e1t1e1t1e"


def test_whole_tiles_by_name() -> None:
    splits = Splits(validation=SplitSpec(tiles=("v",)), test=SplitSpec(tiles=("e",)), excluded=SplitSpec(tiles=("o",)))
    grid = GeoBox(SHAPE, Affine.identity(), CRS)
    for tile, role in (("v", VALIDATION), ("e", TEST), ("o", EXCLUDED), ("x", TRAIN)):
        assert np.unique(roles(splits, tile, grid, Window(0, 0, 3, 3))).tolist() == [role]
        assert window_roles(splits, tile, grid, windows(SHAPE, 10, 10)).tolist() == [role] * 12
        assert held_out(splits, tile, grid) == ([] if role == TRAIN else [Window(0, 0, *SHAPE)])


def test_tiles_are_drawn_whole_in_the_shares_asked_for() -> None:
    """For tiles without a place; names of a side hold all the same, and a seed draws anew."""
    drawn = Splits(
        validation=SplitSpec(random_fraction=0.1),
        test=SplitSpec(random_fraction=0.2, tiles=("t0",)),
        excluded=SplitSpec(random_fraction=0.05),
    )
    result = np.array([whole_tile_role(drawn, f"t{i}") for i in range(4000)])
    assert result[0] == TEST
    np.testing.assert_allclose(np.bincount(result) / result.size, [0.65, 0.1, 0.2, 0.05], atol=0.02)
    again = drawn.model_copy(update={"seed": 1})
    assert [whole_tile_role(again, f"t{i}") for i in range(4000)] != result.tolist()


def test_tiles_that_are_not_drawn_are_split_by_blocks() -> None:
    mixed = Splits(test=SplitSpec(random_fraction=0.5), validation=SplitSpec(blocks=0.5))
    assert {whole_tile_role(mixed, f"t{i}") for i in range(40)} == {TEST, None}


@given(st.lists(st.sampled_from([TRAIN, VALIDATION, TEST, EXCLUDED, MIXED])))
def test_run_lengths_come_back(result: list[int]) -> None:
    assert decode(encode(np.array(result, np.int8))).tolist() == result


def test_a_seed_changes_the_draw() -> None:
    cols, rows = np.meshgrid(np.arange(20), np.arange(20))
    other = BLOCKS.model_copy(update={"seed": 1})
    assert not np.array_equal(block_roles(BLOCKS, cols, rows), block_roles(other, cols, rows))


@pytest.mark.parametrize("text", ["", "3t", "12t3v1e4x2o"])
def test_run_lengths_are_short(text: str) -> None:
    assert encode(decode(text)) == text
