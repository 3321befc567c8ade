"""Checks of labels that arrive as polygons: layer, column, CRS, and whether any lies on the orthophoto."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyogrio
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError, FieldError

from landcover_orch.config import Dataset, Values
from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import bounds_in, crs_name
from landcover_orch.legend import IGNORE_NAME
from landcover_orch.raw.catalogue import Tile
from landcover_orch.raw.findings import Sheet, some

NO_AREA = ("Point", "LineString")
SQLITE = b"SQLite format 3\0"
MANY = 10_000
"""Polygons from which on a layer without a spatial index is worth a note."""

CRS_FIX = "state it once with ogr2ogr -a_srs EPSG:n"
UNREADABLE_FIX = "restore the file, or convert it with ogr2ogr -f GPKG"


def check(sheet: Sheet, dataset: Dataset, tile: Tile, path: Path, grid: GeoBox | None) -> None:
    """Writes down what is wrong with a tile's polygons; `grid` is its orthophoto's, None where that is unreadable."""
    try:
        require_whole(path)
        layer = layer_of(path, tile.layer, f", or `tiles.overrides.{tile.name}.layer` for this file alone")
        info = pyogrio.read_info(path, layer=layer)
        _columns(sheet, dataset, path, info)
        _index(sheet, path, layer, info)
        _place(sheet, dataset, tile, path, layer, info["crs"], grid)
        if dataset.labels.content == "values":
            table_columns(path, dataset.labels.values)
    except LabelError as error:
        sheet.problems_of(error)
    except (DataSourceError, DataLayerError, FieldError) as error:
        sheet.problem(path, f"not readable as a vector file ({error})", "a vector file with polygons", UNREADABLE_FIX)


def check_corrections(sheet: Sheet, dataset: Dataset, path: Path) -> None:
    """Writes down what is wrong with a file of corrected polygons, where there is one."""
    if not path.is_file():
        return
    try:
        require_whole(path)
        layer = corrected_layer(path)
        info = pyogrio.read_info(path, layer=layer)
        _columns(sheet, dataset, path, info)
        if info["crs"] is None:
            sheet.problem(path, "no CRS", "a coordinate reference system", CRS_FIX)
    except LabelError as error:
        sheet.problems_of(error)
    except (DataSourceError, DataLayerError, FieldError) as error:
        sheet.problem(path, f"not readable as a vector file ({error})", "a vector file with polygons", UNREADABLE_FIX)


def layer_of(path: Path, wanted: str | None, more: str = "") -> str:
    """The layer of a vector file that bears a name, or matches a pattern as SAR_*_T_COMBINADA; its only one for None.

    Raises:
        LabelError: none or several do; the layers there are are named.
    """
    layers = [str(name) for name, _ in pyogrio.list_layers(path)]
    met = [wanted] if wanted in layers else [name for name in layers if fnmatchcase(name, wanted or "*")]
    if len(met) == 1:
        return str(met[0])
    found = f"no layer {wanted!r}" if wanted and not met else f"{len(met)} layers match {wanted!r}"
    found = found if wanted else f"{len(layers)} layers"
    raise LabelError(
        Problem(
            str(path),
            f"{found}; the file has {some(layers) or 'none'}",
            "the one layer with the polygons",
            f"set `labels.layer`{more}",
        )
    )


def corrected_layer(path: Path) -> str:
    """The layer of a file of corrected polygons; tables without geometry, as QGIS keeps its styles in, do not count.

    Raises:
        LabelError: there are several, or none.
    """
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) == 1:
        return layers[0]
    found, fix = f"{len(layers)} layers with geometries: {some(layers) or 'none'}", "save the one in a file of its own"
    raise LabelError(Problem(str(path), found, "the one layer of corrected polygons", fix))


def table_columns(path: Path, table: Values) -> tuple[str, list[str]]:
    """The layer of a table of covers, and those of its columns that are read; that of ancestors may be missing.

    Raises:
        LabelError: the table or a column is missing.
    """
    layer = layer_of(path, table.layer)
    columns = [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
    wanted = [table.polygon, table.cover, table.percent]
    lost = [name for name in wanted if name not in columns]
    if lost:
        found = f"no columns {lost}; there are {some(columns) or 'none'}"
        fix = "correct `labels.values`"
        raise LabelError(Problem(f"{path}, layer {layer}", found, "polygon, cover and percentage", fix))
    return layer, [*wanted, *([table.ancestors] if table.ancestors in columns else [])]


def require_whole(path: Path) -> None:
    """Raises LabelError where a GeoPackage is shorter than its own count of pages says: a copy that was cut short.

    SQLite notices a missing page only when it comes to it, and a reading within bounds may never do so.
    """
    with path.open("rb") as file:
        head = file.read(100)
    if not head.startswith(SQLITE) or head[24:28] != head[92:96]:  # else the count of pages is not kept up to date
        return
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    expected, size = (65_536 if page == 1 else page) * pages, path.stat().st_size
    if size < expected:
        fix = "copy the file again from its source"
        raise LabelError(Problem(str(path), f"cut short: {size:,} bytes", f"{expected:,} bytes", fix))


def _index(sheet: Sheet, path: Path, layer: str, info: dict[str, Any]) -> None:
    if info["features"] > MANY and not info["capabilities"]["fast_spatial_filter"]:
        sheet.note(
            f"{path}: layer {layer} has no spatial index, so that each tile looks at all {info['features']:,} "
            f"polygons. Add it once: ogrinfo {path.name} -sql "
            f"\"SELECT CreateSpatialIndex('{layer}', '{info['geometry_name']}')\""
        )


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
        if grid.crs != crs:
            sheet.note(f"{path}: polygons in {crs} are reprojected to their orthophoto's {crs_name(grid)}")
        _overlap(sheet, dataset, tile, path, layer, grid, crs)


def _overlap(sheet: Sheet, dataset: Dataset, tile: Tile, path: Path, layer: str, grid: GeoBox, crs: str) -> None:
    there = bounds_in(grid, crs)
    ids, _ = pyogrio.read_bounds(path, layer=layer, bbox=there)
    if len(ids):
        return
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
