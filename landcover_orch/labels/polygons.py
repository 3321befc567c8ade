"""Polygons of one tile: read by the tile's bounds, on its grid's CRS, valid, in burn order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from landcover_orch.errors import LabelError, Problem
from landcover_orch.labels.codes import NULL, Coding, Stray, as_code, unknown_codes
from landcover_orch.labels.composites import Decision
from landcover_orch.labels.vectors import layer_of, readable
from landcover_orch.legend import Legend

POLYGON, MULTIPOLYGON, COLLECTION = 3, 6, 7
LISTED = 20
"""Broken polygons that one error names."""


@dataclass(frozen=True)
class Features:
    """Polygons as the file has them, in its order, in the CRS of the grid they were read for; arrays of one length.

    `value` is what the column holds, `name` what messages and products call a polygon, `where` the file, layer and
    column, `notes` says what was done to the geometry. The last `over` are burnt over all others, in any burn order.
    """

    where: str
    geometry: NDArray[Any]
    value: NDArray[Any]
    name: NDArray[Any]
    notes: tuple[str, ...]
    over: int = 0


@dataclass(frozen=True)
class Polygons:
    """Polygons in the order they are burnt, later over earlier.

    `geometry` and `number` (of the code, see `Coding`) are arrays of one length; `notes` says what was done to them.
    `names` are what messages call them, `values` what their column says (none where a table does); where they may
    hold several covers, `decisions` are as many, else none.
    """

    geometry: NDArray[Any]
    number: NDArray[np.uint16]
    notes: tuple[str, ...]
    names: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    values: tuple[str, ...] = ()


def read(path: Path, layer: str | None, attribute: str | None, grid: GeoBox, *, name: str | None = None) -> Features:
    """The polygons of a vector file that meet the grid; only those within its bounds are read.

    Args:
        layer: its name, or a pattern that one layer matches; None where the file has one alone.
        attribute: the column to give; None for that of the names.
        name: the column that names polygons; None for the features' numbers.

    Raises:
        LabelError: the file cannot be read, the layer, a column or a CRS is missing, or polygons are broken beyond
            repair; these are named.
    """
    with readable(path):
        layer = layer_of(path, layer)
        info = pyogrio.read_info(path, layer=layer)
        columns = [column for column in dict.fromkeys((attribute, name)) if column]
        _require(path, columns, info, grid)
        target, source = CRS.from_user_input(str(grid.crs)), CRS.from_user_input(info["crs"])
        bounds = _bounds(grid, target, source)
        meta, ids, wkb, found = pyogrio.raw.read(path, layer=layer, columns=columns, bbox=bounds, return_fids=True)
    by_column = dict(zip(map(str, meta["fields"]), found, strict=True))
    where = f"{path}, layer {layer}, column {columns[0]}"
    names = np.array([as_code(value) or NULL for value in (by_column[name] if name else ids)], object)
    geometry, notes = _clean(_parsed(wkb, names, where))
    if not _same(source, target):
        notes.append(f"polygons reprojected from {_name(source)} to {_name(target)}")
        geometry = _reproject(geometry, source, target)
        _require_places(geometry, names, where)
    meets = shapely.intersects(geometry, shapely.from_wkb(grid.extent.geom.wkb))
    order = np.flatnonzero(meets)[np.argsort(ids[meets], kind="stable")]
    return Features(where, geometry[order], by_column[columns[0]][order], names[order], tuple(notes))


def coded(features: Features, legend: Legend, coding: Coding) -> Polygons:
    """Polygons whose column holds a code of the legend, in the legend's burn order.

    Raises:
        UnknownCodeError: polygons whose code the legend lacks, or that have none; every such code is named.
    """
    numbers = _numbers(features, legend, coding)
    below = numbers.size - features.over
    burn = np.concatenate([_burn_order(numbers[:below], legend, coding), np.arange(below, numbers.size)])
    values = tuple(as_code(value) or NULL for value in features.value[burn])
    return Polygons(features.geometry[burn], numbers[burn], features.notes, tuple(features.name[burn]), values=values)


def _require(path: Path, wanted: list[str], info: dict[str, Any], grid: GeoBox) -> None:
    columns = [str(name) for name in info["fields"]]
    fix = "correct `labels.attribute` or `labels.id`"
    wrong = [
        Problem(str(path), f"no column {column!r} among {columns}", "the columns of the labels", fix)
        for column in wanted
        if column not in columns
    ]
    if not wanted:
        wrong.append(Problem(str(path), "no column is named", "the column with the source codes", fix))
    if info["crs"] is None:
        wrong.append(Problem(str(path), "no CRS", "a CRS", "state it with ogr2ogr -a_srs EPSG:n"))
    if grid.crs is None:
        wrong.append(Problem("the orthophoto", "no CRS", "a CRS", "state it with gdal_edit.py -a_srs EPSG:n"))
    if wrong:
        raise LabelError(*wrong)


def _bounds(grid: GeoBox, target: CRS, source: CRS) -> tuple[float, float, float, float]:
    box = grid.extent.boundingbox
    edge = (box.left, box.bottom, box.right, box.top)
    if _same(source, target):
        return edge
    return Transformer.from_crs(target, source, always_xy=True).transform_bounds(*edge, densify_pts=64)


def _same(one: CRS, other: CRS) -> bool:
    return one.equals(other, ignore_axis_order=True) or (one.to_epsg() or -1) == (other.to_epsg() or -2)


def _name(crs: CRS) -> str:
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else str(crs.name)


def _reproject(geometry: NDArray[Any], source: CRS, target: CRS) -> NDArray[Any]:
    transformer = Transformer.from_crs(source, target, always_xy=True)
    moved = shapely.transform(geometry, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1])))
    return np.asarray(moved, object)


def _parsed(wkb: NDArray[Any], names: NDArray[Any], where: str) -> NDArray[Any]:
    """Geometries in two dimensions; what has none lies in no bounds, so that each read without one is broken."""
    with np.errstate(invalid="ignore"):
        geometry = shapely.from_wkb(wkb, on_invalid="fix")
    tall = shapely.get_coordinate_dimension(geometry) > 2
    geometry[tall] = shapely.force_2d(geometry[tall])
    _refuse(shapely.is_missing(geometry), "geometries that cannot be read", names, where)
    _require_places(geometry, names, where)
    return np.asarray(geometry, object)


def _require_places(geometry: NDArray[Any], names: NDArray[Any], where: str) -> None:
    corners, owner = shapely.get_coordinates(geometry, return_index=True)
    _refuse(owner[~np.isfinite(corners).all(axis=1)], "corners whose coordinates are no numbers", names, where)


def _refuse(wrong: NDArray[Any], what: str, names: NDArray[Any], where: str) -> None:
    """Raises LabelError with the polygons that a mask or their places tell, where there are any."""
    strange = [str(name) for name in dict.fromkeys(names[wrong])]
    if strange:
        fix = "draw those polygons again, or delete them"
        found = f"{what}, in {len(strange)} polygons: {', '.join(strange[:LISTED])}"
        raise LabelError(Problem(where, found, "polygons with a place on the ground", fix))


def _clean(geometry: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Polygons, repaired where invalid; what has no area becomes empty. With notes of both."""
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(geometry[invalid])
    collections = np.flatnonzero(shapely.get_type_id(geometry) == COLLECTION)
    geometry[collections] = [_areas(mixed) for mixed in geometry[collections]]
    areas = np.isin(shapely.get_type_id(geometry), (POLYGON, MULTIPOLYGON)) & ~shapely.is_empty(geometry)
    areas &= shapely.area(geometry) > 0
    geometry[~areas] = shapely.Polygon()
    counts = {"invalid polygons repaired": (invalid & areas).sum(), "geometries without area left out": (~areas).sum()}
    return geometry, [f"{count} {what}" for what, count in counts.items() if count]


def _areas(mixed: Any) -> Any:
    parts = shapely.get_parts(mixed)
    return shapely.union_all(parts[np.isin(shapely.get_type_id(parts), (POLYGON, MULTIPOLYGON))])


def _numbers(features: Features, legend: Legend, coding: Coding) -> NDArray[np.uint16]:
    codes = [as_code(value) or NULL for value in features.value]
    numbers = {code: coding.number(code) for code in set(codes)}
    counts = Counter(code for code in codes if numbers[code] == coding.unknown)
    if counts:
        strays = (Stray(code, count, f"polygon {features.name[codes.index(code)]}") for code, count in counts.items())
        raise unknown_codes(features.where, "polygons", strays, legend)
    return np.array([numbers[code] for code in codes], np.uint16)


def _burn_order(numbers: NDArray[np.uint16], legend: Legend, coding: Coding) -> NDArray[np.intp]:
    if not legend.burn_order:
        return np.arange(numbers.size)
    rank = np.array([legend.burn_order.index(code) for code in coding.codes])
    return np.argsort(rank[numbers], kind="stable")
