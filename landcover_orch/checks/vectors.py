"""Vector label checks: layer, columns, CRS, spatial index, and whether any polygon lies on the orthophoto."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

import pyogrio
from odc.geo.geobox import GeoBox

from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError, Problem, pluralise
from landcover_orch.grid import Bounds, area_of_use, crs_name, reprojection, transform_bounds
from landcover_orch.labels.fingerprints import quoted
from landcover_orch.labels.vectors import (
    CRS_FIX,
    corrected_layer,
    id_fix,
    layer_of,
    meets,
    readable,
    table_columns,
)
from landcover_orch.legend import IGNORE_NAME
from landcover_orch.tiles.catalogue import PLACE
from landcover_orch.tiles.issues import IssueLog, some
from landcover_orch.tiles.tile import Tile

NO_AREA = ("Point", "LineString")
MANY = 10_000
"""Polygons from which on a layer without a spatial index is worth a note."""


def check(log: IssueLog, dataset: Dataset, tile: Tile, path: Path, grid: GeoBox | None) -> None:
    """Writes down what is wrong with a tile's polygons; `grid` is its orthophoto's, None where that is unreadable."""
    try:
        with readable(path):
            layer = layer_of(path, tile.layer, f", or `tiles.overrides.{tile.name}.layer` for this file alone")
            info = pyogrio.read_info(path, layer=layer)
            _columns(log, dataset, path, info)
            check_spatial_index(log, path, layer, info)
            crs = info["crs"]
            if crs is None:
                log.problem(path, "no CRS", "a coordinate reference system", CRS_FIX)
            elif grid is not None and grid.crs is not None:
                check_overlap(log, dataset, tile, path, layer, grid, crs)
                if grid.crs != crs:
                    by = reprojection(crs, grid.crs.proj, grid)
                    log.note(f"{path}: polygons in {crs} are reprojected to their orthophoto's {crs_name(grid)}{by}")
            if dataset.labels.content == "values":
                table_columns(path, dataset.labels.values)
    except LabelError as error:
        log.error(error)


def check_corrections(log: IssueLog, dataset: Dataset, path: Path) -> None:
    """Writes down what is wrong with a file of corrected polygons, where there is one."""
    if not path.is_file():
        return
    try:
        with readable(path):
            layer = corrected_layer(path)
            info = pyogrio.read_info(path, layer=layer)
            _columns(log, dataset, path, info)
            if info["crs"] is None:
                log.problem(path, "no CRS", "a coordinate reference system", CRS_FIX)
    except LabelError as error:
        log.error(error)


def check_spatial_index(log: IssueLog, path: Path, layer: str, info: dict[str, Any]) -> None:
    """Writes down what reading within bounds would never read: features without geometry, or not in the index."""
    geometry, indexed = info["geometry_name"], info["capabilities"]["fast_spatial_filter"]
    if info["driver"] == "GPKG" and geometry:
        index = quoted(f"rtree_{layer}_{geometry}_rowid")
        table = f"rtree_{layer}_{geometry}_rowid".replace("'", "''")
        exists = _count(path, f"SELECT COUNT(*) FROM sqlite_master WHERE name = '{table}'")  # noqa: S608 - quoted
        held = _count(path, f"SELECT COUNT(*) FROM {index}") if exists else None  # noqa: S608 - quoted
        if held is None or held < info["features"]:
            check_indexed(log, path, layer, geometry, held)
    if info["features"] > MANY and not indexed:
        log.note(
            f"{path}: layer {layer} has no spatial index, so that each tile reads all {info['features']:,} "
            f"polygons. Add it once: ogrinfo {path.name} -sql "
            f"\"SELECT CreateSpatialIndex('{layer}', '{geometry}')\""
        )


def check_indexed(log: IssueLog, path: Path, layer: str, geometry: str, held: int | None) -> None:
    """Writes down features without geometry, and a spatial index that holds fewer than there are (None: no index)."""
    column = quoted(geometry)
    bare, features = f"({column} IS NULL OR ST_IsEmpty({column}))", f"SELECT COUNT(*) FROM {quoted(layer)}"  # noqa: S608
    without = _count(path, f"{features} WHERE {bare}")
    if without:
        log.note(f"{path}: layer {layer} has {pluralise(without, 'feature')} without geometry, left out")
    if held is not None and held < (placed := _count(path, f"{features} WHERE NOT {bare}")):
        names = f"'{layer}', '{geometry}'"
        fix = f'rebuild it: ogrinfo {path.name} -sql "SELECT DisableSpatialIndex({names})", then CreateSpatialIndex'
        lacking = f"the spatial index of layer {layer} lacks {placed - held:,} of {pluralise(placed, 'polygon')}"
        log.problem(path, lacking, "an index of them all", fix)


def _count(path: Path, query: str) -> int:
    _, _, _, (counts,) = pyogrio.raw.read(path, sql=query, read_geometry=False)
    return int(counts[0])


def _columns(log: IssueLog, dataset: Dataset, path: Path, info: dict[str, Any]) -> None:
    columns = [str(field) for field in info["fields"]]
    for key, role in (("attribute", "with the source codes"), ("id", "that names polygons")):
        column = getattr(dataset.labels, key)
        if column and column not in columns:
            actual = f"no column {column!r}; there are {some(columns) or 'none'}"
            fix = (key == "id" and id_fix(column, info)) or f"correct `labels.{key}`"
            log.problem(path, actual, f"the column {role}", fix)
    kind = str(info["geometry_type"])
    if kind.removeprefix("Multi").split(" ")[0] in NO_AREA:
        log.problem(path, f"geometries of type {kind}", "polygons", "correct `labels.layer`")


def check_overlap(log: IssueLog, dataset: Dataset, tile: Tile, path: Path, layer: str, grid: GeoBox, crs: str) -> None:
    """Writes down that no polygon lies on a tile.

    Where all else is a class (`labels.unlabelled`), a shared file may have none there, and so may an empty one, or one
    that was cut with a margin; a file of the tile's own whose polygons lie further off is of another place, and would
    make all of it that class.
    """
    if meets(path, layer, grid, crs):
        return
    bounds, tile_bounds = total_bounds(path, layer, path.stat().st_mtime_ns), transform_bounds(grid, crs)
    if bounds is not None and is_exchanged(tile_bounds, bounds):
        text, fix = f"x and y are exchanged: polygons lie in {_bounds(bounds)}", "exchange them (QGIS: Swap X and Y)"
        log.problem(path, text, f"polygons in {_bounds(tile_bounds)} ({crs})", fix)
        return
    if (problem := misplaced(path, bounds, crs)) is not None:
        log.problem(problem.where, problem.found, problem.expected, problem.fix)
        return
    elsewhere = bounds is not None and PLACE in dataset.tiles.label and not is_near(tile_bounds, bounds)
    if dataset.labels.unlabelled != IGNORE_NAME and not elsewhere:
        log.note(f"{path}: no polygon on tile {tile.name}; all of it is {dataset.labels.unlabelled!r}")
        return
    lie, other = f"they lie in {_bounds(bounds)}", "the CRS of one of the files"
    if bounds is None:
        lie, other = "the layer is empty", "draw some"
    text, expected = f"no polygon on {tile.image}: {lie}", f"polygons in {_bounds(tile_bounds)} ({crs})"
    log.problem(path, text, expected, f"correct `tiles.label`, or {other}")


def is_exchanged(tile: Bounds, other: Bounds) -> bool:
    """Whether bounds that do not meet those of a tile do so once their axes are exchanged."""
    left, bottom, right, top = other[1], other[0], other[3], other[2]
    return left <= tile[2] and right >= tile[0] and bottom <= tile[3] and top >= tile[1]


def is_near(tile: Bounds, other: Bounds) -> bool:
    """Whether bounds meet those of a tile, enlarged by its own size on each side."""
    width, height = tile[2] - tile[0], tile[3] - tile[1]
    left, bottom, right, top = tile[0] - width, tile[1] - height, tile[2] + width, tile[3] + height
    return other[0] <= right and other[2] >= left and other[1] <= top and other[3] >= bottom


def check_shared_labels(log: IssueLog, dataset: Dataset, tiles: Sequence[Tile], grids: Mapping[str, GeoBox]) -> None:
    """Writes down a label file of several tiles that has a polygon on none of them."""
    if dataset.labels.kind != "vector" or dataset.labels.unlabelled == IGNORE_NAME:
        return
    sharing: dict[tuple[Path, str | None], list[str]] = {}
    for tile in tiles:
        if tile.label and tile.name in grids and grids[tile.name].crs is not None:
            sharing.setdefault((tile.label, tile.layer), []).append(tile.name)
    for (path, name), names in sharing.items():
        try:
            with readable(path):
                layer = layer_of(path, name)
                crs = pyogrio.read_info(path, layer=layer)["crs"]
                bounds = total_bounds(path, layer, path.stat().st_mtime_ns)
                if len(names) < 2 or crs is None or bounds is None:
                    continue
                if not any(meets(path, layer, grids[tile], crs) for tile in names):
                    fix = "correct `tiles.label`, or the CRS of one of the files"
                    log.problem(path, f"no polygon on any of {some(names)}", "polygons on the tiles", fix)
        except LabelError:
            continue  # its own check says so


@lru_cache(maxsize=256)
def total_bounds(path: Path, layer: str, _: int) -> tuple[float, float, float, float] | None:
    """Bounds of all features of a layer; None where it has none."""
    bounds = pyogrio.read_info(path, layer=layer, force_total_bounds=True)["total_bounds"]
    return None if bounds is None or not all(map(isfinite, bounds)) else tuple(bounds)


def misplaced(path: Path, bounds: tuple[float, float, float, float] | None, crs: str) -> Problem | None:
    """The problem of coordinates that cannot be those of their CRS, as degrees that are called metres."""
    usable = area_of_use(crs)
    if bounds is None or usable is None:
        return None
    left, bottom, right, top = bounds
    west, south, east, north = usable
    width, height = east - west, north - south
    degrees = max(map(abs, bounds)) <= 360 < max(map(abs, usable))
    inside = left <= east + width and right >= west - width and bottom <= north + height and top >= south - height
    if inside and not degrees:
        return None
    kind, code = ("degrees", "4326") if degrees else ("coordinates of another CRS", "n")
    fix = f"state the right CRS: ogr2ogr -a_srs EPSG:{code} out.gpkg {path.name}"
    return Problem(str(path), f"{kind}, {_bounds(bounds)}, in {crs}", f"coordinates in {_bounds(usable)}", fix)


def _bounds(bounds: tuple[float, float, float, float] | None) -> str:
    return "({:.1f}, {:.1f}, {:.1f}, {:.1f})".format(*bounds) if bounds else "no place: the layer is empty"
