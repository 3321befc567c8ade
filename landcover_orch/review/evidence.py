"""Zonal statistics of maps by labelled polygon: pixels by mapped class and their confidence, block by block."""

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
class MapLayer:
    """Map layer of a tile, and which of its pixels count.

    Where it is a fold's, `fold` is its manifest, and the fold's test pixels, which its model never saw, count alone.
    """

    classes: Raster
    confidence: Raster
    fold: DatasetManifest | None = None

    @property
    def rasters(self) -> tuple[Raster, Raster]:
        """Its classes and their confidence."""
        return self.classes, self.confidence

    def counted(self, tile: str, window: Window) -> NDArray[np.bool_] | bool:
        """Mask (y, x) of a window: which pixels count."""
        if self.fold is None:
            return True
        return np.asarray(roles(self.fold.dataset.splits, tile, self.classes.grid, window) == TEST)


@dataclass
class Evidence:
    """Zonal sums over the counted pixels of polygons, each an array (polygon, mapped class).

    `pixels` counts them and `steps` sums their confidence in 1/254; `cross_entropy` sums -ln p of the mapped class, and
    `other_class_nll` -ln of the probability of each other class.
    """

    polygons: int
    classes: int
    pixels: Counts = field(init=False)
    steps: Counts = field(init=False)
    cross_entropy: NDArray[np.float64] = field(init=False)
    other_class_nll: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.polygons, self.classes)
        self.pixels, self.steps = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.cross_entropy, self.other_class_nll = np.zeros(shape), np.zeros(shape)

    def add(self, polygon: NDArray[Any], mapped: NDArray[np.uint8], steps: NDArray[np.uint8]) -> None:
        """Adds pixels: the polygon of each (its index), its mapped class, and that class's confidence in 1/254."""
        polygons, inverse = np.unique(polygon, return_inverse=True)
        size, shape = polygons.size * self.classes, (polygons.size, self.classes)
        joint = inverse * self.classes + mapped
        probability = np.clip(np.arange(256) / STEPS, 0.5 / STEPS, 1 - 0.5 / STEPS)  # so no logarithm is infinite
        cross_entropy = -np.log(probability)
        other_class_nll = -np.log((1 - probability) / max(self.classes - 1, 1))
        self.pixels[polygons] += np.bincount(joint, minlength=size).reshape(shape)
        self.steps[polygons] += np.bincount(joint, steps, size).astype(np.int64).reshape(shape)
        self.cross_entropy[polygons] += np.bincount(joint, cross_entropy[steps], size).reshape(shape)
        self.other_class_nll[polygons] += np.bincount(joint, other_class_nll[steps], size).reshape(shape)

    def counted(self) -> Counts:
        """Pixels of each polygon."""
        return np.asarray(self.pixels.sum(axis=1))

    def probabilities(self) -> NDArray[np.float64]:
        """Mean predicted probability (polygon, class), as far as maps hold it; zeros for a polygon without pixels.

        A map keeps the probability of its own class alone: the rest is spread evenly over the other classes.
        """
        known = self.steps / STEPS
        rest = self.pixels - known
        spread = (rest.sum(axis=1, keepdims=True) - rest) / max(self.classes - 1, 1)
        return np.asarray((known + spread) / np.maximum(self.counted(), 1)[:, None])

    def disagreement(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Fraction of each polygon's pixels whose mapped class is not its label."""
        total = self.counted()
        return np.asarray((total - self.pixels[np.arange(total.size), labels]) / np.maximum(total, 1))

    def loss(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean cross-entropy of each polygon's label over its pixels, in nats, with the same spread of the rest."""
        each, total = np.arange(labels.size), self.counted()
        right, others = (
            self.cross_entropy[each, labels],
            self.other_class_nll.sum(axis=1) - self.other_class_nll[each, labels],
        )
        return np.asarray((right + others) / np.maximum(total, 1))


def sum_evidence(parts: Sequence[tuple[Evidence, NDArray[np.int64]]], which: NDArray[np.int64]) -> Evidence:
    """Sums the evidence on polygons that lie on several tiles.

    Args:
        parts: the evidence of each tile, and which of its polygons (their indices) are taken.
        which: the polygon that each of all these is, numbered from 0.
    """
    evidence = Evidence(int(which.max(initial=-1)) + 1, parts[0][0].classes)
    for name in ("pixels", "steps", "cross_entropy", "other_class_nll"):
        np.add.at(getattr(evidence, name), which, np.concatenate([getattr(part, name)[index] for part, index in parts]))
    return evidence


def collect_evidence(
    tile: str,
    geometry: NDArray[Any],
    label_grid: GeoBox,
    truth: Raster,
    map_layers: Sequence[MapLayer],
    classes: int,
    *,
    all_touched: bool,
) -> Evidence:
    """Zonal statistics of map layers on polygons in burn order: a labelled pixel counts for the last polygon on it.

    Args:
        tile: its name.
        geometry: the polygons, in the CRS of the tile.
        label_grid: where the tile's grid lies among them: translated, where its labels have a `shift`.
        truth: the tile's class raster; where it is ignored, no pixel counts.
        map_layers: the maps.
        classes: how many the legend has.
        all_touched: as the legend says.

    Raises:
        GridError: a map does not lie on its labels' grid.
    """
    other_grids = [layer.classes.path for layer in map_layers if layer.classes.grid != truth.grid]
    if other_grids:
        fix = "materialise `ground_truth` and the map again"
        raise GridError(*(Problem(str(p), "another grid", f"the grid of {truth.path}", fix) for p in other_grids))
    evidence, windows = Evidence(len(geometry), classes), blocks(truth.shape, BLOCK, BLOCK)
    numbers = np.arange(1, len(geometry) + 1, dtype=np.uint32)
    rasterised = rasterise.rasterise(geometry, numbers, label_grid, windows, all_touched=all_touched, fill=0)
    with ExitStack() as stack:
        labels = stack.enter_context(raster.reader(truth, nodata="none", cache=CACHE))
        maps = [
            [stack.enter_context(raster.reader(part, nodata="none", cache=CACHE)) for part in layer.rasters]
            for layer in map_layers
        ]
        for window, ids in zip(windows, rasterised, strict=True):
            labelled = (ids > 0) & (labels.read(window)[0] != IGNORE)
            for layer, (mapped, confidence) in zip(map_layers, maps, strict=True):
                counted = labelled & layer.counted(tile, window)
                if counted.any():
                    classes_there, steps = mapped.read(window)[0], confidence.read(window)[0]
                    counted &= classes_there != IGNORE
                    evidence.add(ids[counted].astype(np.int64) - 1, classes_there[counted], steps[counted])
    return evidence
