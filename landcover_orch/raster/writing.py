"""Raster writing: GeoTIFF and COG from blocks of pixels, and polygons rasterised into an array."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from numpy.typing import DTypeLike, NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.grid import Window
from landcover_orch.raster.reading import CACHE_BYTES, YEAR, environment, pixels_of

PLAIN: dict[str, Any] = {
    "driver": "GTiff",
    "dtype": "uint8",
    "count": 1,
    "tiled": True,
    "blockxsize": 512,
    "blockysize": 512,
    "compress": "zstd",
    "zstd_level": 1,
    "bigtiff": "if_safer",
}
"""Creation options of the plain GeoTIFF that becomes a cloud-optimised one."""


def write_cog(
    path: Path,
    grid: GeoBox,
    blocks: Iterable[tuple[Window, NDArray[np.uint8]]],
    *,
    band: str,
    palette: Mapping[int, tuple[int, int, int]] | None = None,
    names: Sequence[str] = (),
    nodata: int | None = None,
    year: int | None = None,
    cache: int = CACHE_BYTES,
) -> None:
    """Writes one uint8 band as cloud-optimised GeoTIFF from blocks (window, pixels (y, x)) that cover the grid.

    Class names go in as the metadata CLASS_0, CLASS_1, ..., the year that the pixels show as YEAR; the palette as
    colour table. The same blocks give the same bytes. `path` is staged by the caller: a plain GeoTIFF stands beside it
    meanwhile.
    """
    plain = path.with_suffix(".plain.tif")
    classes = {f"CLASS_{i}": name for i, name in enumerate(names)}
    tags: dict[str, Any] = classes if year is None else {**classes, YEAR: str(year)}
    place: dict[str, Any] = {"transform": grid.affine, "crs": None if grid.crs is None else grid.crs.to_wkt()}
    size = {"height": grid.shape[0], "width": grid.shape[1]}
    with environment(cache):
        with rasterio.open(plain, "w", **PLAIN, **size, **place, nodata=nodata) as target:
            target.set_band_description(1, band)
            target.update_tags(**tags)
            if palette:
                target.write_colormap(1, {value: (*rgb, 255) for value, rgb in palette.items()})
            for window, data in blocks:
                target.write(data, 1, window=pixels_of(window))
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            compress="deflate",
            blocksize=512,
            overview_resampling="nearest",
            bigtiff="if_safer",
        )
    plain.unlink()


def write_tiled(
    path: Path, grid: GeoBox, dtype: DTypeLike, bands: Sequence[str], pieces: Iterable[tuple[Window, NDArray[Any]]]
) -> None:
    """Writes a plain deflate GeoTIFF in blocks of 256 from pieces (window, pixels (band, y, x)) that cover the grid.

    Pieces of whole block rows, from top to bottom, are written once each and need no more memory than themselves.
    """
    profile = {
        "driver": "GTiff",
        "dtype": np.dtype(dtype).name,
        "count": len(bands),
        "height": grid.shape[0],
        "width": grid.shape[1],
        "transform": grid.affine,
        "crs": None if grid.crs is None else grid.crs.to_wkt(),
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "zlevel": 1,
        "num_threads": "all_cpus",
        "interleave": "pixel",
        "photometric": "rgb" if len(bands) >= 3 else "minisblack",
        "alpha": "no",
        "bigtiff": "if_safer",
    }
    with environment(), rasterio.open(path, "w", **profile) as target:
        for i, band in enumerate(bands, start=1):
            target.set_band_description(i, band)
        for window, data in pieces:
            target.write(data, window=pixels_of(window))


def burn(
    shapes: Sequence[tuple[Any, int]], grid: GeoBox, *, all_touched: bool, fill: int, dtype: DTypeLike = np.uint16
) -> NDArray[Any]:
    """Rasterise polygons: array (y, x) with each (geometry, value), later over earlier; `fill` elsewhere."""
    if not shapes:
        return np.full(tuple(grid.shape), fill, dtype)
    array: NDArray[Any] = rasterio.features.rasterize(
        shapes,
        out_shape=(grid.shape[0], grid.shape[1]),
        fill=fill,
        transform=grid.affine,
        all_touched=all_touched,
        dtype=np.dtype(dtype).name,
    )
    return array
