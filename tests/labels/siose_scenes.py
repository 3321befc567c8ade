"""A tile of 20 x 20 px and its labels as SIOSE delivers them, in all its forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
from shapely import box
from shapely.geometry.base import BaseGeometry

from landcover_orch.config import Dataset
from landcover_orch.config.yamlfile import parse
from landcover_orch.legend import Legend
from tests.scenes import CRS, ORIGIN, write_geotiff

X, Y = ORIGIN
SIDE = 20
LAYER = "T_POLIGONOS"
CLASSES = [{"id": 0, "name": "forest", "colour": "#006600"}, {"id": 1, "name": "rest", "colour": "#cccccc"}]
CODES = {"CNF": "forest", "FDC": "forest", "PST": "rest", "EDF": "rest", "VAP": "rest", "ZQM": "ignore"}


def legend(codes: dict[str, str] | None = None, **composites: Any) -> Legend:
    plain = {"name": "woods", "classes": CLASSES, "codes": codes or CODES, "composites": composites}
    return parse(plain, Legend, "test")


def columns(count: int) -> list[BaseGeometry]:
    """The tile as columns of one width, from left to right."""
    width = SIDE / count
    return [box(X + i * width, Y - SIDE, X + (i + 1) * width, Y) for i in range(count)]


def write_image(root: Path) -> None:
    write_geotiff(root / "t.tif", np.full((SIDE, SIDE), 9, np.uint8))


def write_layer(path: Path, layer: str, table: dict[str, Sequence[Any]], shapes: Sequence[Any] | None = None) -> None:
    """Adds a layer, or a table where there are no shapes, to a GeoPackage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    placed = {} if shapes is None else {"geometry": list(shapes), "crs": CRS}
    pyogrio.write_dataframe(geopandas.GeoDataFrame(table, **placed), path, layer=layer, driver="GPKG")


def write_labels(root: Path, labels: Sequence[str | None]) -> Dataset:
    """The tile with a polygon, a column of pixels, for each SIOSE label; their ids are P1, P2, ..."""
    write_image(root)
    names = [f"P{i}" for i in range(1, len(labels) + 1)]
    table = {"ID_POLYGON": names, "SIOSE_CODE": list(labels)}
    write_layer(root / "t.gpkg", LAYER, table, columns(len(labels)))
    return dataset(root, layer=LAYER, attribute="SIOSE_CODE", content="siose", id="ID_POLYGON")


Value = tuple[str, int, str, float]
"""Polygon, cover, ancestors, percent."""


def write_values(
    root: Path, rows: Sequence[Value], polygons: int = 2, names: Sequence[str | int | None] | None = None
) -> Dataset:
    """The tile with polygons P1, P2, ..., or other names, and the table T_VALORES."""
    write_image(root)
    names = names or [f"P{i}" for i in range(1, polygons + 1)]
    write_layer(root / "t.gpkg", LAYER, {"ID_POLYGON": names}, columns(len(names)))
    keys = ("ID_POLYGON", "ID_COBERTURA", "ID_ANCESTROS", "SUPERF_POR")
    table = {key: [row[i] for row in rows] for i, key in enumerate(keys)}
    write_layer(root / "t.gpkg", "T_VALORES", table)
    return dataset(root, layer=LAYER, content="values", id="ID_POLYGON")


def dataset(root: Path, **labels: Any) -> Dataset:
    plain = {
        "name": "small",
        "root": str(root),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
        "bands": ["grey"],
        "legend": "woods",
        "labels": labels,
        "experiments": ["none"],
    }
    return parse(plain, Dataset, "test")
