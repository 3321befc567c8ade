"""Spatial splits: which pixel, and which window, is train, validation, test or excluded. By position alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config import BlockFold, Splits
from landcover_orch.grid import Window, ground_blocks, splitmix64

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

TRAIN, VALIDATION, TEST, EXCLUDED = 0, 1, 2, 3
ROLES = (TRAIN, VALIDATION, TEST, EXCLUDED)
MIXED = -1
"""Role of a window that no split may use: its pixels have several roles, or lie on held-out pixels of other tiles."""

ROLE_NAMES = {"train": TRAIN, "validation": VALIDATION, "test": TEST, "excluded": EXCLUDED, "dropped": MIXED}
"""What patches are counted as -> their role."""

RLE_CODES = {TRAIN: "t", VALIDATION: "v", TEST: "e", EXCLUDED: "o", MIXED: "x"}
"""Letters of the roles in run lengths."""

FOLDS = 1
"""What the seed's hash of a block is mixed with for its fold, so that folds do not follow the draw of test blocks."""


def whole_tile_role(splits: Splits, tile: str) -> int | None:
    """The role of a tile that belongs to one split as a whole, None where its blocks decide."""
    named = split_of(splits, tile)
    return None if splits.excluded.blocks and named != EXCLUDED else named


def split_of(splits: Splits, tile: str) -> int | None:
    """The split that a tile belongs to but for excluded blocks, as its role; None where its blocks decide."""
    specs = {EXCLUDED: splits.excluded, TEST: splits.test, VALIDATION: splits.validation}
    for role, spec in specs.items():
        if tile in spec.tiles:
            return role
    drawn, end = float(spatial_hash(splits.seed, name_hash(tile))[0]), 0.0
    for role, spec in specs.items():
        end += spec.random_fraction
        if drawn < end:
            return role
    return None if splits.fold or splits.test.blocks or splits.validation.blocks else TRAIN


def name_hash(tile: str) -> NDArray[np.int64]:
    """A 64-bit number, in an array of one, that a name gives on every machine."""
    return np.frombuffer(hashlib.sha256(tile.encode()).digest()[:8], np.dtype("<i8"))


def block_roles(
    splits: Splits, cols: NDArray[np.int64], rows: NDArray[np.int64], role: int | None = None
) -> NDArray[np.uint8]:
    """Role of spatial blocks by their (column, row), the same in every tile and on every machine.

    A block's position and the seed are hashed to a number that is uniform in [0, 1): below `excluded.blocks` it is
    excluded, then test, then validation; in a fold a second number decides. See `spatial_hash`.

    Args:
        splits: how the blocks are split.
        cols: block columns.
        rows: block rows; they broadcast against `cols`.
        role: of the tile's blocks that are not excluded, where its name decides.
    """
    uniform = spatial_hash(splits.seed, cols, rows)
    first = splits.excluded.blocks
    held = first + splits.test.blocks
    drawn = np.where(uniform < held, TEST, np.where(uniform < held + splits.validation.blocks, VALIDATION, TRAIN))
    if splits.fold is not None:
        drawn = fold_roles(splits.fold, spatial_hash(splits.seed, cols, rows, np.array(FOLDS)))
    return np.where(uniform < first, EXCLUDED, drawn if role is None else role).astype(np.uint8)


def fold_roles(fold: BlockFold, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Roles in a fold: its blocks are test, those of the next (after the last comes the first) validation.

    Args:
        uniform: a number in [0, 1) for each block.
    """
    distance = ((uniform * fold.count).astype(np.int64) - (fold.index - 1)) % fold.count
    return np.where(distance == 0, TEST, np.where(distance == 1, VALIDATION, TRAIN))


def spatial_hash(seed: int, *parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Spatial hash: a number that is uniform in [0, 1), by SplitMix64 applied to the seed and each part in turn."""
    state = splitmix64(np.array([seed % 2**64], np.uint64))
    for part in parts:
        state = splitmix64(state ^ part.astype(np.int64).view(np.uint64))
    return np.asarray((state >> np.uint64(11)) * 2.0**-53)


def roles(splits: Splits, tile: str, grid: GeoBox, window: Window) -> NDArray[np.uint8]:
    """Role (y, x) of each pixel of a window: TRAIN, VALIDATION, TEST or EXCLUDED."""
    role = whole_tile_role(splits, tile)
    if role is not None:
        return np.full((window.height, window.width), role, np.uint8)
    if not _upright(grid):
        return block_roles(splits, *ground_blocks(grid, window, splits.block), split_of(splits, tile))
    table, col_of, row_of = block_table(splits, tile, grid, window)
    return np.asarray(table[row_of[:, None], col_of])


def window_roles(splits: Splits, tile: str, grid: GeoBox, windows: Sequence[Window]) -> NDArray[np.int8]:
    """Role of each window by its pixels inside the tile, MIXED where they have more than one."""
    role = whole_tile_role(splits, tile)
    if role is not None:
        return np.full(len(windows), role, np.int8)
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    inside = [window.within(shape) for window in windows]
    if _upright(grid):
        return upright_window_roles(splits, tile, grid, np.array(inside, np.int64).reshape(-1, 4))
    of_pixels = (roles(splits, tile, grid, window) for window in inside)
    return np.array([int(r.flat[0]) if (r == r.flat[0]).all() else MIXED for r in of_pixels], np.int8)


def upright_window_roles(splits: Splits, tile: str, grid: GeoBox, boxes: NDArray[np.int64]) -> NDArray[np.int8]:
    """Roles of windows of an upright tile, by a summed-area table of its blocks instead of over pixels.

    Args:
        boxes: (window, 4) as of `Window`.
    """
    table, col_of, row_of = block_table(splits, tile, grid, Window(0, 0, int(grid.shape[0]), int(grid.shape[1])))
    top, left = row_of[boxes[:, 0]], col_of[boxes[:, 1]]
    bottom, right = row_of[boxes[:, 0] + boxes[:, 2] - 1], col_of[boxes[:, 1] + boxes[:, 3] - 1]
    window_role = np.full(len(boxes), MIXED, np.int8)
    size = (np.abs(bottom - top) + 1) * (np.abs(right - left) + 1)
    low, high = (np.minimum(top, bottom), np.minimum(left, right)), (np.maximum(top, bottom), np.maximum(left, right))
    for role in ROLES:
        sums = np.pad((table == role).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        inside = sums[high[0] + 1, high[1] + 1] - sums[low[0], high[1] + 1] - sums[high[0] + 1, low[1]]
        window_role[inside + sums[low] == size] = role
    return window_role


def _upright(grid: GeoBox) -> bool:
    return bool(grid.affine.b == 0 and grid.affine.d == 0)


def block_table(
    splits: Splits, tile: str, grid: GeoBox, window: Window
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Roles (block row, block column) of the blocks of a window of an upright grid, and each column's and row's index.

    Tiles without a CRS all lie at (0, 0): the blocks of each are kept distinct from those of the others.
    """
    cols = ground_blocks(grid, Window(window.row, window.col, 1, window.width), splits.block)[0].reshape(-1)
    rows = ground_blocks(grid, Window(window.row, window.col, window.height, 1), splits.block)[1].reshape(-1)
    if grid.crs is None:
        cols = cols + (int(name_hash(tile)[0]) >> 1)  # half the range, so that no sum leaves it
    block_cols, block_rows = np.arange(cols.min(), cols.max() + 1), np.arange(rows.min(), rows.max() + 1)
    table = block_roles(splits, block_cols, block_rows[:, None], split_of(splits, tile))
    return table, cols - block_cols[0], rows - block_rows[0]


def held_out(splits: Splits, tile: str, grid: GeoBox, *, strip: int = 512) -> list[Window]:
    """Boxes of pixels that are not for training, together exactly those pixels of the tile.

    Rows of one pattern become one row of boxes; a tilted grid gives boxes a row high.
    """
    height, width = int(grid.shape[0]), int(grid.shape[1])
    if whole_tile_role(splits, tile) is not None:
        return [Window(0, 0, height, width)] if whole_tile_role(splits, tile) != TRAIN else []
    boxes: list[Window] = []
    for row in range(0, height, strip):
        boxes += mask_boxes(roles(splits, tile, grid, Window(row, 0, min(strip, height - row), width)) != TRAIN, row)
    return boxes


def mask_boxes(mask: NDArray[np.bool_], first: int) -> list[Window]:
    """Boxes of the true pixels of a mask (y, x), whose upper row is the row `first` of a tile."""
    changes = np.flatnonzero((mask[1:] != mask[:-1]).any(axis=1)) + 1
    boxes = []
    for top, bottom in pairwise([0, *changes.tolist(), mask.shape[0]]):
        edges = np.flatnonzero(np.diff(np.pad(mask[top].astype(np.int8), 1))).tolist()
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            boxes.append(Window(first + top, left, bottom - top, right - left))
    return boxes


def encode(roles: NDArray[np.int8]) -> str:
    """Run-length encoding of roles in order, '12t3v' for twelve train then three validation.

    The letters: t, v, e = test, o = excluded, x = mixed.
    """
    return "".join(f"{len(list(run))}{RLE_CODES[role]}" for role, run in groupby(roles.tolist()))


def decode(text: str) -> NDArray[np.int8]:
    """Roles in order from `encode`'s run lengths."""
    role_of = {letter: role for role, letter in RLE_CODES.items()}
    runs = re.findall(r"(\d+)([tveox])", text)
    values = np.array([role_of[letter] for _, letter in runs], np.int8)
    return np.repeat(values, [int(count) for count, _ in runs])
