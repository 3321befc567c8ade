"""Histograms of a band: its values, wherever they lie, and how many pixels have each. No IO."""

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
    def shares(self) -> NDArray[np.float64]:
        """Share of the pixels below each value, and half of those at it: rising, between 0 and 1."""
        return np.asarray((np.cumsum(self.pixels) - self.pixels / 2) / self.pixels.sum())

    def quantiles(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values at such shares, in between along straight lines; the inverse of `shares`."""
        return np.interp(shares, self.shares, self.values)

    def compact(self, bins: int) -> Histogram:
        """The histogram in at most so many values: itself, or neighbours of about equal pixels at their mean.

        The mean stays as it is. No pixel moves further than its bin is wide, which holds a share of 1 / `bins`.
        """
        if self.values.size <= bins:
            return self
        into = (self.shares * bins).astype(np.int64)
        pixels = np.bincount(into, self.pixels)
        there = pixels > 0
        values = np.bincount(into, self.pixels * self.values)[there] / pixels[there]
        return Histogram(values, pixels[there].astype(np.int64))
