"""Tile metadata and preview: plain facts of a tile, and a small picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from landcover_orch.config import Dataset
from landcover_orch.grid import resolution, transform_bounds
from landcover_orch.pages.picture import display, small_png
from landcover_orch.raster import Raster, thumbnail
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

SIDE = 320
"""Longer side of a preview in pixels."""


def facts(dataset: Dataset, tile: Tile) -> dict[str, Any]:
    """Grid, bands, resolution, footprint and sizes of a tile's files, as JSON values.

    The footprint is west, south, east, north in degrees; None without a CRS.
    """
    raster = imagery.stacked(dataset, tile.images)
    height, width = raster.shape
    return {
        "image": " + ".join(path.name for path in tile.images),
        "label": tile.label.name if tile.label else None,
        "year": tile.year,
        "label_year": tile.label_year,
        "height": height,
        "width": width,
        "pixels": height * width,
        "bands": list(dataset.bands),
        "dtype": " + ".join(dict.fromkeys(file.dtype for file in raster.files)),
        "crs": raster.crs,
        "transform": list(raster.grid.affine[:6]),
        "resolution": resolution(raster.grid),
        "bounds": list(raster.grid.boundingbox),
        "footprint": None if raster.grid.crs is None else list(transform_bounds(raster.grid, "EPSG:4326")),
        "nodata": describe_nodata(dataset, raster),
        "image_bytes": sum(path.stat().st_size for path in tile.images),
        "label_bytes": tile.label.stat().st_size if tile.label else None,
    }


def describe_nodata(dataset: Dataset, raster: Raster) -> str:
    """What marks pixels without data, in words: the file's mask or tag, or the dataset's value."""
    if dataset.nodata == "file":
        return {"nodata": f"value {raster.nodata:g}" if raster.nodata is not None else "none"}.get(
            raster.mask, raster.mask
        )
    tag = "" if raster.nodata is None else f" (the file's tag {raster.nodata:g} is overruled)"
    return f"{'none' if dataset.nodata == 'none' else f'value {dataset.nodata:g}'}{tag}"


def preview(dataset: Dataset, tile: Tile) -> bytes:
    """A PNG of the orthophoto, at most 320 pixels wide and high and 30 kB; nodata is drawn as any value."""
    raster = imagery.stacked(dataset, tile.images)
    bands = dataset.bands if len(dataset.bands) == raster.count else ()
    return small_png(display(np.nan_to_num(thumbnail(raster, SIDE)), bands), limit=30_000)
