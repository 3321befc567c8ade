"""Checks of labels that arrive as polygons: layer, column, CRS, and whether any lies on the orthophoto."""

from __future__ import annotations

from typing import Any

import pyogrio
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError, FieldError

from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import bounds_in, crs_name
from landcover_orch.legend import IGNORE_NAME
from landcover_orch.raw.catalogue import Tile
from landcover_orch.raw.findings import Sheet, some

NO_AREA = ("Point", "LineString")


def check(sheet: Sheet, dataset: Dataset, tile: Tile, grid: GeoBox | None) -> None:
    """Writes down what is wrong with a tile's polygons; `grid` is its orthophoto's, None where that is unreadable."""
    try:
        layer = _layer(tile)
        info = pyogrio.read_info(tile.label, layer=layer)
        _columns(sheet, dataset, tile, info)
        _place(sheet, dataset, tile, layer, info["crs"], grid)
    except LabelError as error:
        sheet.problems_of(error)
    except (DataSourceError, DataLayerError, FieldError) as error:
        fix = "restore the file, or convert it with ogr2ogr -f GPKG"
        sheet.problem(tile.label, f"not readable as a vector file ({error})", "a vector file with polygons", fix)


def _layer(tile: Tile) -> str:
    layers = [str(name) for name, _ in pyogrio.list_layers(tile.label)]
    if tile.layer in layers:
        return str(tile.layer)
    if tile.layer is None and len(layers) == 1:
        return layers[0]
    found = f"no layer {tile.layer!r}" if tile.layer else f"{len(layers)} layers"
    raise LabelError(
        Problem(
            str(tile.label),
            f"{found}; the file has {some(layers) or 'none'}",
            "the layer with the polygons",
            f"set `labels.layer`, or `tiles.overrides.{tile.name}.layer` for this file alone",
        )
    )


def _columns(sheet: Sheet, dataset: Dataset, tile: Tile, info: dict[str, Any]) -> None:
    columns = [str(field) for field in info["fields"]]
    attribute = dataset.labels.attribute
    if attribute and attribute not in columns:
        sheet.problem(
            tile.label,
            f"no column {attribute!r}; there are {some(columns) or 'none'}",
            "the column with the source codes",
            "correct `labels.attribute`",
        )
    kind = str(info["geometry_type"])
    if kind.removeprefix("Multi").split(" ")[0] in NO_AREA:
        sheet.problem(tile.label, f"geometries of type {kind}", "polygons", "correct `labels.layer`")


def _place(sheet: Sheet, dataset: Dataset, tile: Tile, layer: str, crs: str | None, grid: GeoBox | None) -> None:
    if crs is None:
        fix = "state it once with ogr2ogr -a_srs EPSG:n"
        sheet.problem(tile.label, "no CRS", "a coordinate reference system", fix)
    elif grid is not None and grid.crs is not None:
        if grid.crs != crs:
            sheet.note(f"{tile.label}: polygons in {crs} are reprojected to their orthophoto's {crs_name(grid)}")
        _overlap(sheet, dataset, tile, layer, grid, crs)


def _overlap(sheet: Sheet, dataset: Dataset, tile: Tile, layer: str, grid: GeoBox, crs: str) -> None:
    there = bounds_in(grid, crs)
    ids, _ = pyogrio.read_bounds(tile.label, layer=layer, bbox=there)
    if len(ids):
        return
    if dataset.labels.unlabelled != IGNORE_NAME:
        sheet.note(f"{tile.label}: no polygon on tile {tile.name}; all of it is {dataset.labels.unlabelled!r}")
        return
    lie = pyogrio.read_info(tile.label, layer=layer, force_total_bounds=True)["total_bounds"]
    sheet.problem(
        tile.label,
        f"no polygon on {tile.image}: they lie in {_bounds(lie)}",
        f"polygons in {_bounds(there)} ({crs})",
        "correct `tiles.label`, or the CRS of one of the files",
    )


def _bounds(place: tuple[float, float, float, float] | None) -> str:
    return "({:.1f}, {:.1f}, {:.1f}, {:.1f})".format(*place) if place else "no place: the layer is empty"
