"""How the values of a raster's bands become others wherever its pixels are read: by tables, or between knots."""

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

    bands: tuple[NDArray[np.float64], ...]
    """Of each band, knots in rising order and what is added there (2, knot)."""

    nodata: float

    def __call__(self, data: NDArray[Any]) -> NDArray[Any]:
        """What pixels (band, y, x) become, in float32."""
        return np.stack([self._moved(band, knots) for knots, band in zip(self.bands, data, strict=True)])

    def _moved(self, band: NDArray[Any], knots: NDArray[np.float64]) -> NDArray[np.float32]:
        moved = (band + np.interp(band, *knots)).clip(FLOAT.min, FLOAT.max).astype(np.float32)
        beside = np.nextafter(np.float32(self.nodata), np.float32(-np.inf if self.nodata > 0 else np.inf))
        safe = np.where(moved == self.nodata, beside, moved)
        return np.where(np.isfinite(band) & (band != self.nodata), safe, band).astype(np.float32, copy=False)

    def save(self, path: Path) -> None:
        """Writes the file that `load` reads."""
        with path.open("wb") as file:
            np.savez(file, np.array(self.nodata), *self.bands)


def load(path: Path) -> Tables | Knots:
    """The map that was saved in a file."""
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return Tables(found)
    with found:
        nodata, *bands = (found[f"arr_{i}"] for i in range(len(found.files)))
    return Knots(tuple(bands), float(nodata))
