"""Small rasters and polygons that tests write."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry.base import BaseGeometry

CRS = "EPSG:25830"
ORIGIN = (500_000.0, 4_700_000.0)


def write_geotiff(
    path: Path,
    data: np.ndarray[Any, Any],
    *,
    origin: tuple[float, float] = ORIGIN,
    resolution: float = 1.0,
    crs: str | None = CRS,
    **profile: Any,
) -> Path:
    """A GeoTIFF of an array (band, y, x) or (y, x); the upper left corner lies at `origin` (x, y)."""
    data = data[None] if data.ndim == 2 else data
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "driver": "GTiff",
        "count": data.shape[0],
        "height": data.shape[1],
        "width": data.shape[2],
        "dtype": data.dtype,
        "crs": crs,
        "transform": Affine(resolution, 0, origin[0], 0, -resolution, origin[1]),
        "compress": "deflate",
        **profile,
    }
    with rasterio.open(path, "w", **{key: value for key, value in settings.items() if value is not None}) as target:
        target.write(data)
    return path


def write_plain_tiff(path: Path, data: np.ndarray[Any, Any], **profile: Any) -> Path:
    """A TIFF, or a picture of another `driver`, of (band, y, x) or (y, x) that says nothing of where it lies."""
    compress = "deflate" if "driver" not in profile else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return write_geotiff(path, data, crs=None, transform=None, **{"compress": compress, **profile})


def write_polygons(
    path: Path,
    polygons: Sequence[tuple[BaseGeometry, Any]],
    *,
    attribute: str = "code",
    layer: str = "labels",
    crs: str | None = CRS,
) -> Path:
    """A GeoPackage of (geometry, code)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = geopandas.GeoDataFrame(
        {attribute: [code for _, code in polygons]}, geometry=[shape for shape, _ in polygons], crs=crs
    )
    frame.to_file(path, layer=layer, driver="GPKG", engine="pyogrio")
    return path


def transform(resolution: float = 1.0) -> Affine:
    """The affine of `write_geotiff` with its defaults."""
    return Affine(resolution, 0, ORIGIN[0], 0, -resolution, ORIGIN[1])
