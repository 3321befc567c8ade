"""SIOSE labelling of the generated terrain: a cover a polygon, or cells of many covers with their percentages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon

from landcover_orch.synthetic.labelling import drawn_cells
from landcover_orch.synthetic.terrain import Parcel, polygons

COMPOSITE = 0.5
"""Fraction of the area that lies in cells whose covers nobody drew apart."""

CELL_M = 60.0
"""Side of such a cell, roughly: 0.36 ha, and several covers in most."""

COVERS = {
    "meadow": "PRD",
    "wheat": "CHL",
    "maize": "CHL",
    "ploughed": "CHL",
    "bare": "SDN",
    "broadleaved": "FDC",
    "conifer": "CNF",
    "river": "ACU",
    "pond": "ALG",
}
BY_CODE = {"410": "VAP", "510": "EDF"}
"""Roads and buildings have many appearances, and one cover each."""

HEADS = {"VAP": "UDS", "EDF": "UDS", "PRD": "R", "CHL": "R", "SDN": "R", "FDC": "I", "CNF": "I"}
"""The composite that a cover is a member of in nested labels: discontinuous town, regular or irregular mosaic."""

NUMBERS = {
    "PRD": 290,
    "CHL": 212,
    "SDN": 333,
    "FDC": 312,
    "CNF": 316,
    "ACU": 511,
    "ALG": 513,
    "VAP": 104,
    "EDF": 101,
    "UDS": 813,
}

Percentages = Mapping[str, int]
"""Cover -> whole percent of the polygon, largest first; they sum to 100."""


@dataclass(frozen=True)
class CompositeLabel:
    """Composite label: one polygon, and the area of each cover in it in square metres."""

    shape: Polygon
    areas: Mapping[str, float]

    @property
    def percentages(self) -> Percentages:
        """Percentages of the areas, as SIOSE has them."""
        return whole_percent(self.areas)


def cover(parcel: Parcel) -> str:
    """SIOSE's label of a parcel."""
    return BY_CODE.get(parcel.code) or COVERS[parcel.appearance]


def simple(parcels: Sequence[Parcel], tile: Polygon) -> list[CompositeLabel]:
    """Every parcel of a tile with its own cover."""
    return [
        CompositeLabel(piece, {cover(parcel): piece.area})
        for parcel in parcels
        for piece in polygons(parcel.shape.intersection(tile))
    ]


def composite(parcels: Sequence[Parcel], tile: Polygon, rng: np.random.Generator) -> list[CompositeLabel]:
    """Half of a tile in cells with the areas of all their covers; the parcels outside them with their own cover."""
    cells = drawn_cells(tile, COMPOSITE, rng, CELL_M)
    covered = shapely.union_all(cells)
    outside = [
        CompositeLabel(piece, {name: piece.area})
        for part in simple(parcels, tile)
        for name in part.areas
        for piece in polygons(part.shape.difference(covered))
    ]
    return [*outside, *(CompositeLabel(cell, cover_areas(parcels, cell)) for cell in cells)]


def cover_areas(parcels: Sequence[Parcel], cell: Polygon) -> dict[str, float]:
    """Area of each cover in a cell, in square metres."""
    areas: dict[str, float] = {}
    for parcel in parcels:
        area = parcel.shape.intersection(cell).area
        if area > 0:
            areas[cover(parcel)] = areas.get(cover(parcel), 0.0) + area
    return areas


def whole_percent(areas: Mapping[str, float]) -> dict[str, int]:
    """Largest remainder method: whole percentages that sum to 100, largest first."""
    total = sum(areas.values())
    exact = {name: 100 * area / total for name, area in areas.items()}
    rounded = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: rounded[name] - exact[name])[: 100 - sum(rounded.values())]:
        rounded[name] += 1
    ranked = sorted(rounded.items(), key=lambda item: (-item[1], item[0]))
    return {name: percent for name, percent in ranked if percent}


def label(areas: Mapping[str, float]) -> str:
    """A SIOSE label without nesting: FDC, or A(60FDC_40VAP)."""
    return _composite("A", areas)


def nested_label(areas: Mapping[str, float]) -> str:
    """A SIOSE label whose members are composites where covers belong together: A(70R(60CHL_40PRD)_30VAP)."""
    groups: dict[str, dict[str, float]] = {}
    for name, area in areas.items():
        groups.setdefault(HEADS.get(name, name), {})[name] = area
    outer = whole_percent({head: sum(members.values()) for head, members in groups.items()})
    written = {head: _composite(head, groups[head]) for head in outer}
    if len(written) == 1:
        return next(iter(written.values()))
    return f"A({'_'.join(f'{percent}{written[head]}' for head, percent in outer.items())})"


def _composite(head: str, members: Mapping[str, float]) -> str:
    percentages = whole_percent(members)
    row = "_".join(f"{percent}{name}" for name, percent in percentages.items())
    return next(iter(percentages)) if len(percentages) == 1 else f"{head}({row})"


Row = dict[str, str | int | float]


def values(name: str, part: CompositeLabel) -> list[Row]:
    """A polygon's rows of T_VALORES: its covers, and a row for the town that holds roads and buildings."""
    percents = part.percentages
    town = [member for member in percents if HEADS.get(member) == "UDS"]
    held = {member: str(NUMBERS["UDS"]) for member in town} if len(town) > 1 else {}
    rows = [_value(name, member, percents[member], held.get(member, ""), part) for member in percents]
    return [*rows, *([_value(name, "UDS", sum(percents[m] for m in town), "", part)] if held else [])]


def _value(name: str, member: str, percent: int, ancestors: str, part: CompositeLabel) -> Row:
    return {
        "ID_POLYGON": name,
        "ID_COBERTURA": NUMBERS[member],
        "ID_ANCESTROS": ancestors,
        "ATRIBUTOS": "",
        "SUPERF_HA": round(part.shape.area * percent / 1e6, 6),
        "SUPERF_POR": percent,
    }


def labels(parts: Iterable[CompositeLabel], *, nested: bool) -> list[str]:
    """The SIOSE label of each polygon."""
    return [(nested_label if nested else label)(part.areas) for part in parts]
