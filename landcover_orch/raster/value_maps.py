"""Value maps: how a raster's values become others wherever its pixels are read, by look-up tables or between knots."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT = np.finfo(np.float32)


@dataclass(frozen=True, eq=False)
class Tables:
    """What each integer becomes (band, value); those of values below zero stand at the end, where -1 finds them."""

    values: NDArray[Any]

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """What pixels (band, y, x) become."""
        return np.stack([table[band] for table, band in zip(self.values, data, strict=True)])

    def save(self, path: Path) -> None:
        """Writes the file that `load` reads."""
        np.save(path, self.values)


@dataclass(frozen=True, eq=False)
class Knots:
    """What floats become: to each is added what stands at its knot, in between along straight lines.

    Beyond the outer knots the same is added as there. What is not finite stays as it is, as does `nodata` (NaN: none),
    which no other value becomes.
    """

    ends: NDArray[np.float64]
    """The first and the last knot of each band (band, 2), apart from each other; between them knots lie evenly."""

    added: NDArray[np.float64]
    """What is added at each, two or more (band, knot)."""

    nodata: float = float("nan")

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """What pixels (band, y, x) become, in float32."""
        return np.stack([self.interpolate(*band) for band in zip(data, self.ends, self.added, strict=True)])

    def interpolate(
        self, band: NDArray[Any], ends: NDArray[np.float64], added: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Linear interpolation between the knots of one band: what its pixels (y, x) become."""
        valid = np.isfinite(band) & (band != self.nodata)
        at = (np.where(valid, band, 0) - ends[0]) * ((added.size - 1) / (ends[1] - ends[0]))
        left = at.clip(0, added.size - 2).astype(np.int32)
        weight = (at - left).clip(0, 1)
        mapped = band + (1 - weight) * added[left] + weight * added[left + 1]
        clipped = mapped.clip(FLOAT.min, FLOAT.max).astype(np.float32)
        next_to_nodata = np.nextafter(np.float32(self.nodata), np.float32(-np.inf if self.nodata > 0 else np.inf))
        return np.where(valid, np.where(clipped == self.nodata, next_to_nodata, clipped), band).astype(np.float32)

    def save(self, path: Path) -> None:
        """Writes the file that `load` reads."""
        with path.open("wb") as file:
            np.savez(file, ends=self.ends, added=self.added, nodata=np.array(self.nodata))


def load(path: Path) -> Tables | Knots:
    """The map that was saved in a file."""
    arrays = np.load(path, allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        return Tables(arrays)
    with arrays:
        return Knots(arrays["ends"], arrays["added"], float(arrays["nodata"]))
