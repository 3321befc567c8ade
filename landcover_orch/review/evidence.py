"""What maps say of every labelled polygon: pixels by mapped class and their confidence, counted block by block."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.errors import GridError, Problem
from landcover_orch.grid import Window, blocks
from landcover_orch.labels import rasterise
from landcover_orch.legend import IGNORE
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.prediction.blend import STEPS
from landcover_orch.raster import Raster

BLOCK = 1024
"""Side of the blocks that are read and counted at a time, in pixels: memory depends on it and not on the tile."""

CACHE = 32 * 2**20
"""Bytes that GDAL keeps of blocks of the rasters: each is read once."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Look:
    """A map of a tile, and the ground of it that counts.

    Where it is a fold's, `fold` is its manifest, and the fold's own ground, which its model never saw, counts alone.
    """

    classes: Raster
    confidence: Raster
    fold: DatasetManifest | None = None

    @property
    def rasters(self) -> tuple[Raster, Raster]:
        """Its classes and their confidence."""
        return self.classes, self.confidence

    def counted(self, tile: str, window: Window) -> NDArray[np.bool_] | bool:
        """Which pixels (y, x) of a window count."""
        if self.fold is None:
            return True
        return np.asarray(roles(self.fold.dataset.splits, tile, self.classes.grid, window) == TEST)


@dataclass
class Evidence:
    """Sums over the counted pixels of polygons, each an array (polygon, mapped class).

    `pixels` counts them and `steps` sums their confidence in 1/254; `surprise` sums what the cross-entropy is made of:
    -ln p of the mapped class, and `doubt` -ln of the probability of each other class.
    """

    polygons: int
    classes: int
    pixels: Counts = field(init=False)
    steps: Counts = field(init=False)
    surprise: NDArray[np.float64] = field(init=False)
    doubt: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.polygons, self.classes)
        self.pixels, self.steps = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.surprise, self.doubt = np.zeros(shape), np.zeros(shape)

    def add(self, polygon: NDArray[Any], mapped: NDArray[np.uint8], steps: NDArray[np.uint8]) -> None:
        """Adds pixels: the polygon of each (its index), its mapped class, and that class's confidence in 1/254."""
        there, place = np.unique(polygon, return_inverse=True)
        size, shape = there.size * self.classes, (there.size, self.classes)
        joint = place * self.classes + mapped
        surprise, doubt = _logarithms(self.classes)
        self.pixels[there] += np.bincount(joint, minlength=size).reshape(shape)
        self.steps[there] += np.bincount(joint, steps, size).astype(np.int64).reshape(shape)
        self.surprise[there] += np.bincount(joint, surprise[steps], size).reshape(shape)
        self.doubt[there] += np.bincount(joint, doubt[steps], size).reshape(shape)

    def counted(self) -> Counts:
        """Pixels of each polygon."""
        return np.asarray(self.pixels.sum(axis=1))

    def probabilities(self) -> NDArray[np.float64]:
        """Mean predicted probability (polygon, class), as far as maps tell it; zeros for a polygon without pixels.

        A map keeps the probability of its own class alone: the rest is spread evenly over the other classes.
        """
        known = self.steps / STEPS
        rest = self.pixels - known
        spread = (rest.sum(axis=1, keepdims=True) - rest) / max(self.classes - 1, 1)
        return np.asarray((known + spread) / np.maximum(self.counted(), 1)[:, None])

    def disagreement(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of each polygon's pixels whose mapped class is not its label."""
        total = self.counted()
        return np.asarray((total - self.pixels[np.arange(total.size), labels]) / np.maximum(total, 1))

    def loss(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean cross-entropy of each polygon's label over its pixels, in nats, with the same spread of the rest."""
        each, total = np.arange(labels.size), self.counted()
        right, wrong = self.surprise[each, labels], self.doubt.sum(axis=1) - self.doubt[each, labels]
        return np.asarray((right + wrong) / np.maximum(total, 1))


def summed(parts: Sequence[tuple[Evidence, NDArray[np.int64]]], which: NDArray[np.int64]) -> Evidence:
    """The evidence of polygons that lie on several tiles.

    Args:
        parts: the evidence of each tile, and which of its polygons (their places) are taken.
        which: the polygon that each of all these is, numbered from 0.
    """
    found = Evidence(int(which.max(initial=-1)) + 1, parts[0][0].classes)
    for name in ("pixels", "steps", "surprise", "doubt"):
        np.add.at(getattr(found, name), which, np.concatenate([getattr(one, name)[index] for one, index in parts]))
    return found


def _logarithms(classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """-ln of the probability of the mapped class, and of each other one, by confidence in 1/254; never infinite."""
    share = np.clip(np.arange(256) / STEPS, 0.5 / STEPS, 1 - 0.5 / STEPS)
    return -np.log(share), -np.log((1 - share) / max(classes - 1, 1))


def gather(
    tile: str,
    geometry: NDArray[Any],
    place: GeoBox,
    truth: Raster,
    looks: Sequence[Look],
    classes: int,
    *,
    all_touched: bool,
) -> Evidence:
    """The evidence on polygons in burn order: each pixel that has a label counts for the last polygon on it.

    Args:
        tile: its name.
        geometry: the polygons, in the CRS of the tile.
        place: where the tile's grid lies among them: beside itself, where its labels are moved.
        truth: the tile's class raster; where it is ignored, no pixel counts.
        looks: the maps.
        classes: how many the legend has.
        all_touched: as the legend says.

    Raises:
        GridError: a map does not lie on its labels' grid.
    """
    _require_one_grid(truth, looks)
    found, windows = Evidence(len(geometry), classes), blocks(truth.shape, BLOCK, BLOCK)
    numbers = np.arange(1, len(geometry) + 1, dtype=np.uint32)
    strips = rasterise.rasterise(geometry, numbers, place, windows, all_touched=all_touched, fill=0)
    with ExitStack() as stack:
        labels = stack.enter_context(raster.reader(truth, nodata="none", cache=CACHE))
        maps = [
            [stack.enter_context(raster.reader(part, nodata="none", cache=CACHE)) for part in look.rasters]
            for look in looks
        ]
        for window, ids in zip(windows, strips, strict=True):
            labelled = (ids > 0) & (labels.read(window)[0] != IGNORE)
            for look, (mapped, confidence) in zip(looks, maps, strict=True):
                counted = labelled & look.counted(tile, window)
                if counted.any():
                    _count(found, ids, counted, mapped.read(window)[0], confidence.read(window)[0])
    return found


def _count(
    found: Evidence,
    ids: NDArray[np.uint32],
    counted: NDArray[np.bool_],
    mapped: NDArray[np.uint8],
    steps: NDArray[np.uint8],
) -> None:
    counted = counted & (mapped != IGNORE)
    found.add(ids[counted].astype(np.int64) - 1, mapped[counted], steps[counted])


def _require_one_grid(truth: Raster, looks: Sequence[Look]) -> None:
    strays = [look.classes for look in looks if look.classes.grid != truth.grid]
    if strays:
        fix = "materialise `ground_truth` and the map again"
        raise GridError(*(Problem(str(r.path), "another grid", f"the grid of {truth.path}", fix) for r in strays))
