"""Which pixel, and which window, is train, validation, test or excluded. By place alone; nothing is stored."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config import BlockFold, Splits
from landcover_orch.grid import Window, ground_blocks

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

TRAIN, VALIDATION, TEST, EXCLUDED = 0, 1, 2, 3
ROLES = (TRAIN, VALIDATION, TEST, EXCLUDED)
SEVERAL = -1
"""Role of a window that no side may use: its pixels have several roles, or others' held-out ground lies below it."""

COUNTED = {"train": TRAIN, "validation": VALIDATION, "test": TEST, "excluded": EXCLUDED, "dropped": SEVERAL}
"""What patches are counted as -> their role."""

LETTERS = {TRAIN: "t", VALIDATION: "v", TEST: "e", EXCLUDED: "o", SEVERAL: "x"}
FOLDS = 1
"""What the seed's hash of a block is mixed with to deal it out, so that folds do not follow the draw of test blocks."""


def whole_tile_role(splits: Splits, tile: str) -> int | None:
    """The role of a tile that belongs to one side whole, None where its blocks decide."""
    named = side_of(splits, tile)
    return None if splits.excluded.blocks and named != EXCLUDED else named


def side_of(splits: Splits, tile: str) -> int | None:
    """The side that a tile belongs to but for excluded blocks, None where its blocks decide."""
    sides = {EXCLUDED: splits.excluded, TEST: splits.test, VALIDATION: splits.validation}
    for side, share in sides.items():
        if tile in share.tiles:
            return side
    drawn, end = float(_uniform(splits.seed, _number(tile))[0]), 0.0
    for side, share in sides.items():
        end += share.random_fraction
        if drawn < end:
            return side
    return None if splits.fold or splits.test.blocks or splits.validation.blocks else TRAIN


def _number(tile: str) -> NDArray[np.int64]:
    """A number that a name gives on every machine."""
    return np.frombuffer(hashlib.sha256(tile.encode()).digest()[:8], np.dtype("<i8"))


def block_roles(
    splits: Splits, cols: NDArray[np.int64], rows: NDArray[np.int64], side: int | None = None
) -> NDArray[np.uint8]:
    """Role of spatial blocks by their (column, row), the same in every tile and on every machine.

    A block's place and the seed are mixed to a number that is uniform in [0, 1): below `excluded.blocks` it is
    excluded, then test, then validation; in a fold a second number deals it out. The mixing is that of splitmix64
    (Steele, Lea and Flood 2014), applied to seed, column and row in turn.

    Args:
        splits: the sides.
        cols: block columns.
        rows: block rows; they broadcast against `cols`.
        side: role of the tile's blocks that are not excluded, where its name decides.
    """
    share = _uniform(splits.seed, cols, rows)
    first = splits.excluded.blocks
    held = first + splits.test.blocks
    drawn = np.where(share < held, TEST, np.where(share < held + splits.validation.blocks, VALIDATION, TRAIN))
    dealt = drawn if splits.fold is None else _dealt(splits.fold, _uniform(splits.seed, cols, rows, np.array(FOLDS)))
    return np.where(share < first, EXCLUDED, dealt if side is None else side).astype(np.uint8)


def _dealt(fold: BlockFold, share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Roles in a fold: its own blocks are test, those of the next (after the last comes the first) validation."""
    ahead = ((share * fold.count).astype(np.int64) - (fold.index - 1)) % fold.count
    return np.where(ahead == 0, TEST, np.where(ahead == 1, VALIDATION, TRAIN))


def _uniform(seed: int, *parts: NDArray[np.int64]) -> NDArray[np.float64]:
    state = _mix(np.array([seed % 2**64], np.uint64))
    for part in parts:
        state = _mix(state ^ part.astype(np.int64).view(np.uint64))
    return np.asarray((state >> np.uint64(11)) * 2.0**-53)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def roles(splits: Splits, tile: str, grid: GeoBox, window: Window) -> NDArray[np.uint8]:
    """Role (y, x) of each pixel of a window: TRAIN, VALIDATION, TEST or EXCLUDED."""
    whole = whole_tile_role(splits, tile)
    if whole is not None:
        return np.full((window.height, window.width), whole, np.uint8)
    if not _upright(grid):
        return block_roles(splits, *ground_blocks(grid, window, splits.block), side_of(splits, tile))
    cols, rows = _axes(tile, grid, window, splits.block)
    table, col_of, row_of = _table(splits, tile, cols, rows)
    return np.asarray(table[row_of[:, None], col_of])


def window_roles(splits: Splits, tile: str, grid: GeoBox, windows: Sequence[Window]) -> NDArray[np.int8]:
    """Role of each window by its pixels inside the tile, SEVERAL where they have more than one."""
    whole = whole_tile_role(splits, tile)
    if whole is not None:
        return np.full(len(windows), whole, np.int8)
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    inside = [window.within(shape) for window in windows]
    if not _upright(grid):
        return np.array([_single(roles(splits, tile, grid, window)) for window in inside], np.int8)
    return _by_blocks(splits, tile, grid, np.array(inside, np.int64).reshape(-1, 4))


def _by_blocks(splits: Splits, tile: str, grid: GeoBox, boxes: NDArray[np.int64]) -> NDArray[np.int8]:
    """Roles of windows of an upright tile, from sums over its table of blocks instead of over pixels."""
    cols, rows = _axes(tile, grid, Window(0, 0, int(grid.shape[0]), int(grid.shape[1])), splits.block)
    table, col_of, row_of = _table(splits, tile, cols, rows)
    top, left = row_of[boxes[:, 0]], col_of[boxes[:, 1]]
    bottom, right = row_of[boxes[:, 0] + boxes[:, 2] - 1], col_of[boxes[:, 1] + boxes[:, 3] - 1]
    found = np.full(len(boxes), SEVERAL, np.int8)
    size = (np.abs(bottom - top) + 1) * (np.abs(right - left) + 1)
    low, high = (np.minimum(top, bottom), np.minimum(left, right)), (np.maximum(top, bottom), np.maximum(left, right))
    for role in ROLES:
        sums = np.pad((table == role).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        inside = sums[high[0] + 1, high[1] + 1] - sums[low[0], high[1] + 1] - sums[high[0] + 1, low[1]]
        found[inside + sums[low] == size] = role
    return found


def _single(found: NDArray[np.uint8]) -> int:
    return int(found.flat[0]) if (found == found.flat[0]).all() else SEVERAL


def _upright(grid: GeoBox) -> bool:
    return bool(grid.affine.b == 0 and grid.affine.d == 0)


def _axes(tile: str, grid: GeoBox, window: Window, size: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Block column of each column and block row of each row of a window of an upright grid.

    Tiles without a place all lie at (0, 0): the blocks of each stand apart from those of the others.
    """
    cols, _ = ground_blocks(grid, Window(window.row, window.col, 1, window.width), size)
    _, rows = ground_blocks(grid, Window(window.row, window.col, window.height, 1), size)
    apart = 0 if grid.crs is not None else int(_number(tile)[0]) >> 1  # half the range, so that no sum leaves it
    return cols.reshape(-1) + apart, rows.reshape(-1)


def _table(
    splits: Splits, tile: str, cols: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Roles (block row, block column) of the blocks that axes meet, and each column's and row's place in them."""
    across, down = np.arange(cols.min(), cols.max() + 1), np.arange(rows.min(), rows.max() + 1)
    return block_roles(splits, across, down[:, None], side_of(splits, tile)), cols - across[0], rows - down[0]


def held_out(splits: Splits, tile: str, grid: GeoBox, *, strip: int = 512) -> list[Window]:
    """Boxes of pixels that are not for training, together exactly those pixels of the tile.

    Rows of one pattern become one row of boxes; a tilted grid gives boxes a row high.
    """
    height, width = int(grid.shape[0]), int(grid.shape[1])
    if whole_tile_role(splits, tile) is not None:
        return [Window(0, 0, height, width)] if whole_tile_role(splits, tile) != TRAIN else []
    found: list[Window] = []
    for row in range(0, height, strip):
        found += _boxes(roles(splits, tile, grid, Window(row, 0, min(strip, height - row), width)) != TRAIN, row)
    return found


def _boxes(held: NDArray[np.bool_], first: int) -> list[Window]:
    changes = np.flatnonzero((held[1:] != held[:-1]).any(axis=1)) + 1
    edges = [0, *changes.tolist(), held.shape[0]]
    return [
        Window(first + top, left, bottom - top, right - left)
        for top, bottom in pairwise(edges)
        for left, right in _runs(held[top])
    ]


def _runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.pad(line.astype(np.int8), 1)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def encode(found: NDArray[np.int8]) -> str:
    """Roles in order as run lengths, '12t3v' for twelve train then three validation.

    The letters: t, v, e = test, o = excluded, x = several.
    """
    return "".join(f"{len(list(run))}{LETTERS[role]}" for role, run in groupby(found.tolist()))


def decode(text: str) -> NDArray[np.int8]:
    """Roles in order from `encode`'s run lengths."""
    role_of = {letter: role for role, letter in LETTERS.items()}
    runs = re.findall(r"(\d+)([tveox])", text)
    values = np.array([role_of[letter] for _, letter in runs], np.int8)
    return np.repeat(values, [int(count) for count, _ in runs])
