"""TODO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyogrio
from odc.geo.geobox import GeoBox

from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError
from landcover_orch.grid import crs_name, transform_bounds
from landcover_orch.labels.vectors import CRS_FIX, corrected_layer, layer_of, readable, table_columns
from landcover_orch.legend import IGNORE_NAME
from landcover_orch.tiles.issues import Sheet, some
from landcover_orch.tiles.tile import Tile

NO_AREA = ("Point", "LineString")
MANY = 10_000
"""Polygons from which on a layer without a spatial index is worth a note."""


def check(sheet: Sheet, dataset: Dataset, tile: Tile, path: Path, grid: GeoBox | None) -> None:
    """Writes down what is wrong with a tile's polygons; `grid` is its orthophoto's, None where that is unreadable."""
    try:
        with readable(path):
            layer = layer_of(path, tile.layer, f", or `tiles.overrides.{tile.name}.layer` for this file alone")
            info = pyogrio.read_info(path, layer=layer)
            _columns(sheet, dataset, path, info)
            _index(sheet, path, layer, info)
            _place(sheet, dataset, tile, path, layer, info["crs"], grid)
            if dataset.labels.content == "values":
                table_columns(path, dataset.labels.values)
    except LabelError as error:
        sheet.problems_of(error)


def check_corrections(sheet: Sheet, dataset: Dataset, path: Path) -> None:
    """Writes down what is wrong with a file of corrected polygons, where there is one."""
    if not path.is_file():
        return
    try:
        with readable(path):
            layer = corrected_layer(path)
            info = pyogrio.read_info(path, layer=layer)
            _columns(sheet, dataset, path, info)
            if info["crs"] is None:
                sheet.problem(path, "no CRS", "a coordinate reference system", CRS_FIX)
    except LabelError as error:
        sheet.problems_of(error)


def _index(sheet: Sheet, path: Path, layer: str, info: dict[str, Any]) -> None:
    """Writes down what reading within bounds would never meet: features without place, or not in the index."""
    geometry, indexed = info["geometry_name"], info["capabilities"]["fast_spatial_filter"]
    if info["driver"] == "GPKG" and geometry:
        index = _quoted(f"rtree_{layer}_{geometry}_rowid")
        held = _count(path, f"SELECT COUNT(*) FROM {index}") if indexed else None  # noqa: S608 - quoted
        if held is None or held < info["features"]:
            _without_place(sheet, path, layer, geometry, held)
    if info["features"] > MANY and not indexed:
        sheet.note(
            f"{path}: layer {layer} has no spatial index, so that each tile looks at all {info['features']:,} "
            f"polygons. Add it once: ogrinfo {path.name} -sql "
            f"\"SELECT CreateSpatialIndex('{layer}', '{geometry}')\""
        )


def _without_place(sheet: Sheet, path: Path, layer: str, geometry: str, held: int | None) -> None:
    place = _quoted(geometry)
    bare, features = f"({place} IS NULL OR ST_IsEmpty({place}))", f"SELECT COUNT(*) FROM {_quoted(layer)}"  # noqa: S608
    without = _count(path, f"{features} WHERE {bare}")
    if without:
        sheet.note(f"{path}: layer {layer} has {without:,} features without geometry, which are left out")
    if held is not None and held < (placed := _count(path, f"{features} WHERE NOT {bare}")):
        names = f"'{layer}', '{geometry}'"
        fix = f'rebuild it: ogrinfo {path.name} -sql "SELECT DisableSpatialIndex({names})", then CreateSpatialIndex'
        found = f"the spatial index of layer {layer} lacks {placed - held:,} of {placed:,} polygons"
        sheet.problem(path, found, "an index of them all", fix)


def _count(path: Path, query: str) -> int:
    _, _, _, (found,) = pyogrio.raw.read(path, sql=query, read_geometry=False)
    return int(found[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _columns(sheet: Sheet, dataset: Dataset, path: Path, info: dict[str, Any]) -> None:
    columns = [str(field) for field in info["fields"]]
    for key, role in (("attribute", "with the source codes"), ("id", "that names polygons")):
        column = getattr(dataset.labels, key)
        if column and column not in columns:
            found = f"no column {column!r}; there are {some(columns) or 'none'}"
            sheet.problem(path, found, f"the column {role}", f"correct `labels.{key}`")
    kind = str(info["geometry_type"])
    if kind.removeprefix("Multi").split(" ")[0] in NO_AREA:
        sheet.problem(path, f"geometries of type {kind}", "polygons", "correct `labels.layer`")


def _place(
    sheet: Sheet, dataset: Dataset, tile: Tile, path: Path, layer: str, crs: str | None, grid: GeoBox | None
) -> None:
    if crs is None:
        sheet.problem(path, "no CRS", "a coordinate reference system", CRS_FIX)
    elif grid is not None and grid.crs is not None:
        _overlap(sheet, dataset, tile, path, layer, grid, crs)
        if grid.crs != crs:
            sheet.note(f"{path}: polygons in {crs} are reprojected to their orthophoto's {crs_name(grid)}")


def _overlap(sheet: Sheet, dataset: Dataset, tile: Tile, path: Path, layer: str, grid: GeoBox, crs: str) -> None:
    there = transform_bounds(grid, crs)
    _, (left, bottom, right, top) = pyogrio.read_bounds(path, layer=layer, bbox=there)
    if ((left < there[2]) & (bottom < there[3]) & (right > there[0]) & (top > there[1])).any():
        return  # not one that only touches an edge
    if dataset.labels.unlabelled != IGNORE_NAME:
        sheet.note(f"{path}: no polygon on tile {tile.name}; all of it is {dataset.labels.unlabelled!r}")
        return
    lie = pyogrio.read_info(path, layer=layer, force_total_bounds=True)["total_bounds"]
    sheet.problem(
        path,
        f"no polygon on {tile.image}: they lie in {_bounds(lie)}",
        f"polygons in {_bounds(there)} ({crs})",
        "correct `tiles.label`, or the CRS of one of the files",
    )


def _bounds(place: tuple[float, float, float, float] | None) -> str:
    return "({:.1f}, {:.1f}, {:.1f}, {:.1f})".format(*place) if place else "no place: the layer is empty"
