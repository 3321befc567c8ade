"""Where windows lie on the ground, and which of them meet: across tiles, grids and coordinate systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.grid import Window, reproject
from landcover_orch.patches.splits import SEVERAL, TRAIN

INSET = 0.499
"""Pixels that a footprint is smaller on every side: windows meet where they share the centre of a pixel, so that
neighbours do not, nor tiles whose grids are shifted by less than a pixel along the border of a block."""

STEPS = 16
"""Pieces that an edge is divided into before it is reprojected."""


@dataclass(frozen=True)
class Ground:
    """A tile's patches, their roles, and the boxes of its pixels that are not for training."""

    tile: str
    grid: GeoBox
    windows: Sequence[Window]
    roles: NDArray[np.int8]
    held: Sequence[Window]

    def of_train(self) -> NDArray[np.intp]:
        """Places of the train windows in `windows`."""
        return np.flatnonzero(self.roles == TRAIN)

    def held_boxes(self) -> list[Window]:
        """All boxes that training must not meet: held-out pixels, and the windows that lie on them alone."""
        windows = [w for w, role in zip(self.windows, self.roles.tolist(), strict=True) if role not in (TRAIN, SEVERAL)]
        return [*self.held, *windows]


def footprints(grid: GeoBox, windows: Sequence[Window], crs: Any) -> NDArray[Any]:
    """Polygons of windows (their part inside the tile) in `crs`, each smaller by `INSET` pixels on every side."""
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


def neighbours(grounds: Sequence[Ground]) -> list[list[int]]:
    """For each tile the places of the tiles that lie on its ground, itself among them; alone where it has no place."""
    if not grounds or grounds[0].grid.crs is None:
        return [[i] for i in range(len(grounds))]
    crs = grounds[0].grid.crs
    whole = [footprints(g.grid, [Window(0, 0, int(g.grid.shape[0]), int(g.grid.shape[1]))], crs)[0] for g in grounds]
    pairs = shapely.STRtree(whole).query(whole, predicate="intersects")
    return [sorted(pairs[1][pairs[0] == i].tolist()) for i in range(len(grounds))]


def met(ground: Ground, other: Ground) -> NDArray[np.intp]:
    """Places of the train windows of a tile that meet held-out ground of another tile, or of the same."""
    places, crs = ground.of_train(), ground.grid.crs
    train = footprints(ground.grid, [ground.windows[i] for i in places], crs)
    held = footprints(other.grid, other.held_boxes(), crs)
    hits = shapely.STRtree(held).query(train, predicate="intersects")[0]
    return np.asarray(places[np.unique(hits)])
