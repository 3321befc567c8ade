"""Label noise: four ways in which people label the same terrain, complete, incomplete, inexact, and years ago."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from landcover_orch.synthetic.terrain import Parcel, polygons

UNINTERPRETED = 0.35
"""Fraction of the area that incomplete labels leave out."""

MISLABELLED = 0.065
"""Fraction of the polygons that bear another code in inexact labels."""

DISPLACEMENT_PX = 2.5
"""Root mean square shift of borders in inexact labels, in pixels."""

CHANGED, CHANGED_M2 = 0.1, 400.0
"""Fraction of the parcels of that many square metres at least whose cover was another one in older labels."""

FORMER = ("110", "120", "210", "220", "310")
"""Codes before a change: fields, forest or ponds; roads and buildings are not taken away."""

CELL_M = 90.0
"""Side of the areas that incomplete labels leave out, roughly."""


@dataclass(frozen=True)
class Label:
    """One labelled polygon."""

    code: str
    shape: Polygon


def complete(parcels: Sequence[Parcel]) -> list[Label]:
    """Every parcel with its own code."""
    return [Label(parcel.code, parcel.shape) for parcel in parcels]


def incomplete(parcels: Sequence[Parcel], area: Polygon, rng: np.random.Generator) -> list[Label]:
    """Labels outside the areas that nobody interpreted: about 35 % of `area` (a rectangle in metres)."""
    left_out = shapely.union_all(drawn_cells(area, UNINTERPRETED, rng))
    return [Label(parcel.code, piece) for parcel in parcels for piece in polygons(parcel.shape.difference(left_out))]


def drawn_cells(area: Polygon, fraction: float, rng: np.random.Generator, cell_m: float = CELL_M) -> list[Polygon]:
    """Voronoi cells of about `cell_m` metres in a rectangle, drawn until they hold about a `fraction` of its area."""
    left, bottom, right, top = area.bounds
    step = min(cell_m, (right - left) / 4, (top - bottom) / 4)
    x, y = np.meshgrid(np.arange(left, right + step, step), np.arange(bottom, top + step, step))
    points = np.stack([x, y], axis=-1).reshape(-1, 2) + rng.uniform(-0.35, 0.35, (x.size, 2)) * step
    whole = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(points), extend_to=area))
    cells = [cell for cell in shapely.intersection(whole, area) if not cell.is_empty]
    order = rng.permutation(len(cells))
    held = np.cumsum([cells[i].area for i in order]) / area.area
    return [cells[i] for i in order[: int(np.abs(held - fraction).argmin()) + 1]]


def inexact(parcels: Sequence[Parcel], resolution: float, rng: np.random.Generator) -> list[Label]:
    """Labels whose borders are displaced by a few pixels, and about one in fifteen of which bears a wrong code."""
    displace = smooth_displacement(resolution * DISPLACEMENT_PX, rng)
    mislabelled = set(rng.permutation(len(parcels))[: round(MISLABELLED * len(parcels))].tolist())
    codes = sorted({parcel.code for parcel in parcels})
    labels = []
    for i, parcel in enumerate(parcels):
        code = _other(parcel.code, codes, rng) if i in mislabelled else parcel.code
        shape = shapely.make_valid(shapely.transform(shapely.segmentize(parcel.shape, 2.0), displace))
        labels += [Label(code, piece) for piece in polygons(shape)]
    return labels


def older(parcels: Sequence[Parcel], rng: np.random.Generator) -> list[Label]:
    """Labels of years ago, on the same borders: some fields, forests, ponds and large buildings were something else."""
    able = [
        i for i, p in enumerate(parcels) if p.shape.area >= CHANGED_M2 and p.code != "410" and p.appearance != "river"
    ]
    changed = set(rng.permutation(able)[: round(CHANGED * len(able))].tolist())
    codes = (_other(parcel.code, FORMER, rng) if i in changed else parcel.code for i, parcel in enumerate(parcels))
    return [Label(code, parcel.shape) for code, parcel in zip(codes, parcels, strict=True)]


def _other(code: str, codes: Sequence[str], rng: np.random.Generator) -> str:
    """A code of another class: the first digit of a code is its class."""
    others = [other for other in codes if other[0] != code[0]]
    return others[rng.integers(len(others))]


def smooth_displacement(shift: float, rng: np.random.Generator) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A smooth displacement of root mean square `shift` metres; neighbours keep their common border."""
    waves = 2 * np.pi / rng.uniform(18, 70, 12)
    angles, phases = rng.uniform(0, 2 * np.pi, (2, 12)), rng.uniform(0, 2 * np.pi, (2, 12))

    def move(points: NDArray[Any]) -> NDArray[Any]:
        moves = [
            np.sin(points @ (waves * np.stack([np.cos(angles[axis]), np.sin(angles[axis])])) + phases[axis]).sum(axis=1)
            for axis in (0, 1)
        ]
        displaced: NDArray[Any] = points + np.stack(moves, axis=1) * (shift / np.sqrt(12 / 2))
        return displaced

    return move


def clipped(labels: Sequence[Label], bounds: tuple[float, float, float, float]) -> list[Label]:
    """The labels inside a rectangle (left, bottom, right, top)."""
    frame = box(*bounds)
    near = shapely.STRtree([label.shape for label in labels]).query(frame)
    return [
        Label(labels[i].code, piece)
        for i in sorted(near.tolist())
        for piece in polygons(labels[i].shape.intersection(frame))
    ]
