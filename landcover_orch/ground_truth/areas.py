"""Does the raster hold what the labels say: the area of each source code in both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.errors import Problem
from landcover_orch.grid import hectares, resolution
from landcover_orch.labels.codes import Coding
from landcover_orch.labels.polygons import Polygons
from landcover_orch.labels.rasterise import clipped, in_pixels

SIGMAS = 3.0
SIMPLE = 0.25
"""Pixels within which neighbouring edges count as one straight edge."""

AT_ONCE = 4096
"""Polygons whose visible part is worked out at a time."""


Row = dict[str, Any]


def area_check(
    polygons: Polygons, grid: GeoBox, pixels: NDArray[np.int64], coding: Coding, *, all_touched: bool, tolerance: float
) -> list[Row]:
    """A row for each code of the legend: what its polygons show of it, what was burnt, and whether they agree.

    The area of a code is what is visible of its polygons: clipped to the tile, less what later polygons cover. The
    burnt area may differ by `tolerance` of it plus an allowance for the pixels on its outline. With pixel centres an
    edge of length l is off by at most half a pixel either way, so its error has variance l^2 / 12 and the allowance is
    `SIGMAS` standard deviations, 3 * sqrt(sum l^2 / 12); burning all touched pixels adds (|dx| + |dy|) / 2 an edge.

    Args:
        pixels: burnt pixels by code number, before the border band and image nodata.

    Returns:
        Rows with code, polygons, polygon_area, pixels, pixel_area, difference, allowance (areas in units of the CRS
        squared), agrees.
    """
    unit, size, start = resolution(grid) ** 2, len(coding.codes), 0
    count, area = np.bincount(polygons.number, minlength=size), np.zeros(size)
    variance, excess = np.zeros(size), np.zeros(size)
    for seen in visible(polygons.geometry, grid):
        number = polygons.number[start : start + len(seen)]
        area += np.bincount(number, weights=shapely.area(seen), minlength=size)
        for total, part in zip((variance, excess), outline_errors(seen, number, size), strict=True):
            total += part
        start += len(seen)
    allowance = SIGMAS * np.sqrt(variance) + (excess if all_touched else 0)
    return [
        _row(code, int(count[i]), area[i] * unit, int(pixels[i]), unit, allowance[i] * unit, tolerance)
        for i, code in enumerate(coding.codes)
    ]


def counted(pixels: NDArray[np.int64], grid: GeoBox, coding: Coding, tolerance: float) -> list[Row]:
    """The rows of labels that arrive as a raster on the same grid, where the areas are the source's own pixels."""
    unit = resolution(grid) ** 2
    return [
        _row(code, None, float(pixels[i]) * unit, int(pixels[i]), unit, 0.0, tolerance)
        for i, code in enumerate(coding.codes)
    ]


def _row(
    code: str, polygons: int | None, area: float, pixels: int, unit: float, allowance: float, tolerance: float
) -> Row:
    difference = pixels * unit - area
    return {
        "code": code,
        "polygons": polygons,
        "polygon_area": round(area, 3),
        "pixels": pixels,
        "pixel_area": round(pixels * unit, 3),
        "difference": round(difference, 3),
        "allowance": round(tolerance * area + allowance, 3),
        "agrees": bool(abs(difference) <= tolerance * area + allowance + unit),
    }


def visible(geometry: NDArray[Any], grid: GeoBox) -> Iterator[NDArray[Any]]:
    """What each polygon, in burn order, shows inside a tile, in its pixels: less what later ones cover.

    Gives `AT_ONCE` polygons after the other, so that memory holds a province's polygons once.
    """
    tree = shapely.STRtree(geometry)
    frame = (0, 0, int(grid.shape[1]), int(grid.shape[0]))
    for start in range(0, len(geometry), AT_ONCE):
        part = geometry[start : start + AT_ONCE]
        first, second = tree.query(part)
        later = second > first + start
        over, second = np.unique(second[later], return_inverse=True)
        inside, above = (clipped(in_pixels(some, grid), frame) for some in (part, geometry[over]))
        yield _less(inside, above, first[later], second)


def _less(inside: NDArray[Any], above: NDArray[Any], first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[Any]:
    """Polygons less those of some above them whose ground they share, by pairs of both."""
    shared = shapely.relate_pattern(inside[first], above[second], "T********")
    order = np.flatnonzero(shared)[np.argsort(first[shared], kind="stable")]
    first, second = first[order], second[order]
    turn = np.arange(first.size) - np.searchsorted(first, first)
    for i in range(int(turn.max(initial=-1)) + 1):
        now = turn == i
        inside[first[now]] = shapely.difference(inside[first[now]], above[second[now]])
    return inside


def outline_errors(
    geometry: NDArray[Any], number: NDArray[np.uint16], codes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of each code's burnt area for its outline alone, in pixels squared, and what all touched pixels add."""
    outlines, owner = shapely.get_parts(shapely.simplify(geometry, SIMPLE), return_index=True)
    rings, ring_owner = shapely.get_rings(outlines, return_index=True)
    xy, of_ring = shapely.get_coordinates(rings, return_index=True)
    step = np.abs(np.diff(xy, axis=0))[np.diff(of_ring) == 0]
    of_code = number[owner[ring_owner[of_ring]]][1:][np.diff(of_ring) == 0]
    variance = np.bincount(of_code, weights=(step**2).sum(axis=1) / 12, minlength=codes)
    excess = np.bincount(of_code, weights=step.sum(axis=1) / 2, minlength=codes)
    return np.asarray(variance, np.float64), np.asarray(excess, np.float64)


def decisions(rows: list[Row], grid: GeoBox) -> list[Row]:
    """What was decided on composites, a row each: rule, class, polygons, hectares and share of the tile.

    Polygons and hectares are None where there are no polygons, or the CRS is not in metres; pixels without a place
    have their size in metres.
    """
    whole = int(grid.shape[0]) * int(grid.shape[1])
    return [
        {
            "decision": row["code"].split(": ")[0],
            "class": row["class"],
            "polygons": row["polygons"],
            "hectares": hectares(row["pixels"], grid),
            "share": row["pixels"] / whole,
        }
        for row in rows
    ]


def area_problems(summary: dict[str, Any]) -> list[Problem]:
    """What the blocking check refuses in a ground truth's summary: codes whose areas do not agree."""
    return [
        Problem(
            f"tile {summary['tile']}, code {row['code']!r}",
            f"{row['pixel_area']:,.1f} in the raster ({row['pixels']:,} pixels)",
            f"{row['polygon_area']:,.1f} as in the labels, give or take {row['allowance']:,.1f}",
            "look at the preview: a wrong CRS, overlapping polygons in another order, or polygons narrower than a pixel"
            " (then set `all_touched`, or a wider `labels.area_tolerance`)",
        )
        for row in summary["codes"]
        if not row["agrees"]
    ]


def decision_problems(summary: dict[str, Any]) -> list[Problem]:
    """What the blocking check refuses of the decisions on composites: a rule that leaves nothing of a tile."""
    decided = summary.get("decisions", [])
    kept = summary["labelled_pixels"] or any(row["decision"] == "soft" for row in decided)
    if not decided or kept:
        return []
    most = max(decided, key=lambda row: row["share"])
    return [
        Problem(
            f"tile {summary['tile']}",
            f"no labelled pixel: {most['share']:.0%} of it is '{most['decision']}' and becomes {most['class']}",
            "some polygons with a class",
            "lower `composites.min_fraction` of the legend, choose another `composites.rule`, or map more codes",
        )
    ]
