"""Label corrections: polygons instead of those they correct, or drawn over what lies below; and what that changed."""

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

from landcover_orch import raster
from landcover_orch.config import Labels
from landcover_orch.errors import LabelError, LandcoverError
from landcover_orch.grid import bounding_boxes, hectares, reproject
from landcover_orch.labels import polygons, rasterise
from landcover_orch.labels.codes import NULL, Coding, Strip
from landcover_orch.labels.polygons import Features, Polygons
from landcover_orch.labels.vectors import corrected_layer, read_within, readable
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
    features: Features,
    file: Corrections | None,
    labels: Labels,
    grid: GeoBox,
    label_grid: GeoBox,
    encode: Callable[[Features], Polygons],
) -> Corrected | None:
    """The polygons of a tile with its corrections; None where none lies within its extent.

    Corrections are drawn by somebody who looks at the orthophoto. So they lie where it does, and stay there whatever
    the tile's `shift`: they are translated to where the orthophoto lies among the labels.

    Args:
        grid: of the orthophoto.
        label_grid: where that grid lies among the labels, another one where these are shifted.
        encode: gives polygons their codes or decisions.

    Raises:
        UnknownCodeError: a correction has a code that the legend lacks, or none; it is named by its own file.
        LabelError: the file cannot be read as the dataset's labels are.
    """
    if file is None or not file.path.is_file():
        return None
    with readable(file.path):
        layer = corrected_layer(file.path)
    features_read = polygons.read(file.path, layer, labels.attribute, grid, name=labels.id)
    fixes = features_read.select(overlaps(features_read.geometry, grid))
    fixes = replace(fixes, geometry=rasterise.translated(fixes.geometry, grid, label_grid))
    if not fixes.name.size:
        return None
    encode(fixes)
    merged_features, remaining = merged(features, fixes, by_name=labels.id is not None)
    replaced, drawn = features.name.size - int(remaining.sum()), merged_features.over
    note = f"{replaced} polygons replaced and {drawn} drawn over others by the corrections of {file.path.name}"
    after = encode(replace(merged_features, notes=(*features.notes, *fixes.notes, note)))
    try:
        before = encode(features)
    except LabelError:  # the replaced ones had codes that nobody could read
        before = encode(features.select(remaining))
    return Corrected(before, after, replaced, drawn)


def merged(features: Features, fixes: Features, *, by_name: bool) -> tuple[Features, NDArray[np.bool_]]:
    """The polygons with their corrections, and which of them are still there.

    A correction replaces the polygons of its name that it overlaps, at their position in the order, so that the parts
    of a divided polygon may all keep its name; the others come last. Without names, all come last.
    """
    fix, polygon = replacements(features, fixes) if by_name else (np.zeros(0, np.intp), np.zeros(0, np.intp))
    count = features.name.size
    position = np.full(fixes.name.size, count)
    np.minimum.at(position, fix, polygon)
    remaining = ~np.isin(np.arange(count), polygon)
    order = np.argsort(np.concatenate([np.flatnonzero(remaining), position]), kind="stable")

    def concatenate(values: NDArray[Any], corrections: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values[remaining], corrections]).astype(object)[order]

    return (
        replace(
            features,
            geometry=concatenate(features.geometry, fixes.geometry),
            value=concatenate(features.value, fixes.value),
            name=concatenate(features.name, fixes.name),
            over=int((position == count).sum()),
        ),
        remaining,
    )


def replacements(features: Features, fixes: Features) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Corrections and the polygons that they replace: of one name, and overlapping."""
    fix, polygon = shapely.STRtree(features.geometry).query(fixes.geometry, predicate="intersects")
    same = (fixes.name[fix] == features.name[polygon]) & (fixes.name[fix] != NULL)
    fix, polygon = fix[same], polygon[same]
    overlapping = shapely.area(shapely.intersection(fixes.geometry[fix], features.geometry[polygon])) > 0
    return fix[overlapping], polygon[overlapping]


def changes(before: Iterable[Strip], after: Iterable[Strip], coding: Coding, grid: GeoBox) -> list[dict[str, Any]]:
    """Pixels and hectares that went from one code to another, a row each, most first; hectares None without metres."""
    size = len(coding.codes) + 1
    names, counts = (*coding.codes, UNLABELLED), np.zeros(size * size, np.int64)
    for old, new in zip(before, after, strict=True):
        changed = old != new
        counts += np.bincount(old[changed].astype(np.int64) * size + new[changed], minlength=size * size)
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


def with_corrections(labels: str, tile: Tile, memory: Path) -> str:
    """The fingerprint of a tile's labels with the corrections that lie on it; as it was where none does.

    Their codes, names and geometries count, in the order of the file: a correction elsewhere in the same file, or a
    comment, leaves the tile as it is. A file that cannot be read counts by its bytes, so that the tile is stale and
    says why when it is made. The digest is remembered in `memory`.
    """
    file = tile.corrections
    if file is None or not file.path.is_file():
        return labels
    try:
        with readable(file.path):
            digest = remembered(str(file), (file.path, tile.image), memory, lambda: corrections_digest(tile, file))
    except LandcoverError:
        digest = fingerprint(file.path, memory)
    return f"sha256:{hashlib.sha256((labels + digest).encode()).hexdigest()}" if digest else labels


def corrections_digest(tile: Tile, corrections: Corrections) -> str:
    """SHA-256 of the corrections that lie on a tile; empty where none does.

    The tile's grid is the orthophoto's, in its CRS or, where it states none, the dataset's; a `shift` moves labels
    alone.
    """
    layer = corrected_layer(corrections.path)
    crs, grid = pyogrio.read_info(corrections.path, layer=layer)["crs"], raster.inspect(tile.image).grid
    if grid.crs is None and corrections.crs != "file":
        grid = GeoBox(grid.shape, grid.affine, corrections.crs)
    values, _, wkb = read_within(corrections.path, layer, corrections.columns, bounding_boxes(grid, crs))
    on_tile = overlaps(reproject(shapely.from_wkb(wkb, on_invalid="ignore"), crs, str(grid.crs)), grid)
    if not on_tile.any():
        return ""
    columns = [values[name] for name in sorted(values)]
    parts = (repr([str(column[i]) for column in columns]).encode() + bytes(wkb[i]) for i in np.flatnonzero(on_tile))
    return f"sha256:{hashlib.sha256(b''.join(parts)).hexdigest()}"


def overlaps(geometry: NDArray[Any], grid: GeoBox) -> NDArray[np.bool_]:
    """Which geometries in a grid's CRS have area in common with it; a touching edge is none."""
    outline, valid = shapely.from_wkb(grid.extent.geom.wkb), shapely.make_valid(geometry)
    return np.asarray(shapely.area(shapely.intersection(valid, outline)) > 0)
