"""Looks at test tiles: the whole tile reduced, and a detail at full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.evaluation.evaluate import MAP, labels_of, tested
from landcover_orch.evaluation.figures import View
from landcover_orch.grid import Window, starts
from landcover_orch.legend import IGNORE
from landcover_orch.pages import picture
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.store.publish import Product
from landcover_orch.tiles import imagery

SIDE = 640
"""Longer side of the picture of a whole tile, in pixels."""

DETAIL = 256
"""Side of the detail, in pixels of the orthophoto."""

CONFIDENCE = "confidence.tif"


def whole(manifest: DatasetManifest, entry: TileEntry, product: Product, home: Path) -> View:
    """The whole tile, reduced to at most `SIDE` pixels; what is scored is seen through the reduced grid."""
    labels = raster.thumbnail(labels_of(entry, home), SIDE)[0]
    photo = raster.thumbnail(imagery.inspect(manifest.dataset, entry.images), SIDE)
    return View(
        name=entry.name,
        image=picture.display(photo, manifest.dataset.bands),
        labels=labels,
        scored=np.where(_tested(manifest, entry, labels), labels, np.uint8(IGNORE)),
        predicted=raster.thumbnail(raster.inspect(product.file(MAP)), SIDE)[0],
        confidence=raster.thumbnail(raster.inspect(product.file(CONFIDENCE)), SIDE)[0],
    )


def _tested(manifest: DatasetManifest, entry: TileEntry, reduced: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of a reduced tile are test."""
    grid = _reduced(entry.grid, (reduced.shape[0], reduced.shape[1]))
    return np.asarray(roles(manifest.dataset.splits, entry.name, grid, Window(0, 0, *reduced.shape)) == TEST)


def out_of_fold(folds: Sequence[tuple[DatasetManifest, Mapping[str, Product]]], entry: TileEntry, home: Path) -> View:
    """The whole tile as its folds' models see the ground that each of them never saw; the rest of the map is empty.

    Args:
        folds: manifest and maps by tile of each fold, of one seed.
        entry: the tile.
        home: folder everything is written below.
    """
    seen = [(fold, whole(fold, entry, maps[entry.name], home)) for fold, maps in folds if entry.name in maps]
    first = seen[0][1]
    scored, predicted, confidence = (np.full_like(first.labels, IGNORE) for _ in range(3))
    for fold, view in seen:
        own = _tested(fold, entry, first.labels)
        for target, source in ((scored, view.labels), (predicted, view.predicted), (confidence, view.confidence)):
            target[own] = source[own]
    return replace(first, scored=scored, predicted=predicted, confidence=confidence)


def _reduced(grid: GeoBox, shape: tuple[int, int]) -> GeoBox:
    """The same ground on a grid of `shape` (height, width) pixels, as that of a thumbnail."""
    across, down = grid.shape[1] / shape[1], grid.shape[0] / shape[0]
    return GeoBox(shape, grid.affine @ Affine.scale(across, down), grid.crs)


def detail(manifest: DatasetManifest, entry: TileEntry, product: Product, home: Path, overview: View) -> View:
    """A detail at full resolution, where the overview's scored pixels show the classes most evenly."""
    box = _telling(overview.scored, entry.shape)
    labels = _read(labels_of(entry, home), box)
    with raster.reader(imagery.inspect(manifest.dataset, entry.images)) as source:
        photo = source.read(box)
    return View(
        name=entry.name,
        image=picture.display(photo, manifest.dataset.bands),
        labels=labels,
        scored=tested(manifest, entry, box, labels),
        predicted=_read(raster.inspect(product.file(MAP)), box),
        confidence=_read(raster.inspect(product.file(CONFIDENCE)), box),
    )


def _telling(scored: NDArray[np.uint8], shape: tuple[int, int]) -> Window:
    """The box of the tile over which the reduced classes have the most entropy, summed over scored pixels."""
    scale = shape[0] / scored.shape[0]
    side = max(1, min(round(DETAIL / scale), *scored.shape))
    places = [(row, col) for row in starts(scored.shape[0], side, side) for col in starts(scored.shape[1], side, side)]
    row, col = max(places, key=lambda at: _information(scored[at[0] : at[0] + side, at[1] : at[1] + side]))
    height, width = min(DETAIL, shape[0]), min(DETAIL, shape[1])
    return Window(min(int(row * scale), shape[0] - height), min(int(col * scale), shape[1] - width), height, width)


def _information(classes: NDArray[np.uint8]) -> float:
    counts = np.bincount(classes.reshape(-1), minlength=256)[:IGNORE].astype(float)
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log2(shares)).sum() * counts.sum() + 1e-6 * counts.sum())


def _read(source: raster.Raster, box: Window) -> NDArray[np.uint8]:
    with raster.reader(source, nodata="none") as pixels:
        found: NDArray[np.uint8] = pixels.read(box)[0]
    return found
