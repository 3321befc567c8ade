"""Border band: pixels along borders between classes that are neither trained nor scored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.config import file_label
from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import hectares, in_metres, resolution
from landcover_orch.legend import IGNORE, MAX_BORDER, Border, Legend

Classes = NDArray[np.uint8]
Widths = NDArray[np.int64]
"""Pixels on either side of the border of two classes (class, class), symmetric; 0 on the diagonal."""


def widths(legend: Legend, grid: GeoBox) -> Widths:
    """How wide the band of each two classes is on a grid; widths in metres are rounded up to whole pixels.

    Raises:
        LabelError: widths in metres where the CRS has none, or a band wider than 64 pixels.
    """
    border = legend.border if isinstance(legend.border, Border) else Border(width=legend.border)
    pixel = resolution(grid) if border.unit == "metres" else 1.0
    names, where = list(legend.names), f"{file_label('legends', legend.name)}: border"
    width = np.full((len(names), len(names)), _pixels(border.width, pixel))
    for pair in border.pairs:
        first, second = (names.index(name) for name in pair.between)
        width[first, second] = width[second, first] = _pixels(pair.width, pixel)
    np.fill_diagonal(width, 0)
    if border.unit == "metres" and not in_metres(grid):
        fix = "state the widths in pixels (`unit: pixels`)"
        raise LabelError(Problem(where, f"metres, on an orthophoto in {grid.crs}", "a CRS in metres", fix))
    if width.max() > MAX_BORDER:
        fix = "choose a narrower band"
        raise LabelError(Problem(where, f"{width.max()} pixels of {pixel:g} m", f"at most {MAX_BORDER}", fix))
    return width


def _pixels(width: float, pixel: float) -> int:
    return math.ceil(width / pixel - 1e-6)


def band(classes: Classes, width: Widths) -> Classes:
    """The class that makes a pixel part of a band (y, x), 255 where none does; ignored pixels make no border.

    A pixel is in a band where a pixel of another class lies within the width of their pair, diagonals included. Where
    several do, the lowest id below its own counts, else the highest above, so that each pixel counts for one pair.
    """
    widths = width[~np.eye(len(width), dtype=bool)]
    if not widths.any():
        return np.full(classes.shape, IGNORE, np.uint8)
    return uniform_band(classes, int(widths[0])) if (widths == widths[0]).all() else band_by_pair(classes, width)


def uniform_band(classes: Classes, width: int) -> Classes:
    """The band where all pairs have one width."""
    lowest = ~maximum_filter(~classes, width)
    shifted = classes + np.uint8(1)  # 255 wraps to 0, so that ignore never is the highest
    highest = maximum_filter(shifted, width) - np.uint8(1)
    near = np.where(lowest < classes, lowest, highest)
    near[(near == classes) | (classes == IGNORE)] = IGNORE
    return np.asarray(near)


def band_by_pair(classes: Classes, width: Widths) -> Classes:
    """The band where pairs differ: each class grown by each of its widths, over the classes that it is for."""
    near = np.full(classes.shape, IGNORE, np.uint8)
    present = np.intersect1d(np.arange(len(width)), classes)
    for cls in present:
        for wide in np.setdiff1d(width[cls, present], 0):
            reached = np.zeros(IGNORE + 1, bool)
            reached[: len(width)] = width[cls] == wide
            grown = maximum_filter((classes == cls).view(np.uint8), int(wide))
            near[grown.view(bool) & reached[classes] & (near > classes)] = cls
    return near


def maximum_filter(values: Classes, width: int) -> Classes:
    """Maximum filter (grey dilation): the largest value within `width` pixels (y, x), diagonals included.

    Windows are doubled until they are wide enough, one axis after the other: a few comparisons of whole arrays, several
    times as fast as SciPy's filter.
    """
    size = 2 * width + 1
    for axis in (0, 1):
        padding = [(width, width) if axis == padded else (0, 0) for padded in (0, 1)]
        lines, reach = np.moveaxis(np.pad(values, padding), axis, 0), 1
        while reach < size:
            step = min(reach, size - reach)
            lines = np.maximum(lines[:-step], lines[step:])
            reach += step
        values = np.moveaxis(lines, 0, axis)
    return values


def bands(strips: Iterable[Classes], width: Widths) -> Iterator[tuple[Classes, Classes]]:
    """Each strip of a tile (top to bottom, whole rows) with its band, as if the tile were one array.

    A strip is judged once the rows below it are known; strips must be at least as high as the widest band, but for
    the last.
    """
    halo = int(width.max())
    above: Classes | None = None
    here: Classes | None = None
    for below in strips:
        if here is not None:
            yield here, _middle(above, here, below, width, halo)
        above, here = here, below
    if here is not None:
        yield here, _middle(above, here, None, width, halo)


def _middle(above: Classes | None, here: Classes, below: Classes | None, width: Widths, halo: int) -> Classes:
    head = here[:0] if above is None else above[above.shape[0] - min(halo, above.shape[0]) :]
    tail = here[:0] if below is None else below[:halo]
    near = band(np.concatenate([head, here, tail]), width)
    return near[head.shape[0] : head.shape[0] + here.shape[0]]


def pair_rows(pixels: NDArray[np.int64], width: Widths, names: Sequence[str], grid: GeoBox) -> list[dict[str, Any]]:
    """What the bands cost: width in pixels, pixels and hectares of each two classes, those that cost most first.

    Args:
        pixels: (class, class) ignored pixels of the first because of the second; see `band`.
    """
    both = pixels + pixels.T
    pairs = [pair for pair in combinations(range(len(names)), 2) if both[pair]]
    return [
        {
            "between": f"{names[first]} and {names[second]}",
            "width": int(width[first, second]),
            "pixels": int(both[first, second]),
            "hectares": hectares(int(both[first, second]), grid),
        }
        for first, second in sorted(pairs, key=lambda pair: -both[pair])
    ]
