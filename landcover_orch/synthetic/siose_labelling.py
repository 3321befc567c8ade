"""How SIOSE labels the generated ground: a cover a polygon, or cells of many covers with their percentages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon

from landcover_orch.synthetic.labelling import drawn_cells
from landcover_orch.synthetic.terrain import Parcel, polygons

COMPOSITE = 0.5
"""Share of the ground that lies in cells whose covers nobody drew apart."""

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
"""Roads and buildings have many looks, and one cover each."""

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
class Interpreted:
    """One polygon and what is said of it: the area of each cover in square metres."""

    shape: Polygon
    areas: Mapping[str, float]

    @property
    def percentages(self) -> Percentages:
        """What SIOSE tells of the areas."""
        return whole_percent(self.areas)


def cover(parcel: Parcel) -> str:
    """SIOSE's label of a parcel."""
    return BY_CODE.get(parcel.code) or COVERS[parcel.look]


def simple(parcels: Sequence[Parcel], tile: Polygon) -> list[Interpreted]:
    """Every parcel of a tile with its own cover."""
    return [
        Interpreted(piece, {cover(parcel): piece.area})
        for parcel in parcels
        for piece in polygons(parcel.shape.intersection(tile))
    ]


def composite(parcels: Sequence[Parcel], tile: Polygon, rng: np.random.Generator) -> list[Interpreted]:
    """Half of a tile in cells with the areas of all their covers; the parcels outside them with their own cover."""
    cells = drawn_cells(tile, COMPOSITE, rng, CELL_M)
    around = shapely.union_all(cells)
    alone = [
        Interpreted(piece, {one: piece.area})
        for part in simple(parcels, tile)
        for one in part.areas
        for piece in polygons(part.shape.difference(around))
    ]
    return [*alone, *(Interpreted(cell, _areas(parcels, cell)) for cell in cells)]


def _areas(parcels: Sequence[Parcel], cell: Polygon) -> dict[str, float]:
    found: dict[str, float] = {}
    for parcel in parcels:
        area = parcel.shape.intersection(cell).area
        if area > 0:
            found[cover(parcel)] = found.get(cover(parcel), 0.0) + area
    return found


def whole_percent(areas: Mapping[str, float]) -> dict[str, int]:
    """Whole percentages that sum to 100, largest first: rounded down, the rest to the largest remainders."""
    total = sum(areas.values())
    exact = {name: 100 * area / total for name, area in areas.items()}
    found = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: found[name] - exact[name])[: 100 - sum(found.values())]:
        found[name] += 1
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {name: percent for name, percent in ranked if percent}


def label(areas: Mapping[str, float]) -> str:
    """A SIOSE label without nesting: FDC, or A(60FDC_40VAP)."""
    percentages = whole_percent(areas)
    return next(iter(percentages)) if len(percentages) == 1 else f"A({_row(percentages)})"


def nested_label(areas: Mapping[str, float]) -> str:
    """A SIOSE label whose members are composites where covers belong together: A(70R(60CHL_40PRD)_30VAP)."""
    groups: dict[str, dict[str, float]] = {}
    for name, area in areas.items():
        groups.setdefault(HEADS.get(name, name), {})[name] = area
    outer = whole_percent({head: sum(members.values()) for head, members in groups.items()})
    written = {head: _group(head, groups[head]) for head in outer}
    if len(written) == 1:
        return next(iter(written.values()))
    return f"A({'_'.join(f'{percent}{written[head]}' for head, percent in outer.items())})"


def _group(head: str, members: Mapping[str, float]) -> str:
    percentages = whole_percent(members)
    return next(iter(percentages)) if len(percentages) == 1 else f"{head}({_row(percentages)})"


def _row(percentages: Percentages) -> str:
    return "_".join(f"{percent}{name}" for name, percent in percentages.items())


Row = dict[str, str | int | float]


def values(name: str, part: Interpreted) -> list[Row]:
    """A polygon's rows of T_VALORES: its covers, and a row for the town that holds roads and buildings."""
    told = part.percentages
    town = [member for member in told if HEADS.get(member) == "UDS"]
    held = {member: str(NUMBERS["UDS"]) for member in town} if len(town) > 1 else {}
    rows = [_value(name, member, told[member], held.get(member, ""), part) for member in told]
    return [*rows, *([_value(name, "UDS", sum(told[m] for m in town), "", part)] if held else [])]


def _value(name: str, member: str, percent: int, ancestors: str, part: Interpreted) -> Row:
    return {
        "ID_POLYGON": name,
        "ID_COBERTURA": NUMBERS[member],
        "ID_ANCESTROS": ancestors,
        "ATRIBUTOS": "",
        "SUPERF_HA": round(part.shape.area * percent / 1e6, 6),
        "SUPERF_POR": percent,
    }


def labels(parts: Iterable[Interpreted], *, nested: bool) -> list[str]:
    """The SIOSE label of each polygon."""
    return [(nested_label if nested else label)(part.areas) for part in parts]
