"""Polygons to strips of code numbers, a strip at a time, the same whatever the strips' height."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.grid import Window
from landcover_orch.ground_truth.codes import Strip
from landcover_orch.ground_truth.polygons import Polygons

GRAIN = 2.0**-20
"""Pixels that polygon coordinates are rounded to, so that moving them by whole rows is exact in every strip."""

HALO = 1
"""Rows that a strip is burnt beyond its own on either side."""


def strips(
    polygons: Polygons, grid: GeoBox, windows: Sequence[Window], *, all_touched: bool, fill: int
) -> Iterator[Strip]:
    """Code numbers (y, x) of each window, uint16; `fill` where no polygon lies. See `burnt`."""
    return burnt(polygons.geometry, polygons.number, grid, windows, all_touched=all_touched, fill=fill)


def burnt(
    geometry: NDArray[Any],
    values: NDArray[Any],
    grid: GeoBox,
    windows: Sequence[Window],
    *,
    all_touched: bool,
    fill: int,
) -> Iterator[NDArray[Any]]:
    """Values (y, x) of each window, in their dtype; `fill` where no geometry lies, later ones over earlier.

    Coordinates are turned into pixels of the whole tile once and rounded to a millionth of a pixel: a strip then only
    subtracts whole rows, which floating point does exactly. Each strip is burnt with a row more above and below, for
    GDAL treats what only touches the edge of an array in its own way. So a seam between strips cannot be seen; with
    `all_touched` alone, a pixel that a polygon's edge touches at its rim and not inside, or right in a corner, may fall
    either way.
    """
    shapes = in_pixels(geometry, grid)
    bounds = shapely.bounds(shapes)
    for window in windows:
        top, bottom = window.row - HALO, window.row + window.height + HALO
        met = np.flatnonzero((bounds[:, 3] >= top) & (bounds[:, 1] <= bottom))
        place = GeoBox((bottom - top, window.width), Affine.translation(window.col, top), None)
        pairs = [(shapes[i], int(values[i])) for i in met]
        found = raster.burn(pairs, place, all_touched=all_touched, fill=fill, dtype=values.dtype)
        yield found[HALO : HALO + window.height]


def carried(geometry: NDArray[Any], grid: GeoBox, to: GeoBox) -> NDArray[Any]:
    """Geometries moved as a grid has to be moved to lie where another one of its pixels does."""
    by = (to.affine.c - grid.affine.c, to.affine.f - grid.affine.f)
    return np.asarray(shapely.transform(geometry, lambda xy: xy + by) if any(by) else geometry, object)


def in_pixels(geometry: NDArray[Any], grid: GeoBox) -> NDArray[Any]:
    """Geometries in pixels of a grid (x = column, y = row), rounded to `GRAIN`."""
    inverse = ~grid.affine
    matrix, shift = np.array([[inverse.a, inverse.b], [inverse.d, inverse.e]]), (inverse.c, inverse.f)
    moved = shapely.transform(geometry, lambda xy: np.round((xy @ matrix.T + shift) / GRAIN) * GRAIN)
    return np.asarray(moved, object)
