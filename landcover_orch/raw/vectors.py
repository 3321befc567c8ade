"""Checks of labels that arrive as polygons: layer, column, CRS, and whether any lies on the orthophoto."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyogrio
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import ProjError

from landcover_orch.config import Dataset, Values
from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import bounds_in, crs_name
from landcover_orch.legend import IGNORE_NAME
from landcover_orch.raw.catalogue import Tile
from landcover_orch.raw.findings import Sheet, some

NO_AREA = ("Point", "LineString")
SQLITE, SHAPEFILE, JSON = b"SQLite format 3\0", b"\0\0\x27\x0a", b"{"
"""How the files begin that are read. Others may name further files, as GDAL's VRT, or end anywhere unnoticed."""

DATE = "2024-01-01T00:00:00.000Z"
"""What GeoPackages that are written state as their time of change."""

MANY = 10_000
"""Polygons from which on a layer without a spatial index is worth a note."""

CRS_FIX = "state it once with ogr2ogr -a_srs EPSG:n"
UNREADABLE_FIX = "restore the file, or convert it with ogr2ogr -f GPKG"


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


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Reading within it tells what is wrong with a vector file in a LabelError that names the file.

    Raises:
        LabelError: the file is none (see `require_whole`), it or its CRS cannot be read.
    """
    require_whole(path)
    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        found = f"not readable as a vector file ({error})"
        raise LabelError(Problem(str(path), found, "a vector file with polygons", UNREADABLE_FIX)) from error
    except ProjError as error:
        found = f"a CRS from which no way leads to the orthophoto's ({error})"
        raise LabelError(Problem(str(path), found, "a CRS with a place on the Earth", CRS_FIX)) from error


def write_layer(path: Path, layer: str, frame: Any, **options: Any) -> None:
    """Writes a GeoDataFrame as a layer of a GeoPackage; the same features have the same bytes."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})
    try:
        pyogrio.write_dataframe(frame, path, layer=layer, driver="GPKG", **options)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def layer_of(path: Path, wanted: str | None, more: str = "") -> str:
    """The layer of a vector file that bears a name, or matches a pattern as SAR_*_T_COMBINADA, in any case of letters.

    For None the only one with geometries: tables, as QGIS keeps its styles in, do not count.

    Raises:
        LabelError: none or several do; the layers there are are named.
    """
    kinds = {str(name): kind for name, kind in pyogrio.list_layers(path)}
    layers, pattern = [*kinds], (wanted or "*").casefold()
    alike = [name for name in layers if fnmatchcase(name.casefold(), pattern) and (wanted or kinds[name] is not None)]
    met = [wanted] if wanted in layers else alike
    if len(met) == 1:
        return str(met[0])
    found = f"no layer {wanted!r}" if wanted and not met else f"{len(met)} layers match {wanted!r}"
    found = found if wanted else f"{len(met)} layers with geometries"
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
    """Raises LabelError where a vector file is of no format that is read, or not all there is to read.

    SQLite notices a missing page only when it comes to it, and a reading within bounds may never do so: a GeoPackage
    shorter than its own count of pages says was cut short. Changes that a program keeps beside it would be read now
    and fingerprinted never, and reading would write them into the file.
    """
    with path.open("rb") as file:
        head = file.read(100)
    if head.startswith(SQLITE):
        _require_alone(path)
        _require_pages(path, head)
    elif path.suffix.lower() == ".gpkg" or not head.lstrip().startswith((SHAPEFILE, JSON)):
        found = f"it begins with {head[:16]!r}" if head else "an empty file"
        raise _refused(path, found, "a GeoPackage, a shapefile or GeoJSON", UNREADABLE_FIX)


def _require_alone(path: Path) -> None:
    for beside in (path.with_name(f"{path.name}{end}") for end in ("-wal", "-journal")):
        if beside.is_file() and _begun(beside):
            fix = f"close the program that edits it, as QGIS, or copy it: ogr2ogr -f GPKG copy.gpkg {path.name}"
            raise _refused(path, f"changes beside it, in {beside.name}", "one whole file", fix)


def _begun(journal: Path) -> bool:
    """Whether a journal holds changes; of one that is done with, zeros may be kept."""
    with journal.open("rb") as file:
        return any(file.read(8))


def _require_pages(path: Path, head: bytes) -> None:
    if head[24:28] != head[92:96]:  # the count of pages is not kept up to date
        return
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    expected, size = (65_536 if page == 1 else page) * pages, path.stat().st_size
    if size < expected:
        raise _refused(path, f"cut short: {size:,} bytes", f"{expected:,} bytes", "copy the file again from its source")


def _refused(path: Path, found: str, expected: str, fix: str) -> LabelError:
    return LabelError(Problem(str(path), found, expected, fix))


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
    there = bounds_in(grid, crs)
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
