"""How far a tile's radiometry lies from the training distribution: one number a band.

The measure is the Wasserstein distance of order 1 between two histograms, the area between their cumulative shares:
the mean of |x - y| over the best pairing of their pixels, so that values moved by c are at distance c. In units of the
reference's standard deviation it can be compared between bands, and one limit serves all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.histogram import Histogram

TRAINED = "train_histograms.npz"
"""File of the histograms of the train pixels, beside the manifest."""

BINS = 1024
"""Values of a histogram that is kept: as many pixels each, so that a distance is wrong by less than a bin is wide."""


def distance(found: Histogram, reference: Histogram) -> float | None:
    """Wasserstein distance of two histograms in standard deviations of the reference; 0 where they are one.

    None where one has no pixel, or where the reference has a single value and so no scale.
    """
    if not found.pixels.sum() or not reference.pixels.sum() or not (scale := reference.std):
        return None
    values = np.union1d(found.values, reference.values)
    apart = np.abs(_reached(found, values) - _reached(reference, values))
    return float((apart[:-1] * np.diff(values)).sum() / scale)


def _reached(histogram: Histogram, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the pixels at or below each value."""
    below = np.concatenate([[0], np.cumsum(histogram.pixels)])
    return np.asarray(below[np.searchsorted(histogram.values, values, side="right")] / below[-1])


def save(path: Path, found: Sequence[Histogram]) -> None:
    """Writes the histograms of all bands into a file, each as values and their pixels (2, value)."""
    with path.open("wb") as file:
        np.savez(file, *(np.stack([band.values, band.pixels]) for band in found))


def load(path: Path) -> list[Histogram]:
    """The histograms of a file that `save` wrote."""
    with np.load(path, allow_pickle=False) as found:
        bands = [found[f"arr_{i}"] for i in range(len(found.files))]
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
    return [_row(name, found, reference, bands, limit) for name, found in tiles.items()]


def _row(
    name: str, found: Sequence[Histogram], reference: Sequence[Histogram], bands: Sequence[str], limit: float
) -> dict[str, Any]:
    apart = [distance(*pair) for pair in zip(found, reference, strict=True)]
    largest = max((value for value in apart if value is not None), default=None)
    return {
        "tile": name,
        **{band: None if value is None else round(value, 4) for band, value in zip(bands, apart, strict=True)},
        "largest": None if largest is None else round(largest, 4),
        "outside": largest is not None and largest > limit,
    }
