"""GeoPackage writer: vector layers whose bytes follow from their features alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyogrio

DATE = "2024-01-01T00:00:00.000Z"
"""What GeoPackages that are written state as their time of change."""


def write_layer(path: Path, layer: str, frame: Any, **options: Any) -> None:
    """Writes a GeoDataFrame as a layer of a GeoPackage; the same features have the same bytes."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})
    try:
        pyogrio.write_dataframe(frame, path, layer=layer, driver="GPKG", **options)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
