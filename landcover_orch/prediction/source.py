"""Strips of an orthophoto's pixels, prefetched in a thread of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from landcover_orch.errors import pluralise
from landcover_orch.grid import Window, resolution
from landcover_orch.models.contract import Contract
from landcover_orch.prediction.layout import Run
from landcover_orch.raster import Nodata, Raster, Reader, reader

T = TypeVar("T")


@dataclass(frozen=True)
class ImageSource:
    """Orthophoto as its dataset describes it: band names in order, dtype of the pixels, nodata, its year."""

    raster: Raster
    bands: tuple[str, ...]
    dtype: str
    nodata: Nodata
    fingerprint: str
    year: int | None = None

    def require(self, contract: Contract) -> None:
        """Raises ContractError where a model was not made for this raster."""
        bands = (
            self.bands
            if len(self.bands) == self.raster.count
            else (f"{pluralise(self.raster.count, 'band')} in the file",)
        )
        contract.require(bands, self.dtype, resolution(self.raster.grid), str(self.raster.path))


@dataclass(frozen=True, eq=False)
class Strip:
    """Pixels (band, y, x) under one row of a run's windows, and which of them (y, x) are data."""

    run: Run
    index: int
    pixels: NDArray[Any]
    valid: NDArray[np.bool_]

    def windows(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Each window's first column in the strip, and its pixels (band, y, x)."""
        left, size = self.run.reach[0], self.run.layout.size
        for col in self.run.cols:
            yield col - left, self.pixels[:, :, col - left : col - left + size]


def strips(image: ImageSource, work: list[Run], cache: int) -> Generator[Strip, None, None]:
    """The strips of all runs in order, every row of a run read once; for one thread. `cache` is GDAL's, in bytes."""
    with reader(image.raster, image.dtype, image.nodata, cache=cache) as source:
        for run in work:
            yield from run_strips(source, run)


def run_strips(source: Reader, run: Run) -> Iterator[Strip]:
    """The strips of one run; rows that two of them share are read once."""
    height = run.layout.size
    left, right = run.reach
    pixels = np.empty((source.raster.count, 0, right - left), source.dtype)
    valid = np.empty((0, right - left), bool)
    seen = run.rows[0]
    for index, row in enumerate(run.rows):
        pixels_read, valid_read = read_mirrored(source, Window(seen, left, row + height - seen, right - left))
        keep = seen - row
        pixels = np.concatenate([pixels[:, pixels.shape[1] - keep :], pixels_read], axis=1)
        valid = np.concatenate([valid[valid.shape[0] - keep :], valid_read], axis=0)
        seen = row + height
        yield Strip(run, index, pixels, valid)


def read_mirrored(source: Reader, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels and validity of a window; where it reaches over the tile's edge, the tile is mirrored."""
    inside = window.within(source.raster.shape)
    data = source.read(inside)
    valid = source.valid(inside, data)
    below, right = window.height - inside.height, window.width - inside.width
    if below or right:
        data = np.pad(data, ((0, 0), (0, below), (0, right)), mode="reflect")
        valid = np.pad(valid, ((0, below), (0, right)))
    return data, valid


def prefetch(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Prefetch: the same items, the next one always computed in a thread (the only one that touches `items`)."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, end)
        try:
            while (item := upcoming.result()) is not end:
                upcoming = pool.submit(next, items, end)
                yield item  # type: ignore[misc]
        finally:
            pool.submit(items.close).result()
