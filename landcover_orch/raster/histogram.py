"""Histogram of a band: its values, wherever they lie, and how many pixels have each. No IO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Histogram:
    """Values of a band in rising order, and how many pixels have each."""

    values: NDArray[np.float64]
    pixels: NDArray[np.int64]

    @property
    def mean(self) -> float:
        """Mean over the pixels."""
        return float(np.average(self.values, weights=self.pixels))

    @property
    def std(self) -> float:
        """Population standard deviation."""
        return float(np.average((self.values - self.mean) ** 2, weights=self.pixels) ** 0.5)

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Cumulative distribution: fraction of the pixels below each value, and half of those at it; in 0 to 1."""
        return np.asarray((np.cumsum(self.pixels) - self.pixels / 2) / self.pixels.sum())

    def quantiles(self, fractions: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values at such fractions, in between along straight lines; the inverse of `fractions`."""
        return np.interp(fractions, self.fractions, self.values)

    def compact(self, bins: int) -> Histogram:
        """The histogram in at most so many values: itself, or neighbours of about equal pixels at their mean.

        The mean stays as it is. No pixel moves further than its bin is wide, which holds a fraction of 1 / `bins`.
        """
        if self.values.size <= bins:
            return self
        into = (self.fractions * bins).astype(np.int64)
        pixels = np.bincount(into, self.pixels)
        filled = pixels > 0
        values = np.bincount(into, self.pixels * self.values)[filled] / pixels[filled]
        return Histogram(values, pixels[filled].astype(np.int64))


def distance(histogram: Histogram, reference: Histogram) -> float | None:
    """Wasserstein distance of two histograms in standard deviations of the reference; 0 where they are one.

    That of order 1 is the area between their cumulative fractions: the mean of |x - y| over the best pairing of their
    pixels, so that values moved by c are at distance c. In units of the reference's standard deviation it can be
    compared between bands, and one limit serves all.

    None where one has no pixel, or where the reference has a single value and so no scale.
    """
    if not histogram.pixels.sum() or not reference.pixels.sum() or not (scale := reference.std):
        return None
    from scipy.stats import wasserstein_distance  # which takes a while to load

    distance_moved = wasserstein_distance(histogram.values, reference.values, histogram.pixels, reference.pixels)
    return float(distance_moved / scale)
