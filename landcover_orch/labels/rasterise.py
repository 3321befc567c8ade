"""Rasterise polygons: strips of code numbers, a strip at a time, the same whatever the strips' height."""

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
from landcover_orch.labels.codes import Strip
from landcover_orch.labels.polygons import Polygons

GRAIN = 2.0**-20
"""Pixels that polygon coordinates are rounded to, so that moving them by whole rows is exact in every strip."""

HALO = 1
"""Rows and columns around a window that are rasterised with it."""


def strips(
    polygons: Polygons, grid: GeoBox, windows: Sequence[Window], *, all_touched: bool, fill: int
) -> Iterator[Strip]:
    """Code numbers (y, x) of each window, uint16; `fill` where no polygon lies. See `rasterise`."""
    return rasterise(polygons.geometry, polygons.number, grid, windows, all_touched=all_touched, fill=fill)


def rasterise(
    geometry: NDArray[Any],
    values: NDArray[Any],
    grid: GeoBox,
    windows: Sequence[Window],
    *,
    all_touched: bool,
    fill: int,
) -> Iterator[NDArray[Any]]:
    """Rasterise geometries: values (y, x) of each window, in their dtype; later over earlier, `fill` where none lies.

    Coordinates are turned into pixels of the whole tile and rounded to a millionth of a pixel: a strip then only
    subtracts whole rows, which floating point does exactly. Each strip is rasterised with a pixel more all around, for
    GDAL treats what only touches the edge of an array in its own way. So a seam between strips cannot be seen; with
    `all_touched` alone, a pixel that a polygon's edge touches at its rim and not inside, or right in a corner, may fall
    either way. With `all_touched`, what lies right of the array is clipped: GDAL follows an edge there past the end of
    a row, into the first pixels of the next one.
    """
    bounds = bounds_in_pixels(geometry, grid)
    for window in windows:
        top, bottom = window.row - HALO, window.row + window.height + HALO
        left, right = window.col - HALO, window.col + window.width + HALO
        near = intersecting(bounds, left, top, right, bottom)
        padded = GeoBox((bottom - top, right - left), Affine.translation(left, top), None)
        shapes = in_pixels(geometry[near], grid)
        if all_touched:
            beyond = bounds[near, 2] > right
            shapes[beyond] = [left_of(shape, right) for shape in shapes[beyond]]
        pairs = [pair for pair in zip(shapes, values[near].tolist(), strict=True) if not pair[0].is_empty]
        strip = raster.burn(pairs, padded, all_touched=all_touched, fill=fill, dtype=values.dtype)
        yield strip[HALO : HALO + window.height, HALO : HALO + window.width]


def left_of(shape: Any, right: float) -> Any:
    """The part of a shape in pixels left of a column."""
    x, top, _, bottom = shape.bounds
    return shapely.clip_by_rect(shape, min(x, right) - 1, top - 1, right, bottom + 1)


def translated(geometry: NDArray[Any], grid: GeoBox, to: GeoBox) -> NDArray[Any]:
    """Translate geometries as a grid has to be translated to lie where another one of its pixels does."""
    by = (to.affine.c - grid.affine.c, to.affine.f - grid.affine.f)
    return np.asarray(shapely.transform(geometry, lambda xy: xy + by) if any(by) else geometry, object)


def bounds_in_pixels(geometry: NDArray[Any], grid: GeoBox) -> NDArray[np.float64]:
    """Left, top, right and bottom (geometry, 4) in pixels of boxes around geometries; nan where one is empty."""
    left, bottom, right, top = shapely.bounds(geometry).reshape(-1, 4).T
    inverse = ~grid.affine
    corners = [(x, y) for x in (left, right) for y in (bottom, top)]
    cols = np.stack([inverse.a * x + inverse.b * y + inverse.c for x, y in corners])
    rows = np.stack([inverse.d * x + inverse.e * y + inverse.f for x, y in corners])
    return np.stack([cols.min(axis=0), rows.min(axis=0), cols.max(axis=0), rows.max(axis=0)], axis=1)


def intersecting(bounds: NDArray[np.float64], left: float, top: float, right: float, bottom: float) -> NDArray[np.intp]:
    """Which boxes, as of `bounds_in_pixels`, intersect another one, give or take what rounding moves."""
    near = (bounds[:, 2] >= left - GRAIN) & (bounds[:, 0] <= right + GRAIN)
    return np.flatnonzero(near & (bounds[:, 3] >= top - GRAIN) & (bounds[:, 1] <= bottom + GRAIN))


def in_pixels(geometry: NDArray[Any], grid: GeoBox) -> NDArray[Any]:
    """Geometries in pixels of a grid (x = column, y = row), rounded to `GRAIN`."""
    inverse = ~grid.affine
    matrix, shift = np.array([[inverse.a, inverse.b], [inverse.d, inverse.e]]), (inverse.c, inverse.f)
    pixels = shapely.transform(geometry, lambda xy: np.round((xy @ matrix.T + shift) / GRAIN) * GRAIN)
    return np.asarray(pixels, object)


def clipped(shapes: NDArray[Any], frame: tuple[int, int, int, int]) -> NDArray[Any]:
    """Clip shapes in pixels to a frame (left, top, right, bottom); what rounding broke is repaired."""
    broken = ~shapely.is_valid(shapes)
    inside = shapes.copy()
    inside[broken] = shapely.buffer(shapes[broken], 0)
    left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T
    crossing = (left < frame[0]) | (top < frame[1]) | (right > frame[2]) | (bottom > frame[3])
    inside[crossing] = shapely.intersection(inside[crossing], shapely.box(*frame))
    return inside
