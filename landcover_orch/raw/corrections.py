"""Corrections of labels: which features of their file lie on a tile's ground, and the fingerprint of those alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from landcover_orch import raster
from landcover_orch.errors import LandcoverError
from landcover_orch.fingerprint import fingerprint, remembered
from landcover_orch.grid import bounds_in
from landcover_orch.raw.catalogue import Corrections, Tile
from landcover_orch.raw.vectors import corrected_layer, readable


def added(labels: str, tile: Tile, memory: Path) -> str:
    """The fingerprint of a tile's labels with the corrections that lie on it; as it was where none does.

    Their codes, names and geometries count, in the order of the file: a correction elsewhere in the same file, or a
    comment, leaves the tile as it is. A file that cannot be read counts by its bytes, so that the tile is stale and
    says why when it is made. What was found is remembered in `memory`.
    """
    file = tile.corrections
    if file is None or not file.path.is_file():
        return labels
    try:
        with readable(file.path):
            found = remembered(str(file), (file.path, tile.image), memory, lambda: _digest(tile, file))
    except LandcoverError:
        found = fingerprint(file.path, memory)
    return f"sha256:{hashlib.sha256((labels + found).encode()).hexdigest()}" if found else labels


def _digest(tile: Tile, corrections: Corrections) -> str:
    """Empty where no correction lies on the tile."""
    layer = corrected_layer(corrections.path)
    crs, grid = pyogrio.read_info(corrections.path, layer=layer)["crs"], _grid(tile, corrections.crs)
    meta, _, wkb, values = pyogrio.raw.read(
        corrections.path, layer=layer, columns=list(corrections.columns), bbox=bounds_in(grid, crs)
    )
    on_it = shares_ground(_moved(shapely.from_wkb(wkb, on_invalid="ignore"), crs, str(grid.crs)), grid)
    if not on_it.any():
        return ""
    order = np.argsort([str(name) for name in meta["fields"]])
    parts = (repr([str(values[i][row]) for i in order]).encode() + bytes(wkb[row]) for row in np.flatnonzero(on_it))
    return f"sha256:{hashlib.sha256(b''.join(parts)).hexdigest()}"


def _grid(tile: Tile, crs: str) -> GeoBox:
    """The orthophoto's grid, in its own CRS or, where it states none, the dataset's; a `shift` moves labels alone."""
    found = raster.inspect(tile.image).grid
    return GeoBox(found.shape, found.affine, crs) if found.crs is None and crs != "file" else found


def _moved(geometry: NDArray[Any], source: str, target: str) -> NDArray[Any]:
    change = Transformer.from_crs(source, target, always_xy=True)
    return np.asarray(shapely.transform(geometry, lambda xy: np.column_stack(change.transform(*xy.T))), object)


def shares_ground(geometry: NDArray[Any], grid: GeoBox) -> NDArray[np.bool_]:
    """Which geometries in a grid's CRS have area in common with it; a touching edge is none."""
    outline, whole = shapely.from_wkb(grid.extent.geom.wkb), shapely.make_valid(geometry)
    return np.asarray(shapely.area(shapely.intersection(whole, outline)) > 0)
