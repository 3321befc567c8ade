"""The page and pictures of the first look at the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.grid import crs_label
from landcover_orch.pages import page as pages
from landcover_orch.pages import picture
from landcover_orch.patches.manifest import SPLITS, DatasetManifest
from landcover_orch.patches.read import PatchReader, open_split
from landcover_orch.patches.splits import COUNTED

SAMPLES = 3
"""Patches shown of each split."""

PAIRS = 12
"""Matched tiles that are shown as they were and as they are read."""

CANDIDATES = 64
SIDE = 220
"""Pixels of a sample's side on the page."""


@dataclass(frozen=True)
class Sample:
    """A patch as people see it: image | label | overlay."""

    split: str
    tile: str
    picture: picture.RGB


def shares(manifest: DatasetManifest, split: str) -> list[float | None]:
    """Share of each class in the labelled pixels of a split; None where it has no labelled pixel."""
    pixels = np.sum([tile.class_pixels[split] for tile in manifest.tiles], axis=0)
    total = int(pixels.sum())
    return [float(n / total) if total else None for n in pixels]


def samples(manifest: DatasetManifest, home: Path) -> list[Sample]:
    """A few patches of each split: of an even choice, those that hold most classes and most labels."""
    return [sample for split in SPLITS for sample in _of_split(manifest, split, open_split(manifest, home, split))]


def _of_split(manifest: DatasetManifest, split: str, reader: PatchReader) -> list[Sample]:
    spread = np.unique(np.linspace(0, len(reader) - 1, min(CANDIDATES, len(reader))).astype(np.int64))
    if not spread.size:
        return []
    images, labels = reader.take(spread)
    rich = [(len(np.unique(label)), float((label != 255).mean())) for label in labels]
    best = sorted(range(len(rich)), key=lambda i: rich[i], reverse=True)[:SAMPLES]
    return [Sample(split, reader.tile_of(int(spread[i])), _drawn(images[i], labels[i], manifest)) for i in sorted(best)]


def _drawn(image: NDArray[Any], label: NDArray[np.uint8], manifest: DatasetManifest) -> picture.RGB:
    palette = manifest.legend.palette
    times = max(1, SIDE // image.shape[-1])
    shown, drawn = (
        _larger(picture.display(image, manifest.dataset.bands), times),
        np.kron(label, np.ones((times, times), np.uint8)),
    )
    return picture.hstack([shown, picture.colourise(drawn, palette), picture.overlay(shown, drawn, palette)])


def _larger(shown: picture.RGB, times: int) -> picture.RGB:
    return np.repeat(np.repeat(shown, times, axis=0), times, axis=1)


def preview(found: Sequence[Sample]) -> bytes:
    """One picture of the samples, a row a split, small enough for Dagster."""
    rows = [picture.hstack([s.picture for s in found if s.split == split], gap=12) for split in _drawn_splits(found)]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 12), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return picture.small_png(np.concatenate(padded))


def _drawn_splits(found: Sequence[Sample]) -> list[str]:
    return [split for split in SPLITS if any(sample.split == split for sample in found)]


def crs_name(crs: str | None) -> str:
    """A coordinate system as people call it: its EPSG code where it has one, else its name."""
    return "\u2013" if crs is None else crs_label(crs)


def page(
    manifest: DatasetManifest,
    cut: Sequence[Mapping[str, Any]],
    drifts: Sequence[Mapping[str, Any]],
    found: Sequence[Sample],
    description: str,
    matched: Mapping[str, bytes],
) -> str:
    """The HTML page: what the dataset holds, how it is split, and what it looks like.

    `matched` are pictures, by tile, of an image as it was delivered and as its radiometry is matched.
    """
    return pages.render(
        "dataset_manifest.html",
        title=f"{manifest.dataset.name}: the first look at the data",
        description=description,
        manifest=manifest,
        splits=SPLITS,
        cut=list(cut),
        drifts=list(drifts),
        systems=[crs_name(tile.crs) for tile in manifest.tiles],
        totals={key: sum(tile.counts[key] for tile in manifest.tiles) for key in COUNTED},
        left_out=sum(tile["left_out"] for tile in cut),
        pixels=sum(tile.pixels for tile in manifest.tiles),
        labelled=sum(sum(tile.class_pixels[split]) for tile in manifest.tiles for split in SPLITS),
        shares={split: shares(manifest, split) for split in SPLITS},
        matched={name: picture.data_uri(pair) for name, pair in [*matched.items()][:PAIRS]},
        samples=[(sample, picture.data_uri(picture.png(sample.picture, colours=128))) for sample in found],
    )
