"""Polygon topology: holes, gaps, overlaps and slivers in the polygons of a tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.grid import resolution
from landcover_orch.labels.codes import Coding
from landcover_orch.labels.polygons import Polygons
from landcover_orch.labels.rasterise import bounds_in_pixels, clipped, in_pixels, intersecting

NOTICED = 0.01
"""Pixels that a hole or overlap must have: smaller ones come from rounded coordinates."""

ROUNDING = 1e-5
"""Pixels that a piece of a hole must have to join others."""

NARROW = 2.0
"""Pixels of mean width, 2 A / P, below which a long shape is a sliver."""

THIN = 0.2
"""Thinness, 4 pi A / P^2, below which a shape is long: 1 for a disc, 0.79 for a square, 0.2 for 1 : 14."""

MOST = 2_000
"""Overlaps that are measured at most, so that no file can keep a machine busy for ever."""

WORK = 20_000_000
"""Corners of the pairs of polygons that are compared at most, for the same reason."""

AT_ONCE = 64
"""Polygons whose neighbours are asked for at a time, and pairs that are compared at a time."""

CELL = 1024
"""Side in pixels of the cells that are examined one by one, so that memory holds a province's polygons once."""

PART = 4096
"""Polygons that are searched for slivers at a time."""

WORST = 20
"""Rows that are listed of each kind, largest first."""

Row = dict[str, Any]
Shapes = NDArray[Any]


@dataclass(frozen=True)
class Topology:
    """Holes, overlaps and slivers of a tile's polygons, in pixels of its grid; `facts` counts them, `worst` lists them.

    `complete` is False where `MOST` overlaps were found, or `WORK` was spent, before all pairs were compared.
    """

    holes: Shapes
    overlaps: Shapes
    slivers: Shapes
    facts: Mapping[str, int | float]
    worst: Sequence[Row]
    complete: bool


def examine(polygons: Polygons, grid: GeoBox, coding: Coding) -> Topology:
    """The topology of polygons in burn order on a tile.

    A hole is a part of the tile that no polygon covers; one that is long and narrow is a gap between neighbours. Of an
    overlap the polygon that comes later wins. Slivers are polygons, or parts of some, that are long and narrow.
    Areas are in units of the CRS squared.
    """
    holes, pairs = find_holes(polygons.geometry, grid)
    first, second, overlaps = pairs.union()
    slivers, owner = find_slivers(polygons.geometry, grid)
    gaps = _narrow(holes)
    table = FaultTable(polygons, coding, grid)
    worst = [
        *table.rows("gap", holes[gaps]),
        *table.rows("hole", holes[~gaps]),
        *table.rows("overlap", overlaps, second, first),
        *table.rows("sliver", slivers, owner),
    ]
    unit = resolution(grid) ** 2
    facts: dict[str, int | float] = {"polygons": len(polygons.geometry)}
    for kind, shapes in (("holes", holes), ("gaps", holes[gaps]), ("overlaps", overlaps), ("slivers", slivers)):
        facts[kind] = len(shapes)
        facts[f"{kind}_area"] = round(float(shapely.area(shapes).sum()) * unit, 3)
    facts["largest_hole"] = round(float(shapely.area(holes).max(initial=0)) * unit, 3)
    return Topology(holes, overlaps, slivers, facts, worst, pairs.complete)


def find_holes(geometry: Shapes, grid: GeoBox) -> tuple[Shapes, Overlaps]:
    """The holes of a tile, without those that rounding made, and what lies in two polygons."""
    pieces, overlaps = [], Overlaps()
    for cell, numbers, inside in clipped_cells(geometry, grid):
        covered = shapely.union_all(inside)
        pieces.append(shapely.get_parts(shapely.difference(cell, covered)))
        if float(shapely.area(inside).sum()) - shapely.area(covered) >= NOTICED:  # else nothing lies twice
            overlaps.compare(inside, numbers)
    parts = np.concatenate(pieces)
    holes = shapely.get_parts(shapely.union_all(parts[shapely.area(parts) > ROUNDING]))
    return np.asarray(holes[_noticed(holes)], object), overlaps


def clipped_cells(geometry: Shapes, grid: GeoBox) -> Iterator[tuple[Any, NDArray[np.intp], Shapes]]:
    """Each cell of a tile, the numbers of the polygons that may lie on it, and what of them does, in pixels."""
    height, width = int(grid.shape[0]), int(grid.shape[1])
    bounds = bounds_in_pixels(geometry, grid)
    for top in range(0, height, CELL):
        bottom = min(top + CELL, height)
        row = intersecting(bounds, 0, top, width, bottom)
        strip = clipped(in_pixels(geometry[row], grid), (0, top, width, bottom))
        for left in range(0, width, CELL):
            frame = (left, top, min(left + CELL, width), bottom)
            near = intersecting(shapely.bounds(strip), *frame)
            yield shapely.box(*frame), row[near], clipped(strip[near], frame)


def _noticed(shapes: Shapes) -> NDArray[np.bool_]:
    return np.asarray(shapely.area(shapes) >= NOTICED, bool)


def _narrow(shapes: Shapes) -> NDArray[np.bool_]:
    """Which shapes are longer and narrower than anybody draws on purpose."""
    area, length = shapely.area(shapes), np.maximum(shapely.length(shapes), 1e-12)
    return np.asarray((4 * np.pi * area / length**2 < THIN) & (2 * area / length < NARROW), bool)


def find_slivers(geometry: Shapes, grid: GeoBox) -> tuple[Shapes, NDArray[np.intp]]:
    """Slivers: parts of polygons that are long and narrow, in pixels, and the number of the polygon of each."""
    slivers, owners = [np.zeros(0, object)], [np.zeros(0, np.intp)]
    for start in range(0, len(geometry), PART):
        parts, owner = shapely.get_parts(in_pixels(geometry[start : start + PART], grid), return_index=True)
        thin = _narrow(parts)
        slivers.append(parts[thin])
        owners.append(owner[thin] + start)
    return np.concatenate(slivers), np.concatenate(owners)


class Overlaps:
    """What lies in two polygons, cell by cell, until there are `MOST` pieces or `WORK` is spent."""

    def __init__(self) -> None:
        self.complete, self._spent = True, 0
        self._pieces: dict[tuple[int, int], list[Any]] = {}
        self._count = 0

    def compare(self, inside: Shapes, numbers: NDArray[np.intp]) -> None:
        """Takes note of what the polygons of a cell share."""
        for first, second in intersecting_pairs(inside):
            if self._count >= MOST or self._spent >= WORK:
                self.complete = False
                return
            common = shapely.intersection(inside[first], inside[second])
            large = _noticed(common)
            for pair in zip(
                numbers[first[large]].tolist(), numbers[second[large]].tolist(), common[large], strict=True
            ):
                self._pieces.setdefault(pair[:2], []).append(pair[2])
            self._count += int(large.sum())
            self._spent += int(shapely.get_num_coordinates(inside[np.concatenate([first, second])]).sum())

    def union(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Shapes]:
        """The earlier and the later polygon of each pair that overlaps, and what they share, over all cells."""
        pairs = np.array(sorted(self._pieces), np.intp).reshape(-1, 2)
        shared = np.zeros(len(pairs), object)
        for i, pair in enumerate(sorted(self._pieces)):
            shared[i] = shapely.union_all(self._pieces[pair])
        return pairs[:, 0], pairs[:, 1], shared


def intersecting_pairs(inside: Shapes) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of polygons that intersect, each once, at most `AT_ONCE` of them at a time."""
    tree = shapely.STRtree(inside)
    for start in range(0, len(inside), AT_ONCE):
        first, second = tree.query(inside[start : start + AT_ONCE], predicate="intersects")
        later = second > first + start
        first, second = first[later] + start, second[later]
        for part in range(0, first.size, AT_ONCE):
            yield first[part : part + AT_ONCE], second[part : part + AT_ONCE]


@dataclass(frozen=True)
class FaultTable:
    """Rows for people about shapes in pixels."""

    polygons: Polygons
    coding: Coding
    grid: GeoBox

    def rows(
        self, kind: str, shapes: Shapes, owner: NDArray[np.intp] | None = None, under: NDArray[np.intp] | None = None
    ) -> list[Row]:
        """The largest of some shapes: what, whose and of which code, over which other one, how large, and where."""
        areas = shapely.area(shapes)
        unit = resolution(self.grid) ** 2
        a, b, c, d, e, f = self.grid.affine[:6]
        rows = []
        for i in np.argsort(-areas.round(6), kind="stable")[:WORST].tolist():
            point = shapely.point_on_surface(shapes[i])
            rows.append(
                {
                    "what": kind,
                    **self._owner("polygon", "code", None if owner is None else int(owner[i])),
                    **self._owner("over polygon", "over code", None if under is None else int(under[i])),
                    "area": round(float(areas[i]) * unit, 3),
                    "pixels": round(float(areas[i]), 2),
                    "x": round(a * point.x + b * point.y + c, 2),
                    "y": round(d * point.x + e * point.y + f, 2),
                }
            )
        return rows

    def _owner(self, name: str, code: str, i: int | None) -> Row:
        if i is None:
            return {name: None, code: None}
        return {name: self.polygons.names[i], code: self.coding.codes[int(self.polygons.number[i])]}
