"""The only importer of rasterio: open, read and write rasters; burn polygons into one."""

from landcover_orch.raster.reading import (
    CACHE_BYTES,
    PICTURES,
    Nodata,
    Raster,
    Reader,
    class_names,
    color_interpretation,
    control_points,
    inspect,
    missing_blocks,
    reader,
    thumbnail,
    truncated_blocks,
    versions,
    with_nodata,
    year,
)
from landcover_orch.raster.writing import burn, write_cog, write_tiled

__all__ = [
    "CACHE_BYTES",
    "PICTURES",
    "Nodata",
    "Raster",
    "Reader",
    "burn",
    "class_names",
    "color_interpretation",
    "control_points",
    "inspect",
    "missing_blocks",
    "reader",
    "thumbnail",
    "truncated_blocks",
    "versions",
    "with_nodata",
    "write_cog",
    "write_tiled",
    "year",
]
