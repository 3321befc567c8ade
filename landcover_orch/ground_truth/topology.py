"""What is wrong with the polygons of a tile as a cover of its ground: holes, overlaps, and slivers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.grid import resolution
from landcover_orch.ground_truth.burning import in_pixels
from landcover_orch.ground_truth.codes import Coding
from landcover_orch.ground_truth.polygons import Polygons

NOTICED = 0.01
"""Pixels that a hole or overlap must have: smaller ones come from rounded coordinates."""

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
    """The topology of polygons in burn order on a tile's ground.

    A hole is ground of the tile that no polygon covers; one that is long and narrow is a gap between neighbours. Of an
    overlap the polygon that is burnt later wins. Slivers are polygons, or parts of some, that are long and narrow.
    Areas are in units of the CRS squared.
    """
    shapes, shape = in_pixels(polygons.geometry, grid), (int(grid.shape[0]), int(grid.shape[1]))
    inside = _sound(shapely.intersection(shapes, shapely.box(0, 0, shape[1], shape[0])))
    covered = shapely.union_all(inside)
    holes = _holes(covered, shape)
    first, second, overlaps, complete = _overlaps(inside, shapely.area(covered))
    parts, owner = shapely.get_parts(shapes, return_index=True)
    thin = _narrow(parts)
    slivers, of = parts[thin], owner[thin]
    gaps = _narrow(holes)
    told = _Told(polygons, coding, grid)
    worst = [
        *told.rows("gap", holes[gaps]),
        *told.rows("hole", holes[~gaps]),
        *told.rows("overlap", overlaps, second, first),
        *told.rows("sliver", slivers, of),
    ]
    unit = resolution(grid) ** 2
    facts: dict[str, int | float] = {"polygons": len(shapes)}
    for kind, found in (("holes", holes), ("gaps", holes[gaps]), ("overlaps", overlaps), ("slivers", slivers)):
        facts[kind] = len(found)
        facts[f"{kind}_area"] = round(float(shapely.area(found).sum()) * unit, 3)
    facts["largest_hole"] = round(float(shapely.area(holes).max(initial=0)) * unit, 3)
    return Topology(holes, overlaps, slivers, facts, worst, complete)


def _sound(shapes: Shapes) -> Shapes:
    """The shapes, mended where rounding to the grid made them cross themselves."""
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.buffer(shapes[broken], 0)
    return shapes


def _noticed(shapes: Shapes) -> NDArray[np.bool_]:
    return np.asarray(shapely.area(shapes) >= NOTICED, bool)


def _narrow(shapes: Shapes) -> NDArray[np.bool_]:
    """Which shapes are longer and narrower than ground is drawn on purpose."""
    area, length = shapely.area(shapes), np.maximum(shapely.length(shapes), 1e-12)
    return np.asarray((4 * np.pi * area / length**2 < THIN) & (2 * area / length < NARROW), bool)


def _holes(covered: Any, shape: tuple[int, int]) -> Shapes:
    holes = shapely.get_parts(shapely.difference(shapely.box(0, 0, shape[1], shape[0]), covered))
    return np.asarray(holes[_noticed(holes)], object)


def _overlaps(inside: Shapes, covered: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Shapes, bool]:
    """Pairs that overlap, the earlier and the later of each and what they share; and whether all were compared."""
    none = np.zeros(0, np.intp)
    firsts, seconds, shared = [none], [none], [np.zeros(0, object)]
    complete = float(shapely.area(inside).sum()) - covered < NOTICED  # then nothing lies twice
    found, spent = 0, 0
    for first, second in () if complete else _neighbours(inside):
        if found >= MOST or spent >= WORK:
            break
        common = shapely.intersection(inside[first], inside[second])
        met = _noticed(common)
        firsts.append(first[met])
        seconds.append(second[met])
        shared.append(common[met])
        found += int(met.sum())
        spent += int(shapely.get_num_coordinates(inside[np.concatenate([first, second])]).sum())
    else:
        complete = True
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(shared), complete


def _neighbours(inside: Shapes) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs whose polygons meet, each once, at most `AT_ONCE` of them at a time."""
    tree = shapely.STRtree(inside)
    for start in range(0, len(inside), AT_ONCE):
        first, second = tree.query(inside[start : start + AT_ONCE], predicate="intersects")
        later = second > first + start
        first, second = first[later] + start, second[later]
        for part in range(0, first.size, AT_ONCE):
            yield first[part : part + AT_ONCE], second[part : part + AT_ONCE]


@dataclass(frozen=True)
class _Told:
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
        return [
            {
                "what": kind,
                **self._whose("polygon", "code", None if owner is None else int(owner[i])),
                **self._whose("over polygon", "over code", None if under is None else int(under[i])),
                "area": round(float(areas[i]) * unit, 3),
                "pixels": round(float(areas[i]), 2),
                **self._place(shapes[i]),
            }
            for i in np.argsort(-areas, kind="stable")[:WORST].tolist()
        ]

    def _whose(self, name: str, code: str, i: int | None) -> Row:
        if i is None:
            return {name: None, code: None}
        return {name: self.polygons.names[i], code: self.coding.codes[int(self.polygons.number[i])]}

    def _place(self, shape: Any) -> Row:
        point = shapely.point_on_surface(shape)
        a, b, c, d, e, f = self.grid.affine[:6]
        x, y = a * point.x + b * point.y + c, d * point.x + e * point.y + f
        return {"x": round(x, 2), "y": round(y, 2)}
