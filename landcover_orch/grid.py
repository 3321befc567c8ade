"""Pixel grids: sliding windows, how they cover a tile, and the spatial blocks that splits are made of. No IO."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from landcover_orch.errors import GridError, Problem

HECTARE = 10_000.0
"""Square metres."""

if TYPE_CHECKING:  # a bare GPU machine has neither odc-geo nor PROJ; Dagster's definitions do without numpy
    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

Edge = Literal["shift_back", "pad", "drop", "drop_strict"]


RESOLUTION_TOLERANCE = 0.1
"""Fraction by which pixels may differ in size and one model still maps both."""


class Window(NamedTuple):
    """A box of pixels: offsets of its upper left corner, then its size, all in pixels."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of the window in an array of the tile, or in its GeoBox."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    def within(self, shape: tuple[int, int]) -> Window:
        """The part of the window that lies inside a tile of `shape` (height, width)."""
        row, col = max(self.row, 0), max(self.col, 0)
        bottom, right = min(self.row + self.height, shape[0]), min(self.col + self.width, shape[1])
        return Window(row, col, max(bottom - row, 0), max(right - col, 0))


def starts(length: int, size: int, stride: int, edge: Edge = "shift_back") -> list[int]:
    """Sliding window: offsets of windows of `size` along an axis of `length` pixels, `stride` pixels apart.

    The edge policy says what becomes of a remainder: `shift_back` pulls the last window back to the edge,
    `pad` lets it reach over the edge, `drop` leaves the remainder out. `drop_strict` also leaves out a window that
    ends at the very edge, as loops do that run while start + size < length.

    Raises:
        GridError: there is no window: the axis is too short and the policy is not `pad`.
    """
    end = length if edge == "drop_strict" else length + 1
    if size >= end and edge != "pad":
        fix = "set `patches.edge: pad`, or a smaller `patches.size`"
        raise GridError(Problem("axis of a tile", f"{length} px", f"a window of {size} px (edge: {edge})", fix))
    last = max(length - size, 0)
    regular = list(range(0, max(end - size, 1), stride))
    if edge in ("drop", "drop_strict") or regular[-1] + size >= length:
        return regular
    further = last if edge == "shift_back" else regular[-1] + stride
    return [*regular, further] if further < length else regular  # a padded window holds a pixel at least


def windows(shape: tuple[int, int], size: int, stride: int, edge: Edge = "shift_back") -> list[Window]:
    """Sliding windows: squares that cover a tile of `shape` (height, width), row by row; see `starts` for the edges."""
    rows, cols = (starts(length, size, stride, edge) for length in shape)
    return [Window(row, col, size, size) for row in rows for col in cols]


def blocks(shape: tuple[int, int], height: int, width: int) -> list[Window]:
    """Windows of at most `height` x `width` that cover a tile of `shape` exactly once, row by row."""
    return [
        Window(row, col, min(height, shape[0] - row), min(width, shape[1] - col))
        for row in range(0, shape[0], height)
        for col in range(0, shape[1], width)
    ]


def coverage(shape: tuple[int, int], boxes: list[Window]) -> float:
    """Fraction of a tile's pixels that lie in at least one of the windows (windows of one regular cutting)."""
    import numpy as np

    rows, cols = np.zeros(shape[0], bool), np.zeros(shape[1], bool)
    for box in boxes:
        rows[max(box.row, 0) : box.row + box.height] = True
        cols[max(box.col, 0) : box.col + box.width] = True
    return float(rows.mean() * cols.mean())


def resolution(grid: GeoBox) -> float:
    """Ground sample distance in units of the CRS: the square root of a pixel's area."""
    affine = grid.affine
    return float(abs(affine.a * affine.e - affine.b * affine.d) ** 0.5)


def crs_name(grid: GeoBox) -> str | None:
    """The CRS as 'EPSG:n' where it has such a code, else as WKT; None where there is none."""
    return None if grid.crs is None else f"EPSG:{grid.crs.epsg}" if grid.crs.epsg else str(grid.crs)


def crs_label(crs: Any) -> str:
    """A coordinate system as people call it: 'EPSG:n' where it has such a code, else its name."""
    from pyproj import CRS

    known = CRS.from_user_input(crs)
    return f"EPSG:{known.to_epsg()}" if known.to_epsg() else str(known.name)


def transform_bounds(grid: GeoBox, crs: Any) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid in another CRS (its edges bend: they are followed at 21 points each).

    In degrees east is less than west where the grid lies across the antimeridian.
    """
    from pyproj import Transformer

    transformer = Transformer.from_crs(crs_name(grid), crs, always_xy=True)
    left, bottom, right, top = transformer.transform_bounds(*grid.boundingbox)
    return left, bottom, right, top


Bounds = tuple[float, float, float, float]


def bounding_boxes(grid: GeoBox, crs: Any) -> list[Bounds]:
    """Bounding boxes (left, bottom, right, top) in another CRS that together hold a grid: one, or two in degrees.

    Across the antimeridian there is one on each side, each long enough for longitudes beyond 180 degrees.
    """
    left, bottom, right, top = transform_bounds(grid, crs)
    if left <= right:
        return [(left, bottom, right, top)]
    return [(left, bottom, right + 360, top), (left - 360, bottom, right, top)]


def area_of_use(crs: Any) -> Bounds | None:
    """Area of use of a CRS, in its own coordinates; None where it states none, or has no such corners."""
    from math import isfinite

    from pyproj import CRS, Transformer

    known = CRS.from_user_input(crs)
    if known.area_of_use is None:
        return None
    left, bottom, right, top = known.area_of_use.bounds
    if not known.is_geographic:
        to_crs = Transformer.from_crs("EPSG:4326", known, always_xy=True)
        left, bottom, right, top = to_crs.transform_bounds(left, bottom, right, top)
    bounds = left, bottom, right, top
    return bounds if all(map(isfinite, bounds)) and left < right else None


def reprojection(source: Any, target: Any, grid: GeoBox) -> str:
    """The datum shift that leads from one CRS to another at a grid, in words, with its accuracy; empty where none is.

    Where a better one needs a grid of PROJ that is not installed, it is named.
    """
    from pyproj.aoi import AreaOfInterest
    from pyproj.transformer import TransformerGroup

    boxes = bounding_boxes(grid, "EPSG:4326")
    west, south, east, north = boxes[0][0], boxes[0][1], boxes[-1][2], boxes[0][3]
    extent: Any = AreaOfInterest(west, south, east, north)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the best one is missing, which is said here
        group = TransformerGroup(source, target, always_xy=True, area_of_interest=extent)
    used = group.transformers[0]
    if used.accuracy == 0:
        return ""
    known = used.accuracy is not None and used.accuracy > 0
    text = f" by {used.description}, accuracy {f'{used.accuracy:g} m' if known else 'unknown'}"
    missing = [
        (operation.accuracy, file.short_name)
        for operation in group.unavailable_operations
        for file in operation.grids
        if not file.available and 0 <= operation.accuracy < (used.accuracy if known else float("inf"))
    ]
    if missing:
        accuracy, name = min(missing)
        text += f"; one of {accuracy:g} m needs the grid {name}, which is missing here: projsync --file {name}"
    return text


def reproject(geometry: NDArray[Any], source: Any, target: Any) -> NDArray[Any]:
    """Reproject an array of geometries from one CRS to another, x before y; each corner on its own."""
    import numpy as np
    import shapely
    from pyproj import Transformer

    transformer = Transformer.from_crs(source, target, always_xy=True)
    transformed = shapely.transform(geometry, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1])))
    return np.asarray(transformed, object)


def upper_left(grid: GeoBox, other: GeoBox) -> tuple[float, float]:
    """Where the origin of `other` lies in `grid`, in pixels (column, row); whole numbers on aligned grids."""
    return _pixel(grid, other, 0, 0)


def lower_right(grid: GeoBox, other: GeoBox) -> tuple[float, float]:
    """Where the lower right corner of `other` lies in `grid`, in pixels (column, row)."""
    height, width = other.shape
    return _pixel(grid, other, width, height)


def _pixel(grid: GeoBox, other: GeoBox, col: int, row: int) -> tuple[float, float]:
    """Where a pixel of `other` lies in `grid`."""
    x, y = other.pix2wld(col, row)  # type: ignore[no-untyped-call]
    right, down = grid.wld2pix(x, y)  # type: ignore[no-untyped-call]
    return float(right), float(down)


def corner_distance(grid: GeoBox, other: GeoBox) -> float:
    """Pixels by which corners of `other` lie off those of `grid`, in its pixels; 0 where they are one grid."""
    height, width = grid.shape
    right, bottom = lower_right(grid, other)
    return float(max(map(abs, (*upper_left(grid, other), right - width, bottom - height))))


def window_grid(grid: GeoBox, window: Window) -> GeoBox:
    """The grid of a window of a grid, also beyond its edges."""
    return grid.translate_pix(window.col, window.row).crop((window.height, window.width))


def ground_blocks(grid: GeoBox, window: Window, size: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of the spatial block that each pixel of a window lies in, as (block column, block row) arrays (y, x).

    Blocks are squares of `size` units of the CRS, anchored at its origin, so that tiles which overlap on the
    ground agree about every pixel's block. A pixel belongs to the block of its centre.
    """
    import numpy as np

    affine = grid.affine
    cols = np.arange(window.col, window.col + window.width) + 0.5
    rows = (np.arange(window.row, window.row + window.height) + 0.5)[:, None]
    x = affine.a * cols + affine.b * rows + affine.c
    y = affine.d * cols + affine.e * rows + affine.f
    return np.floor(x / size).astype(np.int64), np.floor(y / size).astype(np.int64)


def splitmix64(state: NDArray[np.uint64], steps: int = 1) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014): a pseudo-random 64-bit number for each state, some steps further on."""
    import numpy as np

    state = state + np.uint64((0x9E3779B97F4A7C15 * steps) % 2**64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def in_metres(grid: GeoBox) -> bool:
    """Whether lengths on a grid are metres, as those of pixels without a place are."""
    return grid.crs is None or grid.crs.units[0] in ("metre", "meter", "m")


def unit_of_length(grid: GeoBox) -> str | None:
    """Unit of lengths on a grid as people write it: 'm', 'degrees', 'US survey foot'; None where it lies in no CRS."""
    if grid.crs is None:
        return None
    return "m" if in_metres(grid) else "degrees" if grid.crs.geographic else str(grid.crs.units[0])


def unit_of_area(grid: GeoBox) -> str:
    """Unit of areas on a grid as people write it: 'm²', 'US survey foot²', 'degrees²'."""
    return f"{unit_of_length(grid) or 'm'}²"


def hectares(pixels: int, grid: GeoBox) -> float | None:
    """Hectares of pixels; None where the CRS is not in metres."""
    return round(pixels * resolution(grid) ** 2 / HECTARE, 4) if in_metres(grid) else None
