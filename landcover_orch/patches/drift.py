"""Data drift: how far a tile's radiometry lies from the training distribution (`histogram.distance`), for each band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch.raster import Raster
from landcover_orch.raster.histogram import Histogram, distance
from landcover_orch.tiles import radiometry

TRAINED = "train_histograms.npz"
"""File of the histograms of the train pixels, beside the manifest."""

BINS = 1024
"""Values of a histogram that is kept: as many pixels each, so that a distance is wrong by less than a bin is wide."""


def save(path: Path, histograms: Sequence[Histogram]) -> None:
    """Writes the histograms of all bands into a file, each as values and their pixels (2, value)."""
    with path.open("wb") as file:
        np.savez(file, *(np.stack([band.values, band.pixels]) for band in histograms))


def load(path: Path) -> list[Histogram]:
    """The histograms of a file that `save` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        bands = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
    return [Histogram(values, pixels.astype(np.int64)) for values, pixels in bands]


def rows(
    tiles: Mapping[str, Sequence[Histogram]], reference: Sequence[Histogram], bands: Sequence[str], limit: float
) -> list[dict[str, Any]]:
    """A row each tile: distance of each band, the largest of them, and whether that is over the limit.

    Args:
        tiles: histograms of each band of all pixels with data, by tile.
        reference: those of the train pixels.
        bands: their names.
        limit: the largest distance that is none to speak of, in standard deviations.
    """
    table = []
    for name, histograms in tiles.items():
        distances = [distance(*pair) for pair in zip(histograms, reference, strict=True)]
        largest = max((value for value in distances if value is not None), default=None)
        rounded = [None if value is None else round(value, 4) for value in distances]
        table.append(
            {
                "tile": name,
                **dict(zip(bands, rounded, strict=True)),
                "largest": None if largest is None else round(largest, 4),
                "outside": largest is not None and largest > limit,
            }
        )
    return table


def with_unmatched(row: Mapping[str, Any], image: Raster) -> dict[str, Any]:
    """The row of a tile whose image is matched to a reference, and how far its files themselves lie from that.

    What is matched lies near, be it a cloud. Of the bands the largest distance, None for the reference itself.
    """
    distances = [value for value in radiometry.unmatched(image) if value is not None]
    return {**row, "delivered": round(max(distances), 4) if distances else None}
