"""Area check: the area of each source code in the labels and in the class raster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.errors import Problem
from landcover_orch.grid import hectares, resolution
from landcover_orch.labels.codes import Coding, Decision
from landcover_orch.labels.polygons import Polygons
from landcover_orch.labels.rasterise import clipped, in_pixels

SIGMAS = 3.0
SIMPLE = 0.25
"""Pixels within which neighbouring edges count as one straight edge."""

AT_ONCE = 4096
"""Polygons whose visible part is worked out at a time."""


@dataclass(frozen=True)
class CodeArea:
    """The area of a source code in the labels and in the class raster, and whether they agree.

    Attributes:
        code: as the legend has it.
        polygons: how many bear it; None where labels are no polygons.
        polygon_area: visible area in the labels, in units of the CRS squared.
        pixels: of the raster, before the border band and image nodata.
        unit: area of a pixel.
        allowance: for the pixels on the outlines, beside `tolerance`.
        tolerance: fraction of the area by which the two may differ.
        decision: that the code stands for, where polygons may hold several covers.
    """

    code: str
    polygons: int | None
    polygon_area: float
    pixels: int
    unit: float
    allowance: float
    tolerance: float
    decision: Decision | None = None

    @property
    def pixel_area(self) -> float:
        """Area in the raster, in units of the CRS squared."""
        return self.pixels * self.unit

    @property
    def agrees(self) -> bool:
        """Whether both areas differ by no more than what is allowed, give or take a pixel."""
        limit = self.tolerance * self.polygon_area + self.allowance
        return bool(abs(self.pixel_area - self.polygon_area) <= limit + self.unit)

    def row(self, class_name: str) -> dict[str, Any]:
        """As the summary keeps it, areas rounded to 0.001, with the class that the code becomes."""
        return {
            "code": self.code,
            "polygons": self.polygons,
            "polygon_area": round(self.polygon_area, 3),
            "pixels": self.pixels,
            "pixel_area": round(self.pixel_area, 3),
            "difference": round(self.pixel_area - self.polygon_area, 3),
            "allowance": round(self.tolerance * self.polygon_area + self.allowance, 3),
            "agrees": self.agrees,
            "class": class_name,
        }


def area_check(
    polygons: Polygons, grid: GeoBox, pixels: NDArray[np.int64], coding: Coding, *, all_touched: bool, tolerance: float
) -> list[CodeArea]:
    """Area check of each code of the legend: what its polygons show of it, and what the raster holds.

    The area of a code is what is visible of its polygons: clipped to the tile, less what later polygons cover. The
    rasterised area may differ by `tolerance` of it plus an allowance for the pixels on its outline. With pixel centres
    an edge of length l is off by at most half a pixel either way, so its error has variance l^2 / 12 and the allowance
    is `SIGMAS` standard deviations, 3 * sqrt(sum l^2 / 12); all touched pixels add (|dx| + |dy|) / 2 an edge.

    Args:
        pixels: rasterised pixels by code number, before the border band and image nodata.
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
    decisions = coding.decisions or (None,) * size
    return [
        CodeArea(
            code, int(count[i]), area[i] * unit, int(pixels[i]), unit, allowance[i] * unit, tolerance, decisions[i]
        )
        for i, code in enumerate(coding.codes)
    ]


def raster_areas(pixels: NDArray[np.int64], grid: GeoBox, coding: Coding, tolerance: float) -> list[CodeArea]:
    """The areas of labels that arrive as a raster on the same grid, where they are the source's own pixels."""
    unit, decisions = resolution(grid) ** 2, coding.decisions or (None,) * len(coding.codes)
    return [
        CodeArea(code, None, float(pixels[i]) * unit, int(pixels[i]), unit, 0.0, tolerance, decisions[i])
        for i, code in enumerate(coding.codes)
    ]


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
        inside, above = (clipped(in_pixels(shapes, grid), frame) for shapes in (part, geometry[over]))
        yield difference(inside, above, first[later], second)


def difference(
    inside: NDArray[Any], above: NDArray[Any], first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[Any]:
    """Polygons less those above them that they overlap, by pairs of both."""
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
    """Variance of each code's rasterised area for its outline, in pixels squared, and what all touched pixels add."""
    outlines, owner = shapely.get_parts(shapely.simplify(geometry, SIMPLE), return_index=True)
    rings, ring_owner = shapely.get_rings(outlines, return_index=True)
    xy, of_ring = shapely.get_coordinates(rings, return_index=True)
    step = np.abs(np.diff(xy, axis=0))[np.diff(of_ring) == 0]
    of_code = number[owner[ring_owner[of_ring]]][1:][np.diff(of_ring) == 0]
    variance = np.bincount(of_code, weights=(step**2).sum(axis=1) / 12, minlength=codes)
    excess = np.bincount(of_code, weights=step.sum(axis=1) / 2, minlength=codes)
    return np.asarray(variance, np.float64), np.asarray(excess, np.float64)


def decision_rows(areas: Sequence[CodeArea], grid: GeoBox) -> list[dict[str, Any]]:
    """What was decided on composites, a row each: rule, class, polygons, hectares and fraction of the tile (`share`).

    Polygons and hectares are None where there are no polygons, or the CRS is not in metres; pixels without a CRS have
    their size in metres.
    """
    total = int(grid.shape[0]) * int(grid.shape[1])
    return [
        {
            "decision": area.decision.how,
            "class": area.decision.name,
            "polygons": area.polygons,
            "hectares": hectares(area.pixels, grid),
            "share": area.pixels / total,
        }
        for area in areas
        if area.decision
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
    rows = summary.get("decisions", [])
    trainable = summary["labelled_pixels"] or any(row["decision"] == "soft" for row in rows)
    if not rows or trainable:
        return []
    most = max(rows, key=lambda row: row["share"])
    return [
        Problem(
            f"tile {summary['tile']}",
            f"no labelled pixel: {most['share']:.0%} of it is '{most['decision']}' and becomes {most['class']}",
            "some polygons with a class",
            "lower `composites.min_fraction` of the legend, choose another `composites.rule`, or map more codes",
        )
    ]
