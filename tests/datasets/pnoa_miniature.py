"""PNOA sheets of two years and SIOSE's polygons and rasters of the years after, in small."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pyogrio
from shapely import box

from tests.scenes import write_geotiff

CRS, RESOLUTION = "EPSG:25829", 0.5
HEIGHT, WIDTH = 76, 108
"""Pixels of a sheet; 38,000 x 54,000 in the real data."""
SHEETS = {"h0094": (548_000.0, 4_796_000.0), "h0095": (548_000.0 + WIDTH * RESOLUTION, 4_796_000.0)}
YEARS = {2005: 2006, 2010: 2011}
"""Year of the orthophotos -> year of the interpretation."""

STRIP = 12
"""Columns of pixels of each cover, from the left; the rest of a sheet is not interpreted."""
COVERS = (
    ("CNFpl", 316, "forest"),
    ("A(50CNF_30FDC_20MTR)", None, "forest"),
    ("A(60CNFpl_40MTR)", None, "ignore"),
    ("UDS(50EDFva_30ZAU_20VAP)", 813, "rest"),
    ("A(70PST_30R(60CHLsc_40PRD))", None, "rest"),
    ("FDC", 312, "forest"),
    ("ZQM", 334, "ignore"),
    ("AEM", 514, "rest"),
)
"""SIOSE label, number of its cover (where one tells all), class: what has 75 % of the polygon, else ignore."""


def tiles() -> list[str]:
    """The names of the sheets, each in both years."""
    return [f"{sheet}-{year}" for sheet in SHEETS for year in YEARS]


def pixels(kind: str, column: int = 2) -> int:
    """Pixels of a sheet whose cover is of a class, by that column of `COVERS`."""
    return HEIGHT * STRIP * sum(cover[column] == kind for cover in COVERS)


def write(folder: Path) -> None:
    """Orthophotos, a GeoPackage each (T_POLIGONOS) and a raster of cover numbers each."""
    rng = np.random.default_rng(0)
    for name in tiles():
        origin = SHEETS[name.split("-")[0]]
        image = rng.integers(0, 256, (3, HEIGHT, WIDTH), np.uint8)
        for part, data in (("pnoa", image), ("siose-rasters", _numbers())):
            write_geotiff(folder / f"{part}/{name}.tif", data, crs=CRS, origin=origin, resolution=RESOLUTION)
        _write_polygons(folder / f"siose/{name}.gpkg", *origin)


def _numbers() -> np.ndarray:
    """Cover numbers, 0 where nobody interpreted or several covers share a polygon."""
    row = np.zeros(WIDTH, np.uint16)
    for i, (_, number, _) in enumerate(COVERS):
        row[i * STRIP : (i + 1) * STRIP] = number or 0
    return np.repeat(row[None], HEIGHT, axis=0)


def _write_polygons(path: Path, x: float, y: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = STRIP * RESOLUTION, HEIGHT * RESOLUTION
    shapes = [box(x + i * width, y - height, x + (i + 1) * width, y) for i in range(len(COVERS))]
    table = {
        "ID_POLYGON": [f"{path.stem}-{i}" for i in range(len(COVERS))],
        "SIOSE_CODE": [label for label, _, _ in COVERS],
        "SUPERF_HA": [shape.area / 10_000 for shape in shapes],
    }
    frame = geopandas.GeoDataFrame(table, geometry=shapes, crs=CRS)
    pyogrio.write_dataframe(frame, path, layer="T_POLIGONOS", driver="GPKG")
