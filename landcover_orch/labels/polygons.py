"""Vector labels: the polygons of one tile, read by its bounds, in its grid's CRS, valid, in burn order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS

from landcover_orch.errors import LabelError, Problem, pluralise
from landcover_orch.grid import Bounds, bounding_boxes, crs_label, reproject, reprojection
from landcover_orch.labels.codes import NULL, Coding, Decision, Stray, as_code, unknown_codes
from landcover_orch.labels.vectors import id_fix, layer_of, read_within, readable
from landcover_orch.legend import Legend

POLYGON, MULTIPOLYGON, COLLECTION = 3, 6, 7
LISTED = 20
"""Broken polygons that one error names."""


@dataclass(frozen=True)
class Features:
    """Polygons as the file has them, in its order, in the CRS of the grid they were read for; arrays of one length.

    `value` is what the column holds, `name` what messages and products call a polygon, `where` the file, layer and
    column, `notes` says what was done to the geometry. The last `over` lie over all others, whatever the burn order.
    """

    where: str
    geometry: NDArray[Any]
    value: NDArray[Any]
    name: NDArray[Any]
    notes: tuple[str, ...]
    over: int = 0

    def select(self, which: NDArray[np.bool_]) -> Features:
        """The features that a mask marks."""
        return replace(self, geometry=self.geometry[which], value=self.value[which], name=self.name[which])


@dataclass(frozen=True)
class Polygons:
    """Polygons in burn order, later over earlier.

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
        require_columns(path, columns, info, grid)
        target, source = CRS.from_user_input(str(grid.crs)), CRS.from_user_input(info["crs"])
        same_crs = source.equals(target, ignore_axis_order=True) or (source.to_epsg() or -1) == target.to_epsg()
        boxes: list[Bounds] = [grid.extent.boundingbox.bbox] if same_crs else bounding_boxes(grid, source)
        by_column, ids, wkb = read_within(path, layer, columns, boxes)
    where = f"{path}, layer {layer}, column {columns[0]}"
    names = np.array([as_code(value) or NULL for value in (by_column[name] if name else ids)], object)
    geometry, notes = make_valid(parse_wkb(wkb, names, where))
    if not same_crs:
        by = reprojection(source, target, grid)
        notes.append(f"polygons reprojected from {crs_label(source)} to {crs_label(target)}{by}")
        geometry = reproject(geometry, source, target)
        _require_finite(geometry, names, where)
    meets = shapely.intersects(geometry, shapely.from_wkb(grid.extent.geom.wkb))
    order = np.flatnonzero(meets)[np.argsort(ids[meets], kind="stable")]
    return Features(where, geometry[order], by_column[columns[0]][order], names[order], tuple(notes))


def coded(features: Features, legend: Legend, coding: Coding) -> Polygons:
    """Polygons whose column holds a code of the legend, in the legend's burn order.

    Raises:
        UnknownCodeError: polygons whose code the legend lacks, or that have none; every such code is named.
    """
    codes = [as_code(value) or NULL for value in features.value]
    by_code = {code: coding.number(code) for code in set(codes)}
    counts = Counter(code for code in codes if by_code[code] == coding.unknown)
    if counts:
        strays = (Stray(code, count, f"polygon {features.name[codes.index(code)]}") for code, count in counts.items())
        raise unknown_codes(features.where, "polygon", strays, legend)
    numbers = np.array([by_code[code] for code in codes], np.uint16)
    below = numbers.size - features.over
    burn = np.arange(numbers.size)
    if legend.burn_order:
        rank = np.array([legend.burn_order.index(code) for code in coding.codes])
        burn[:below] = np.argsort(rank[numbers[:below]], kind="stable")
    values = tuple(as_code(value) or NULL for value in features.value[burn])
    return Polygons(features.geometry[burn], numbers[burn], features.notes, tuple(features.name[burn]), values=values)


def require_columns(path: Path, names: list[str], info: dict[str, Any], grid: GeoBox) -> None:
    """Raises LabelError where a layer lacks columns or a CRS, or the orthophoto a CRS; all of them in one error."""
    columns = [str(name) for name in info["fields"]]
    fix = "correct `labels.attribute` or `labels.id`"
    problems = [
        Problem(str(path), f"no column {name!r} among {columns}", "columns of the labels", id_fix(name, info) or fix)
        for name in names
        if name not in columns
    ]
    if not names:
        problems.append(Problem(str(path), "no column is named", "the column with the source codes", fix))
    if info["crs"] is None:
        problems.append(Problem(str(path), "no CRS", "a CRS", "state it with ogr2ogr -a_srs EPSG:n"))
    if grid.crs is None:
        problems.append(Problem("the orthophoto", "no CRS", "a CRS", "state it with gdal_edit.py -a_srs EPSG:n"))
    if problems:
        raise LabelError(*problems)


def parse_wkb(wkb: NDArray[Any], names: NDArray[Any], where: str) -> NDArray[Any]:
    """Geometries in two dimensions; what has none lies in no bounds, so that each read without one is broken."""
    with np.errstate(invalid="ignore"):
        geometry = shapely.from_wkb(wkb, on_invalid="fix")
    tall = shapely.get_coordinate_dimension(geometry) > 2
    geometry[tall] = shapely.force_2d(geometry[tall])
    _refuse(shapely.is_missing(geometry), "geometries that cannot be read", names, where)
    _require_finite(geometry, names, where)
    return np.asarray(geometry, object)


def _require_finite(geometry: NDArray[Any], names: NDArray[Any], where: str) -> None:
    corners, owner = shapely.get_coordinates(geometry, return_index=True)
    _refuse(owner[~np.isfinite(corners).all(axis=1)], "corners whose coordinates are no numbers", names, where)


def _refuse(invalid: NDArray[Any], what: str, names: NDArray[Any], where: str) -> None:
    """Raises LabelError with the polygons of a mask, or of these indices, where there are any."""
    polygons = [str(name) for name in dict.fromkeys(names[invalid])]
    if polygons:
        fix = "draw those polygons again, or delete them"
        found = f"{what}, in {pluralise(len(polygons), 'polygon')}: {', '.join(polygons[:LISTED])}"
        raise LabelError(Problem(where, found, "polygons with a place on the ground", fix))


def make_valid(geometry: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Make polygons valid: repaired where invalid; what has no area becomes empty. With notes of both."""
    invalid = ~shapely.is_valid(geometry)
    geometry[invalid] = shapely.make_valid(geometry[invalid])
    for i in np.flatnonzero(shapely.get_type_id(geometry) == COLLECTION):
        parts = shapely.get_parts(geometry[i])
        geometry[i] = shapely.union_all(parts[np.isin(shapely.get_type_id(parts), (POLYGON, MULTIPOLYGON))])
    areas = np.isin(shapely.get_type_id(geometry), (POLYGON, MULTIPOLYGON)) & ~shapely.is_empty(geometry)
    areas &= shapely.area(geometry) > 0
    geometry[~areas] = shapely.Polygon()
    counts = {"invalid polygons repaired": (invalid & areas).sum(), "geometries without area left out": (~areas).sum()}
    return geometry, [f"{count} {what}" for what, count in counts.items() if count]
