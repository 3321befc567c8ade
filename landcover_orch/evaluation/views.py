"""Views of test tiles for figures: an overview of the tile, and a detail at full resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.evaluation.evaluate import labels_of, scored_labels
from landcover_orch.evaluation.figures import View
from landcover_orch.grid import Window, starts
from landcover_orch.legend import IGNORE
from landcover_orch.pages import picture
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.store.products import CLASS_MAP, CONFIDENCE_MAP
from landcover_orch.store.publish import Product
from landcover_orch.tiles import imagery

SIDE = 640
"""Longer side of the overview of a tile, in pixels."""

DETAIL = 256
"""Side of the detail, in pixels of the orthophoto."""


def overview(manifest: DatasetManifest, entry: TileEntry, product: Product, home: Path) -> View:
    """Overview of a tile, reduced to at most `SIDE` pixels; what is scored is seen through the reduced grid."""
    labels = raster.thumbnail(labels_of(entry, home), SIDE)[0]
    photo = raster.thumbnail(imagery.inspect(manifest.dataset, entry.images), SIDE)
    return View(
        name=entry.name,
        image=picture.display(photo, manifest.dataset.bands),
        labels=labels,
        scored=np.where(scored_mask(manifest, entry, labels.shape), labels, np.uint8(IGNORE)),
        predicted=raster.thumbnail(raster.inspect(product.file(CLASS_MAP)), SIDE)[0],
        confidence=raster.thumbnail(raster.inspect(product.file(CONFIDENCE_MAP)), SIDE)[0],
    )


def scored_mask(manifest: DatasetManifest, entry: TileEntry, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Test-split mask (y, x) of a tile on the reduced grid of a thumbnail of this shape (height, width)."""
    height, width = shape
    scale = Affine.scale(entry.grid.shape[1] / width, entry.grid.shape[0] / height)
    grid = GeoBox((height, width), entry.grid.affine @ scale, entry.grid.crs)
    return np.asarray(roles(manifest.dataset.splits, entry.name, grid, Window(0, 0, height, width)) == TEST)


def out_of_fold(folds: Sequence[tuple[DatasetManifest, Mapping[str, Product]]], entry: TileEntry, home: Path) -> View:
    """Out-of-fold overview of a tile: each pixel by the fold's model that never saw it; the rest of the map is empty.

    Args:
        folds: manifest and maps by tile of each fold, of one seed.
        entry: the tile.
        home: folder everything is written below.
    """
    views = [(fold, overview(fold, entry, maps[entry.name], home)) for fold, maps in folds if entry.name in maps]
    first = views[0][1]
    scored, predicted, confidence = (np.full_like(first.labels, IGNORE) for _ in range(3))
    for fold, view in views:
        unseen = scored_mask(fold, entry, first.labels.shape)
        for target, source in ((scored, view.labels), (predicted, view.predicted), (confidence, view.confidence)):
            target[unseen] = source[unseen]
    return replace(first, scored=scored, predicted=predicted, confidence=confidence)


def detail(manifest: DatasetManifest, entry: TileEntry, product: Product, home: Path, reduced: View) -> View:
    """Detail at full resolution, where the scored pixels of the overview show the classes most evenly."""
    box = most_diverse_window(reduced.scored, entry.shape)
    labels = _read(labels_of(entry, home), box)
    with raster.reader(imagery.inspect(manifest.dataset, entry.images)) as source:
        photo = source.read(box)
    return View(
        name=entry.name,
        image=picture.display(photo, manifest.dataset.bands),
        labels=labels,
        scored=scored_labels(manifest, entry, box, labels),
        predicted=_read(raster.inspect(product.file(CLASS_MAP)), box),
        confidence=_read(raster.inspect(product.file(CONFIDENCE_MAP)), box),
    )


def most_diverse_window(scored: NDArray[np.uint8], shape: tuple[int, int]) -> Window:
    """Window of largest class entropy, summed over scored pixels.

    Args:
        scored: (y, x) classes of the overview, 255 where nothing is scored.
        shape: height and width of the tile that the window lies in.
    """
    scale = shape[0] / scored.shape[0]
    side = max(1, min(round(DETAIL / scale), *scored.shape))
    corners = [(row, col) for row in starts(scored.shape[0], side, side) for col in starts(scored.shape[1], side, side)]
    row, col = max(corners, key=lambda at: total_entropy(scored[at[0] : at[0] + side, at[1] : at[1] + side]))
    height, width = min(DETAIL, shape[0]), min(DETAIL, shape[1])
    return Window(min(int(row * scale), shape[0] - height), min(int(col * scale), shape[1] - width), height, width)


def total_entropy(classes: NDArray[np.uint8]) -> float:
    """Shannon entropy of the classes in bits, times their pixels; of equal entropies the one with more pixels."""
    counts = np.bincount(classes.reshape(-1), minlength=256)[:IGNORE].astype(float)
    fractions = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(fractions * np.log2(fractions)).sum() * counts.sum() + 1e-6 * counts.sum())


def _read(source: raster.Raster, box: Window) -> NDArray[np.uint8]:
    with raster.reader(source, nodata="none") as pixels:
        classes: NDArray[np.uint8] = pixels.read(box)[0]
    return classes
