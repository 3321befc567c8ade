"""Corrected polygons: in the place of those they correct, or drawn over what lies below; and what that changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from landcover_orch import raster
from landcover_orch.config import Labels
from landcover_orch.errors import LabelError, LandcoverError
from landcover_orch.grid import bounds_in, hectares
from landcover_orch.labels import polygons, rasterise
from landcover_orch.labels.codes import NULL, Coding, Strip
from landcover_orch.labels.polygons import Features, Polygons
from landcover_orch.labels.vectors import corrected_layer, readable
from landcover_orch.store.fingerprint import fingerprint, remembered
from landcover_orch.tiles.tile import Corrections, Tile

UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Corrected:
    """Polygons as the labels have them and as corrected; how many were replaced, and how many drawn over the others."""

    before: Polygons
    after: Polygons
    replaced: int
    drawn: int


def corrected(
    found: Features,
    file: Corrections | None,
    labels: Labels,
    grid: GeoBox,
    place: GeoBox,
    turned: Callable[[Features], Polygons],
) -> Corrected | None:
    """The polygons of a tile with its corrections; None where none lies on its ground.

    Corrections are drawn by somebody who looks at the orthophoto. So they lie on its ground, and stay there whatever
    the tile's `shift`: they are carried to where the orthophoto lies among the labels.

    Args:
        grid: of the orthophoto.
        place: where that grid lies among the labels, beside itself where these are moved.
        turned: gives polygons their codes or decisions.

    Raises:
        UnknownCodeError: a correction has a code that the legend lacks, or none; it is named by its own file.
        LabelError: the file cannot be read as the dataset's labels are.
    """
    if file is None or not file.path.is_file():
        return None
    with readable(file.path):
        layer = corrected_layer(file.path)
    read = polygons.read(file.path, layer, labels.attribute, grid, name=labels.id)
    fixes = _chosen(read, shares_ground(read.geometry, grid))
    fixes = replace(fixes, geometry=rasterise.carried(fixes.geometry, grid, place))
    if not fixes.name.size:
        return None
    turned(fixes)
    after, kept = merged(found, fixes, by_name=labels.id is not None)
    replaced = found.name.size - int(kept.sum())
    note = f"{replaced} polygons replaced and {after.over} drawn over others by the corrections of {file.path.name}"
    after = replace(after, notes=(*found.notes, *fixes.notes, note))
    made = turned(after)
    return Corrected(_before(found, kept, turned), made, replaced, after.over)


def _before(found: Features, kept: NDArray[np.bool_], turned: Callable[[Features], Polygons]) -> Polygons:
    """The polygons as they were; without the replaced ones where those had codes that nobody could read."""
    try:
        return turned(found)
    except LabelError:
        return turned(_chosen(found, kept))


def _chosen(features: Features, which: NDArray[np.bool_]) -> Features:
    return replace(features, geometry=features.geometry[which], value=features.value[which], name=features.name[which])


def merged(found: Features, fixes: Features, *, by_name: bool) -> tuple[Features, NDArray[np.bool_]]:
    """The polygons with their corrections, and which of them are still there.

    A correction replaces the polygons of its name that it shares ground with, in their place of the order, so that
    the parts of a divided polygon may all keep its name; the others come last. Without names, all come last.
    """
    fix, polygon = _pairs(found, fixes) if by_name else (np.zeros(0, np.intp), np.zeros(0, np.intp))
    count = found.name.size
    place = np.full(fixes.name.size, count)
    np.minimum.at(place, fix, polygon)
    kept = ~np.isin(np.arange(count), polygon)
    order = np.argsort(np.concatenate([np.flatnonzero(kept), place]), kind="stable")

    def joined(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([one[kept], other]).astype(object)[order]

    return (
        replace(
            found,
            geometry=joined(found.geometry, fixes.geometry),
            value=joined(found.value, fixes.value),
            name=joined(found.name, fixes.name),
            over=int((place == count).sum()),
        ),
        kept,
    )


def _pairs(found: Features, fixes: Features) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Corrections and the polygons that they replace: of one name, and with ground in common."""
    fix, polygon = shapely.STRtree(found.geometry).query(fixes.geometry, predicate="intersects")
    same = (fixes.name[fix] == found.name[polygon]) & (fixes.name[fix] != NULL)
    fix, polygon = fix[same], polygon[same]
    shared = shapely.area(shapely.intersection(fixes.geometry[fix], found.geometry[polygon])) > 0
    return fix[shared], polygon[shared]


def changes(before: Iterable[Strip], after: Iterable[Strip], coding: Coding, grid: GeoBox) -> list[dict[str, Any]]:
    """Pixels and hectares that went from one code to another, a row each, most first; hectares None without metres."""
    size = len(coding.codes) + 1
    names, counts = (*coding.codes, UNLABELLED), np.zeros(size * size, np.int64)
    for one, other in zip(before, after, strict=True):
        changed = one != other
        counts += np.bincount(one[changed].astype(np.int64) * size + other[changed], minlength=size * size)
    ranked = sorted(np.flatnonzero(counts), key=lambda joint: (-counts[joint], joint))
    return [
        {
            "from": names[joint // size],
            "to": names[joint % size],
            "pixels": int(counts[joint]),
            "hectares": hectares(int(counts[joint]), grid),
        }
        for joint in ranked
    ]


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
