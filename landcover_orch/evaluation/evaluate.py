"""Evaluation of maps against ground truth: what metrics count, tile by tile, every labelled test pixel once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landcover_orch import compute, raster
from landcover_orch.errors import GridError, IncompleteError, Problem
from landcover_orch.grid import Window, blocks
from landcover_orch.legend import IGNORE
from landcover_orch.metrics import catalogue, confusion
from landcover_orch.metrics.catalogue import MapCounts
from landcover_orch.metrics.confusion import Matrix
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.store.products import CLASS_MAP, CLASS_RASTER
from landcover_orch.store.publish import Product

BLOCK = 2048
"""Side of the blocks that are read and counted at a time, in pixels: a multiple of the rasters' own."""


@dataclass(frozen=True)
class Evaluation:
    """Confusion matrices (actual, predicted) by tile, over the test pixels that have a label."""

    classes: tuple[str, ...]
    tiles: dict[str, Matrix]
    counts: Mapping[str, MapCounts] = field(default_factory=dict)
    """Tile -> what each map metric counts; without it map metrics are undefined."""

    @cached_property
    def pooled(self) -> Matrix:
        """Pooled confusion matrix: that of all tiles together."""
        empty = np.zeros((len(self.classes), len(self.classes)), np.int64)
        pooled: Matrix = np.sum([empty, *self.tiles.values()], axis=0)
        return pooled

    @cached_property
    def stacked_counts(self) -> MapCounts:
        """Counts of each map metric (tile, ...): tiles are its pictures."""
        rows = [*self.counts.values()]
        return {metric: np.stack([row[metric] for row in rows]) for metric in (rows[0] if rows else ())}

    def of(self, tile: str) -> Evaluation:
        """The evaluation of one tile."""
        counts = {tile: self.counts[tile]} if tile in self.counts else {}
        return Evaluation(self.classes, {tile: self.tiles[tile]}, counts)

    def __add__(self, other: Evaluation) -> Evaluation:
        """Sum of two evaluations, tile by tile."""
        names = sorted({*self.tiles, *other.tiles})
        matrices = {name: [e.tiles[name] for e in (self, other) if name in e.tiles] for name in names}
        counts = {name: [e.counts[name] for e in (self, other) if name in e.counts] for name in names}
        return Evaluation(
            self.classes,
            {name: np.sum(parts, axis=0) for name, parts in matrices.items()},
            {name: total(parts) for name, parts in counts.items() if parts},
        )


def total(parts: Sequence[MapCounts]) -> MapCounts:
    """Sum of what map metrics count in parts of a picture."""
    return {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}


def tiles_to_predict(*manifests: DatasetManifest) -> list[TileEntry]:
    """Test tiles: those with labelled test pixels in a manifest, or in one of several of the same tiles."""
    names = {entry.name for manifest in manifests for entry in manifest.tiles if any(entry.class_pixels["test"])}
    return [entry for entry in manifests[0].tiles if entry.name in names]


def labels_of(entry: TileEntry, home: Path) -> raster.Raster:
    """Ground truth of a tile as a raster."""
    return raster.inspect(home / entry.ground_truth / CLASS_RASTER)


def scored_labels(
    manifest: DatasetManifest, entry: TileEntry, window: Window, labels: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Labels (y, x) of a window, 255 wherever the pixel is not of the test split."""
    role = roles(manifest.dataset.splits, entry.name, entry.grid, window)
    return np.where(role == TEST, labels, np.uint8(IGNORE))


def evaluate(manifest: DatasetManifest, predictions: Mapping[str, Product], home: Path) -> Evaluation:
    """Confusion matrices of a dataset's test pixels, tile by tile.

    Raises:
        IncompleteError: a tile that has test pixels has no map.
        GridError: a map does not lie on its labels' grid, or has no class where a label has one.
    """
    entries = tiles_to_predict(manifest)
    missing = [entry.name for entry in entries if entry.name not in predictions]
    if missing:
        raise IncompleteError(
            Problem(
                f"report of {manifest.dataset.name}",
                f"no map of tiles {missing}",
                "a map of every tile with test pixels",
                "materialise `prediction`",
            )
        )
    counted = {entry.name: tile_counts(manifest, entry, predictions[entry.name], home) for entry in entries}
    matrices = {name: matrix for name, (matrix, _) in counted.items()}
    return Evaluation(manifest.legend.names, matrices, {name: counts for name, (_, counts) in counted.items()})


def compared_rasters(entry: TileEntry, product: Product, home: Path) -> tuple[raster.Raster, raster.Raster]:
    """Ground truth of a tile and its map, which lie on one grid.

    Raises:
        GridError: they do not.
    """
    actual, predicted = labels_of(entry, home), raster.inspect(product.file(CLASS_MAP))
    if actual.grid != predicted.grid:
        raise GridError(
            Problem(
                str(predicted.path),
                f"another grid than its labels': {predicted.shape} at {tuple(predicted.grid.affine)[:6]}",
                f"its labels' grid {actual.shape} at {tuple(actual.grid.affine)[:6]}",
                "materialise `ground_truth` and `prediction` of the tile again",
            )
        )
    return actual, predicted


def tile_counts(manifest: DatasetManifest, entry: TileEntry, product: Product, home: Path) -> tuple[Matrix, MapCounts]:
    """Confusion matrix (actual, predicted) of a tile and what map metrics count, added block by block.

    Raises:
        GridError: the map does not lie on its labels' grid, or has no class where a label has one.
    """
    actual, predicted = compared_rasters(entry, product, home)
    classes = len(manifest.legend.classes)

    def count(block: Window) -> tuple[Matrix, MapCounts]:
        with raster.reader(actual, nodata="none") as truth, raster.reader(predicted, nodata="none") as mapped:
            labels, predictions = scored_labels(manifest, entry, block, truth.read(block)[0]), mapped.read(block)[0]
        return confusion.count(labels, predictions, classes), catalogue.map_counts(labels, predictions, classes)

    counted = compute.run(count, blocks(entry.shape, BLOCK, BLOCK), label=f"evaluation of {entry.name}")
    matrix: Matrix = np.sum([matrix for matrix, _ in counted], axis=0)
    return matrix, total([counts for _, counts in counted])
