"""Dataset page: HTML page and pictures of the manifest, an overview of the data before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import raster
from landcover_orch.grid import Window, crs_label
from landcover_orch.pages import chart, picture
from landcover_orch.pages import page as pages
from landcover_orch.pages.links import asset_link
from landcover_orch.patches.ground import Ground, class_fractions, ground, hectares, split_pixels
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, TileEntry
from landcover_orch.patches.read import PatchReader, open_split
from landcover_orch.patches.splits import ROLE_NAMES, roles
from landcover_orch.store.products import CLASS_RASTER, DATASET_MANIFEST
from landcover_orch.tiles import imagery

SAMPLES = 3
"""Patches shown of each split."""

PAIRS = 12
"""Matched tiles that are shown as they were and as they are read."""

TILES_PICTURE = "tiles.png"
DRAWN, COLUMNS, TILE_SIDE = 4, 4, 240
"""The picture of the splits: tiles of each, tiles in a row, and the longer side of each in pixels."""

UNFOLDED = 12
"""Rows up to which a table of tiles is shown unfolded."""

CANDIDATES = 64
SIDE = 220
"""Pixels of a sample's side on the page."""


@dataclass(frozen=True)
class Sample:
    """A patch as people see it: image | label | overlay."""

    split: str
    tile: str
    picture: picture.RGB


def samples(manifest: DatasetManifest, home: Path) -> list[Sample]:
    """A few patches of each split: of an even choice, those that hold most classes and most labels."""
    return [sample for split in SPLITS for sample in split_samples(manifest, split, open_split(manifest, home, split))]


def split_samples(manifest: DatasetManifest, split: str, reader: PatchReader) -> list[Sample]:
    """A few patches of a split, in the reader's order."""
    candidates = np.unique(np.linspace(0, len(reader) - 1, min(CANDIDATES, len(reader))).astype(np.int64))
    if not candidates.size:
        return []
    images, labels = reader.take(candidates)
    richness = [(len(np.unique(label)), float((label != 255).mean())) for label in labels]
    best = sorted(range(len(richness)), key=lambda i: richness[i], reverse=True)[:SAMPLES]
    return [
        Sample(split, reader.tile_of(int(candidates[i])), draw_sample(images[i], labels[i], manifest))
        for i in sorted(best)
    ]


def draw_sample(image: NDArray[Any], label: NDArray[np.uint8], manifest: DatasetManifest) -> picture.RGB:
    """Picture of a patch: image (band, y, x), label (y, x) and both together, in a row."""
    palette = manifest.legend.palette
    times = max(1, SIDE // image.shape[-1])
    shown = np.repeat(np.repeat(picture.display(image, manifest.dataset.bands), times, axis=0), times, axis=1)
    drawn = np.kron(label, np.ones((times, times), np.uint8))
    return picture.hstack([shown, picture.colourise(drawn, palette), picture.overlay(shown, drawn, palette)])


def tiles_picture(manifest: DatasetManifest, home: Path) -> bytes:
    """Contact sheet of the splits: image and labels of some tiles of each; other splits' pixels are dimmed."""
    drawn = [(split, entry) for split in SPLITS for entry in drawn_tiles(manifest, split)]
    rows = -(-len(drawn) // COLUMNS)
    figure = chart.canvas(10.4, 1.6 * rows + 0.1)
    for i, (split, entry) in enumerate(drawn, start=1):
        axes = figure.add_subplot(rows, COLUMNS, i)
        axes.imshow(draw_tile(manifest, entry, split, home), interpolation="nearest")
        axes.set_title(chart.literal(f"{split}: {entry.name}"), fontsize=9)
        axes.set_axis_off()
    return chart.as_png(figure)


def drawn_tiles(manifest: DatasetManifest, split: str) -> list[TileEntry]:
    """Tiles with labelled pixels of a split, an even choice of many."""
    entries = [entry for entry in manifest.tiles if split_pixels(entry, [split]).any()]
    chosen = np.unique(np.linspace(0, len(entries) - 1, min(DRAWN, len(entries))).astype(np.int64))
    return [entries[i] for i in chosen.tolist()]


def draw_tile(manifest: DatasetManifest, entry: TileEntry, split: str, home: Path) -> picture.RGB:
    """Picture of a tile: image and labels side by side, dimmed where the pixels are of another split."""
    dataset = manifest.dataset
    photo = picture.display(raster.thumbnail(imagery.inspect(dataset, entry.images), TILE_SIDE), dataset.bands)
    classes = raster.thumbnail(raster.inspect(home / entry.ground_truth / CLASS_RASTER), TILE_SIDE)[0]
    pair = picture.hstack([photo, picture.colourise(classes, manifest.legend.palette)])
    inside = split_mask(manifest, entry, split, photo.shape[:2])
    dim = np.hstack([~inside, np.zeros((len(inside), pair.shape[1] - 2 * inside.shape[1]), bool), ~inside])
    return np.where(dim[..., None], 255 - (255 - pair) // 4, pair).astype(np.uint8)


def split_mask(manifest: DatasetManifest, entry: TileEntry, split: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mask (y, x) of a split on the reduced grid of a tile's thumbnail of this shape (height, width)."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    height, width = shape[:2]
    scale = Affine.scale(entry.grid.shape[1] / width, entry.grid.shape[0] / height)
    grid = GeoBox((height, width), entry.grid.affine @ scale, entry.grid.crs)
    role = roles(manifest.dataset.splits, entry.name, grid, Window(0, 0, height, width))
    return np.asarray(role == ROLE_NAMES[split])


def preview(samples: Sequence[Sample]) -> bytes:
    """One picture of the samples, a row a split, small enough for Dagster."""
    by_split = [[sample.picture for sample in samples if sample.split == split] for split in SPLITS]
    rows = [picture.hstack(pictures, gap=12) for pictures in by_split if pictures]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 12), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return picture.small_png(np.concatenate(padded))


def page(
    manifest: DatasetManifest,
    cut: Sequence[Mapping[str, Any]],
    drifts: Sequence[Mapping[str, Any]],
    samples: Sequence[Sample],
    description: str,
    matched: Mapping[str, bytes],
    tiles: bytes,
    warnings: Sequence[str],
) -> str:
    """The HTML page: what the dataset holds, how it is split, and samples of it.

    `tiles` is `tiles_picture`. `matched` are pictures, by tile, of an image as it was delivered and as its radiometry
    is matched.
    """
    return pages.render(
        "dataset_manifest.html",
        links=[asset_link(manifest.dataset.name, DATASET_MANIFEST)],
        title=f"{manifest.dataset.name}: dataset overview",
        description=description,
        verdict=ground_words(manifest),
        warnings=list(warnings),
        unfolded=UNFOLDED,
        tiles_picture=tiles,
        manifest=manifest,
        splits=SPLITS,
        grounds={split: ground(manifest, split) for split in SPLITS},
        areas=[hectares(tile, tile.pixels) for tile in manifest.tiles],
        cut=list(cut),
        drifts=list(drifts),
        systems=["\u2013" if tile.crs is None else crs_label(tile.crs) for tile in manifest.tiles],
        totals={key: sum(tile.counts[key] for tile in manifest.tiles) for key in ROLE_NAMES},
        left_out=sum(tile["left_out"] for tile in cut),
        pixels=sum(tile.pixels for tile in manifest.tiles),
        labelled=sum(sum(tile.class_pixels[split]) for tile in manifest.tiles for split in SPLITS),
        fractions={split: class_fractions(manifest, split) for split in SPLITS},
        matched={name: picture.data_uri(pair) for name, pair in [*matched.items()][:PAIRS]},
        samples=[(sample, picture.data_uri(picture.png(sample.picture, colours=128))) for sample in samples],
    )


def ground_words(manifest: DatasetManifest) -> str:
    """The ground of each split in a sentence."""
    grounds: list[Ground] = [ground(manifest, split) for split in SPLITS]
    return f"{manifest.dataset.name}: {'; '.join(part.words() for part in grounds if part.pixels)}."
