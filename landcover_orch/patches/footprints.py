"""Footprints: polygons of windows on the ground, and which overlap, across tiles, grids and coordinate systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.grid import Window, reproject
from landcover_orch.patches.splits import MIXED, TRAIN

INSET = 0.499
"""Pixels by which a footprint is smaller at every edge: windows overlap where they share the centre of a pixel, so that
neighbours do not, nor tiles whose grids are shifted by less than a pixel along the border of a block."""

STEPS = 16
"""Pieces that an edge is divided into before it is reprojected."""


@dataclass(frozen=True)
class TileFootprints:
    """A tile's patches, their roles, and the boxes of its pixels that are not for training."""

    tile: str
    grid: GeoBox
    windows: Sequence[Window]
    roles: NDArray[np.int8]
    held: Sequence[Window]

    def train_indices(self) -> NDArray[np.intp]:
        """Indices of the train windows in `windows`."""
        return np.flatnonzero(self.roles == TRAIN)

    def held_boxes(self) -> list[Window]:
        """All boxes that training must not overlap: held-out pixels, and the windows that lie on them alone."""
        windows = [w for w, role in zip(self.windows, self.roles.tolist(), strict=True) if role not in (TRAIN, MIXED)]
        return [*self.held, *windows]


def footprints(grid: GeoBox, windows: Sequence[Window], crs: Any) -> NDArray[Any]:
    """Polygons of windows (their part inside the tile) in `crs`, each smaller by `INSET` pixels at every edge."""
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    box = np.array([window.within(shape) for window in windows], np.float64).reshape(-1, 4)
    top, left = box[:, 0] + INSET, box[:, 1] + INSET
    bottom, right = box[:, 0] + box[:, 2] - INSET, box[:, 1] + box[:, 3] - INSET
    pixels = shapely.box(left, top, right, bottom)
    affine = grid.affine
    matrix, shift = np.array([[affine.a, affine.b], [affine.d, affine.e]]), (affine.c, affine.f)
    if crs is None or grid.crs is None or grid.crs == crs:
        return np.asarray(shapely.transform(pixels, lambda xy: xy @ matrix.T + shift), object)
    pixels = shapely.segmentize(pixels, max(1.0, float(max(shape)) / STEPS))
    return reproject(shapely.transform(pixels, lambda xy: xy @ matrix.T + shift), str(grid.crs), str(crs))


def neighbours(tiles: Sequence[TileFootprints]) -> list[list[int]]:
    """For each tile the indices of the tiles that overlap it, itself among them; itself alone where it has no CRS."""
    if not tiles or tiles[0].grid.crs is None:
        return [[i] for i in range(len(tiles))]
    crs = tiles[0].grid.crs
    extents = [footprints(t.grid, [Window(0, 0, int(t.grid.shape[0]), int(t.grid.shape[1]))], crs)[0] for t in tiles]
    pairs = shapely.STRtree(extents).query(extents, predicate="intersects")
    return [sorted(pairs[1][pairs[0] == i].tolist()) for i in range(len(tiles))]


def overlapping_train(tile: TileFootprints, other: TileFootprints) -> NDArray[np.intp]:
    """Indices of the train windows of a tile that overlap held-out pixels of another tile, or of the same."""
    indices, crs = tile.train_indices(), tile.grid.crs
    train = footprints(tile.grid, [tile.windows[i] for i in indices], crs)
    held = footprints(other.grid, other.held_boxes(), crs)
    hits = shapely.STRtree(held).query(train, predicate="intersects")[0]
    return np.asarray(indices[np.unique(hits)])
