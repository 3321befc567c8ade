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
from landcover_orch.ground_truth.codes import NULL, Coding, Stray, as_code, unknown_codes
from landcover_orch.legend import Legend

POLYGON, MULTIPOLYGON, COLLECTION = 3, 6, 7


@dataclass(frozen=True)
class Polygons:
    """Polygons in the order they are burnt, later over earlier, in the CRS of the grid they were read for.

    `geometry` and `number` (of the code, see `Coding`) are arrays of one length; `notes` says what was done to them.
    """

    geometry: NDArray[Any]
    number: NDArray[np.uint16]
    notes: tuple[str, ...]


def read(
    path: Path, layer: str | None, attribute: str | None, grid: GeoBox, legend: Legend, coding: Coding
) -> Polygons:
    """The polygons of a vector file that meet the grid; only those within its bounds are read.

    Raises:
        LabelError: the layer, the column or a CRS is missing.
        UnknownCodeError: polygons whose code the legend lacks, or that have none; every such code is named.
    """
    layer = _layer(path, layer)
    info = pyogrio.read_info(path, layer=layer)
    _require(path, attribute, info, grid)
    target, source = CRS.from_user_input(str(grid.crs)), CRS.from_user_input(info["crs"])
    bounds = _bounds(grid, target, source)
    _, ids, wkb, columns = pyogrio.raw.read(path, layer=layer, columns=[attribute], bbox=bounds, return_fids=True)
    geometry, notes = _clean(shapely.from_wkb(wkb))
    if not _same(source, target):
        notes.append(f"polygons reprojected from {_name(source)} to {_name(target)}")
        geometry = _reproject(geometry, source, target)
    meets = shapely.intersects(geometry, shapely.from_wkb(grid.extent.geom.wkb))
    order = np.argsort(ids[meets], kind="stable")
    geometry, ids, values = geometry[meets][order], ids[meets][order], columns[0][meets][order]
    numbers = _numbers(f"{path}, layer {layer}, column {attribute}", values, ids, legend, coding)
    burn = _burn_order(numbers, legend, coding)
    return Polygons(geometry[burn], numbers[burn], tuple(notes))


def _layer(path: Path, wanted: str | None) -> str:
    layers = [str(name) for name, _ in pyogrio.list_layers(path)]
    if wanted in layers:
        return str(wanted)
    if wanted is None and len(layers) == 1:
        return layers[0]
    found = f"no layer {wanted!r}" if wanted else f"{len(layers)} layers"
    raise LabelError(
        Problem(str(path), f"{found} among {layers}", "the layer with the polygons", "correct `labels.layer`")
    )


def _require(path: Path, attribute: str | None, info: dict[str, Any], grid: GeoBox) -> None:
    columns = [str(name) for name in info["fields"]]
    wrong = []
    if attribute not in columns:
        found = f"no column {attribute!r} among {columns}"
        wrong.append(Problem(str(path), found, "the column with the source codes", "correct `labels.attribute`"))
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


def _clean(geometry: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Polygons in two dimensions, repaired where invalid; what is no polygon becomes empty. With notes of both."""
    geometry = shapely.force_2d(geometry)
    invalid = ~shapely.is_valid(geometry) & ~shapely.is_missing(geometry)
    geometry[invalid] = shapely.make_valid(geometry[invalid])
    collections = np.flatnonzero(shapely.get_type_id(geometry) == COLLECTION)
    geometry[collections] = [_areas(mixed) for mixed in geometry[collections]]
    areas = np.isin(shapely.get_type_id(geometry), (POLYGON, MULTIPOLYGON)) & ~shapely.is_empty(geometry)
    geometry[~areas] = shapely.Polygon()
    counts = {"invalid polygons repaired": invalid.sum(), "geometries without area left out": (~areas).sum()}
    return geometry, [f"{count} {what}" for what, count in counts.items() if count]


def _areas(mixed: Any) -> Any:
    parts = shapely.get_parts(mixed)
    return shapely.union_all(parts[np.isin(shapely.get_type_id(parts), (POLYGON, MULTIPOLYGON))])


def _numbers(
    where: str, values: NDArray[Any], ids: NDArray[np.int64], legend: Legend, coding: Coding
) -> NDArray[np.uint16]:
    codes = [as_code(value) or NULL for value in values]
    numbers = {code: coding.number(code) for code in set(codes)}
    counts = Counter(code for code in codes if numbers[code] == coding.unknown)
    if counts:
        strays = (Stray(code, count, f"polygon {ids[codes.index(code)]}") for code, count in counts.items())
        raise unknown_codes(where, "polygons", strays, legend)
    return np.array([numbers[code] for code in codes], np.uint16)


def _burn_order(numbers: NDArray[np.uint16], legend: Legend, coding: Coding) -> NDArray[np.intp]:
    if not legend.burn_order:
        return np.arange(numbers.size)
    rank = np.array([legend.burn_order.index(code) for code in coding.codes])
    return np.argsort(rank[numbers], kind="stable")
