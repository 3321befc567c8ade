"""Dataset statistics: bands over train pixels, classes by split, in one pass over the rasters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import raster
from landcover_orch.config import Splits
from landcover_orch.grid import Window, blocks
from landcover_orch.labels.codes import tally
from landcover_orch.legend import IGNORE
from landcover_orch.patches.manifest import SPLITS, BandStatistics
from landcover_orch.patches.splits import EXCLUDED, ROLES, TRAIN, roles
from landcover_orch.raster.histogram import Histogram

PERCENTILES = (2, 25, 50, 75, 98)
STRIP_ROWS = 512
KEYS = 2**16


@dataclass(frozen=True)
class Strips:
    """Rows of an image to be counted, as plain values that travel to a worker."""

    image: raster.Raster
    dtype: str
    nodata: raster.Nodata
    window: Window

    def read(self) -> Iterator[tuple[Window, NDArray[Any], NDArray[np.bool_]]]:
        """Windows of a few rows, their pixels (band, y, x), and which of them hold data (y, x)."""
        inner = blocks((self.window.height, self.window.width), STRIP_ROWS, self.window.width)
        with raster.reader(self.image, dtype=self.dtype, nodata=self.nodata) as pixels:
            for box in inner:
                window = Window(self.window.row + box.row, self.window.col, box.height, box.width)
                data = pixels.read(window)
                yield window, data, pixels.valid(window, data)

    def counter(self) -> ValueCounter:
        """An empty counter of the image's values."""
        return ValueCounter(self.image.count, np.dtype(self.dtype))


@dataclass(frozen=True)
class Part:
    """Rows of a tile with their classes and splits."""

    tile: str
    strips: Strips
    classes: Path
    splits: Splits


@dataclass(frozen=True)
class Counts:
    """What was counted in a part, or in several.

    `classes` is (split, class value 0-255) in pixels, `excluded` the pixels that are in no split. For the train pixels
    with data: `keys` and `key_counts` are a sparse histogram a band (see `histogram_keys`), `moments` is (band, 5):
    count, mean, sum of squared deviations, min, max. `other_keys` and `other_counts` are a histogram of all other
    pixels with data. Small, as they are kept for every part: a part has fewer than 2^32 pixels.
    """

    classes: NDArray[np.int64]
    excluded: int
    keys: tuple[NDArray[np.uint16], ...]
    key_counts: tuple[NDArray[np.uint32], ...]
    moments: NDArray[np.float64]
    other_keys: tuple[NDArray[np.uint16], ...]
    other_counts: tuple[NDArray[np.uint32], ...]


def parts(
    tile: str, image: raster.Raster, classes: Path, dtype: str, nodata: raster.Nodata, splits: Splits, *, rows: int
) -> list[Part]:
    """A tile in parts of at most `rows` rows."""
    return [Part(tile, part, classes, splits) for part in parts_of_image(image, dtype, nodata, rows=rows)]


def parts_of_image(image: raster.Raster, dtype: str, nodata: raster.Nodata, *, rows: int) -> list[Strips]:
    """An image in parts of at most `rows` rows."""
    return [Strips(image, dtype, nodata, window) for window in blocks(image.shape, rows, image.shape[1])]


def count(part: Part) -> Counts:
    """What a part holds: class pixels of each split, and the values of its train pixels and of all others."""
    table = np.zeros((len(ROLES), IGNORE + 1), np.int64)
    values, others = part.strips.counter(), part.strips.counter()
    with raster.reader(raster.inspect(part.classes), nodata="none") as classes:
        for window, data, valid in part.strips.read():
            role = roles(part.splits, part.tile, part.strips.image.grid, window)
            joint = role.astype(np.uint16) << 8 | classes.read(window)[0]
            table += tally(joint, len(ROLES) << 8).reshape(len(ROLES), IGNORE + 1)
            values.add(data[:, (role == TRAIN) & valid])
            others.add(data[:, (role != TRAIN) & valid])
    return values.counts(table, others)


def count_image(part: Strips) -> Counts:
    """The values of all pixels with data, none of them a train pixel."""
    values, others = part.counter(), part.counter()
    for _, data, valid in part.read():
        others.add(data[:, valid])
    return values.counts(np.zeros((len(ROLES), IGNORE + 1), np.int64), others)


class ValueCounter:
    """Streaming histogram and moments of the values of each band, added strip by strip."""

    def __init__(self, bands: int, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._histogram = np.zeros((bands, 256 if dtype == np.uint8 else KEYS), np.int64)
        self._moments = _no_moments(bands)

    def add(self, values: NDArray[Any]) -> None:
        """Counts the values (band, pixel) of one strip."""
        for band, counts in zip(values, self._histogram, strict=True):
            counts += tally(histogram_keys(band), counts.size)
        if values.dtype.kind == "f" and values.shape[1]:
            self._moments = merge_moments(self._moments, np.array([_moments(band) for band in values]))

    def sparse(self) -> tuple[tuple[NDArray[np.uint16], ...], tuple[NDArray[np.uint32], ...]]:
        """Keys that occur and their counts, a band each."""
        keys = tuple(np.flatnonzero(band).astype(np.uint16) for band in self._histogram)
        return keys, tuple(band[key].astype(np.uint32) for band, key in zip(self._histogram, keys, strict=True))

    def counts(self, table: NDArray[np.int64], others: ValueCounter) -> Counts:
        """What was added here and to `others`, with the pixels (role, class value) beside it."""
        keys, numbers = self.sparse()
        if self._dtype.kind != "f" and keys[0].size:
            each = (key_values(key, self._dtype) for key in keys)
            self._moments = np.array([_moments(*pair) for pair in zip(each, numbers, strict=True)])
        excluded = int(table[EXCLUDED].sum())
        return Counts(table[: len(SPLITS)], excluded, keys, numbers, self._moments, *others.sparse())


def _moments(values: NDArray[Any], times: NDArray[np.integer[Any]] | None = None) -> list[float]:
    """Count, mean, sum of squared deviations, minimum and maximum of values, each taken so many times."""
    exact = values.astype(np.float64)
    number = float(exact.size if times is None else times.sum())
    mean = float(np.average(exact, weights=times))
    spread = float(((exact - mean) ** 2 * (1 if times is None else times)).sum())
    return [number, mean, spread, float(exact.min()), float(exact.max())]


def histogram_keys(values: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Bins of a histogram: the value itself for integers, the upper 16 bits of a float (a grain of 1/128 of it)."""
    if values.dtype.kind != "f":
        return values if values.dtype.kind == "u" else values.astype(np.int32) + KEYS // 2
    bits = values.astype(np.float32).view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return np.asarray(ordered >> 16)


def key_values(keys: NDArray[np.integer[Any]], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The values in the middle of bins."""
    if dtype.kind != "f":
        return keys.astype(np.float64) - (0 if dtype.kind == "u" else KEYS // 2)
    ordered = (keys.astype(np.uint32) << 16) | np.uint32(1 << 15)
    bits = np.where(ordered >> 31, ordered ^ np.uint32(1 << 31), ~ordered)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def _no_moments(bands: int) -> NDArray[np.float64]:
    return np.tile([0.0, 0.0, 0.0, np.inf, -np.inf], (bands, 1))


def merge_moments(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parallel variance: moments (band, 5) of two sets of values together (Chan, Golub and LeVeque 1979)."""
    number = a[:, 0] + b[:, 0]
    weight = np.divide(b[:, 0], number, out=np.zeros_like(number), where=number > 0)
    step = b[:, 1] - a[:, 1]
    mean = a[:, 1] + step * weight
    spread = a[:, 2] + b[:, 2] + step**2 * a[:, 0] * weight
    return np.column_stack([number, mean, spread, np.minimum(a[:, 3], b[:, 3]), np.maximum(a[:, 4], b[:, 4])])


def histograms(bands: int, dtype: str, parts: Sequence[Counts], *, train: bool) -> list[Histogram]:
    """Histograms of each band over parts: of their train pixels alone, or of all pixels with data.

    Values are exact for integers, within 1/256 of themselves for floats.
    """
    dense = np.zeros((bands, KEYS), np.int64)
    for counts in parts:
        pairs = [(counts.keys, counts.key_counts), *([] if train else [(counts.other_keys, counts.other_counts)])]
        for keys, numbers in pairs:
            for band, (key, number) in enumerate(zip(keys, numbers, strict=True)):
                dense[band, key] += number
    present = [np.flatnonzero(band) for band in dense]
    return [Histogram(key_values(keys, np.dtype(dtype)), band[keys]) for keys, band in zip(present, dense, strict=True)]


def band_statistics(names: Sequence[str], dtype: str, parts: Sequence[Counts]) -> tuple[BandStatistics, ...]:
    """Statistics of each band over all parts; empty where no part holds a train pixel.

    Minimum, maximum, mean and (population) standard deviation are exact. Percentiles are the smallest value that the
    fraction of pixels reaches: exact for integers, within 1/256 of the value for floats.
    """
    moments = _no_moments(len(names))
    for counts in parts:
        moments = merge_moments(moments, counts.moments)
    if not moments[0, 0]:
        return ()
    bands = []
    for i, name in enumerate(names):
        histogram = np.zeros(KEYS, np.int64)
        for counts in parts:
            histogram[counts.keys[i]] += counts.key_counts[i]
        reached = np.cumsum(histogram)
        ranks = np.searchsorted(reached, np.array(PERCENTILES) / 100 * reached[-1])
        number, mean, spread, low, high = (float(value) for value in moments[i])
        percentiles = key_values(ranks, np.dtype(dtype)).clip(low, high).tolist()
        bands.append(
            BandStatistics(
                name=name,
                minimum=low,
                maximum=high,
                mean=mean,
                std=float((spread / number) ** 0.5),
                percentiles=dict(zip(map(str, PERCENTILES), percentiles, strict=True)),
            )
        )
    return tuple(bands)
