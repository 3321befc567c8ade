"""Corrected polygons: in the place of those they correct, or drawn over what lies below; and what that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.config import Labels
from landcover_orch.errors import LabelError
from landcover_orch.ground_truth import areas, burning, polygons
from landcover_orch.ground_truth.codes import NULL, Coding, Strip
from landcover_orch.ground_truth.polygons import Features, Polygons
from landcover_orch.raw.catalogue import Corrections
from landcover_orch.raw.corrections import shares_ground
from landcover_orch.raw.vectors import corrected_layer, readable

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
    fixes = replace(fixes, geometry=burning.carried(fixes.geometry, grid, place))
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
            "hectares": areas.hectares(int(counts[joint]), grid),
        }
        for joint in ranked
    ]
