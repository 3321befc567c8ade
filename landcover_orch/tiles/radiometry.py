"""Histogram matching: radiometry made like a reference tile's, by a map of values a band, applied while reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import config, raster
from landcover_orch.config import Dataset, Match
from landcover_orch.grid import blocks
from landcover_orch.raster.histogram import Histogram, distance
from landcover_orch.raster.value_maps import Knots, Tables
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import SUMMARY
from landcover_orch.store.publish import Recipe, Stage, publish
from landcover_orch.tiles.catalogue import raster_fingerprint

ASSET = "radiometry"
VERSION = 2
TABLES, KNOTS = "tables.npy", "knots.npz"
STRIP_ROWS = 512
BINS = 2**16
"""Of a histogram of floats, evenly between the least value and the largest; its knots lie as near."""

PIECE = 2**20
"""Values that are binned at a time."""


def matched(dataset: Dataset, image: raster.Raster, reference: raster.Raster, match: Match) -> raster.Raster:
    """A tile's image, each of its files read through a map that makes it like the same file of the reference."""
    rules: list[raster.Nodata] = [dataset.nodata] + ["file"] * len(image.further)
    files, others = ([replace(file, further=()) for file in stack.files] for stack in (image, reference))
    maps = (value_map(dataset, *pair, match) for pair in zip(files, others, rules, strict=True))
    first, *further = (replace(file, tables=path) for file, path in zip(files, maps, strict=True))
    return replace(first, further=tuple(further))


def value_map(
    dataset: Dataset, image: raster.Raster, reference: raster.Raster, nodata: raster.Nodata, match: Match
) -> Path:
    """The published map of values that makes a file like the reference's."""
    memory, read_options = config.home() / MEMORY, [image.read_options, str(nodata)]
    recipe = Recipe(
        asset=ASSET,
        version=VERSION,
        inputs={name: raster_fingerprint(of.path, memory) for name, of in (("image", image), ("reference", reference))},
        configuration={"match": match.match, "dtype": dataset.dtype, "reading": read_options},
    )
    dtype = np.dtype(dataset.dtype)
    floats, integers = (KNOTS, float_histograms, match_floats), (TABLES, integer_histograms, match_integers)
    file, histograms, match_bands = floats if dtype.kind == "f" else integers

    def write(stage: Stage) -> None:
        source, target = (histograms(raster.with_nodata(of, nodata), dtype) for of in (image, reference))
        bands = match_bands(source, target, dtype, raster.with_nodata(image, nodata).nodata, match.match)
        bands.save(stage.path / file)
        stage.write_json(SUMMARY, {"delivered": [distance(*pair) for pair in zip(source, target, strict=True)]})

    name = f"{image.path.stem}-{hashlib.sha256(str(image.path).encode()).hexdigest()[:8]}"
    return publish(config.home() / dataset.name / ASSET, name, recipe, write).file(file)


def unmatched(image: raster.Raster) -> list[float | None]:
    """How far each band of a matched image, as delivered, lies from the reference's; see `histogram.distance`."""
    summaries = [file.tables.with_name(SUMMARY) for file in image.files if file.tables]
    return [value for path in summaries for value in json.loads(path.read_text(encoding="utf-8"))["delivered"]]


def _strips(image: raster.Raster, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Values (band, pixel) of the pixels that hold data, strip by strip."""
    with raster.reader(image, dtype) as pixels:
        for window in blocks(image.shape, STRIP_ROWS, image.shape[1]):
            data = pixels.read(window)
            yield data[:, pixels.valid(window, data)]


def integer_histograms(image: raster.Raster, dtype: np.dtype[Any]) -> list[Histogram]:
    """The values of each band of integers."""
    low, size = int(np.iinfo(dtype).min), 2 ** (8 * dtype.itemsize)
    pixels = np.zeros((image.count, size), np.int64)
    for strip in _strips(image, dtype):
        for band, counts in zip(strip, pixels, strict=True):
            counts += np.bincount(band.view(f"u{dtype.itemsize}"), minlength=size)
    values = np.arange(low, low + size, dtype=np.float64)
    return [Histogram(values[counts > 0], counts[counts > 0]) for counts in np.roll(pixels, -low, axis=1)]


def match_integers(
    source: Sequence[Histogram], target: Sequence[Histogram], dtype: np.dtype[Any], nodata: float | None, match: str
) -> Tables:
    """The tables that make the bands of a file of integers like those of the reference's."""
    low = int(np.iinfo(dtype).min)
    lost = None if nodata is None else nodata - low

    def dense(histogram: Histogram) -> NDArray[np.int64]:  # pixels of each integer there is, in rising order
        pixels = np.zeros(2 ** (8 * dtype.itemsize), np.int64)
        pixels[histogram.values.astype(np.int64) - low] = histogram.pixels
        return pixels

    bands = zip(source, target, strict=True)
    tables = np.array([keep_nodata(table(dense(band), dense(other), match), lost) for band, other in bands]) + low
    return Tables(np.roll(tables, low, axis=1).astype(dtype))


def table(histogram: NDArray[np.int64], reference: NDArray[np.int64], match: str) -> NDArray[np.int64]:
    """What becomes of each value of a band (value,), so that its histogram comes to be like the reference's.

    By `moments`, mean and standard deviation become the reference's. By `histogram`, a value becomes the smallest that
    has at least its fraction of the reference's pixels at or below it. Rising, and itself where one has no pixel.
    """
    values = np.arange(histogram.size)
    if not histogram.any() or not reference.any():
        return values
    if match == "histogram":
        reached = np.cumsum(reference) / reference.sum()
        return np.asarray(np.minimum(np.searchsorted(reached, np.cumsum(histogram) / histogram.sum()), values[-1]))
    (mean, std), (target_mean, target_std) = _moments(histogram), _moments(reference)
    matched_values = (values - mean) * (target_std / std if std else 1.0) + target_mean
    return np.asarray(np.rint(matched_values).clip(0, values[-1]).astype(np.int64))


def _moments(histogram: NDArray[np.int64]) -> tuple[float, float]:
    values = np.arange(histogram.size)
    mean = float(np.average(values, weights=histogram))
    return mean, float(np.average((values - mean) ** 2, weights=histogram) ** 0.5)


def keep_nodata(table: NDArray[np.int64], nodata: float | None) -> NDArray[np.int64]:
    """The table with nodata as it was, and as what no other value becomes."""
    if nodata is None or not float(nodata).is_integer() or not 0 <= nodata < table.size:
        return table
    value = int(nodata)
    neighbour = value + 1 if value + 1 < table.size else value - 1
    safe = np.where(table == value, neighbour, table)
    safe[value] = value
    return safe


def match_floats(
    source: Sequence[Histogram], target: Sequence[Histogram], dtype: np.dtype[Any], nodata: float | None, match: str
) -> Knots:
    """The knots that make the bands of a file of floats like those of the reference's."""
    ends, added = zip(*(knots(*pair, match) for pair in zip(source, target, strict=True)), strict=True)
    return Knots(np.array(ends), np.array(added), float("nan") if nodata is None else nodata)


def knots(histogram: Histogram, reference: Histogram, match: str) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """The first and the last of even knots over the values of a band, and what is added at each (see `Knots`).

    By `moments`, two: mean and standard deviation come to be the reference's. By `histogram`, a value becomes the one
    that has its fraction of the reference's pixels below it, half of those at it counted. Nothing is added where one
    has no pixel.
    """
    count = 2 if match == "moments" else BINS + 1
    if not histogram.pixels.any() or not reference.pixels.any():
        return (0.0, 1.0), np.zeros(count)
    low, high = histogram.values[[0, -1]].tolist()
    high = high if high > low else low + abs(low) + 1
    values = np.linspace(low, high, count)
    if match == "moments":
        gain = reference.std / histogram.std if histogram.values.size > 1 else 1.0
        return (low, high), (values - histogram.mean) * gain + reference.mean - values
    return (low, high), reference.quantiles(np.interp(values, histogram.values, histogram.fractions)) - values


def float_histograms(image: raster.Raster, dtype: np.dtype[Any]) -> list[Histogram]:
    """The values of each band of floats, binned evenly between the least and the largest, which a first pass finds."""
    low, high = np.full(image.count, np.inf), np.full(image.count, -np.inf)
    for strip in _bands(image, dtype):
        low = np.minimum(low, [band.min(initial=np.inf) for band in strip])
        high = np.maximum(high, [band.max(initial=-np.inf) for band in strip])
    binned = [BinnedCounts(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]
    for strip in _bands(image, dtype):
        for bins, band in zip(binned, strip, strict=True):
            bins.add(band)
    return [bins.histogram() for bins in binned]


def _bands(image: raster.Raster, dtype: np.dtype[Any]) -> Iterator[list[NDArray[Any]]]:
    """Values of each band, strip by strip; a pixel that holds data in another band may be nodata in this one."""
    for strip in _strips(image, dtype):
        yield [band[band != image.nodata] for band in strip]


class BinnedCounts:
    """Streaming histogram: values counted in even bins; each bin stands for the mean of its values."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._width = low, (high - low) / BINS or 1.0
        self._pixels, self._sums = np.zeros(BINS, np.int64), np.zeros(BINS)

    def add(self, values: NDArray[Any]) -> None:
        """Counts values (pixel,) between the bounds."""
        for start in range(0, values.size, PIECE):
            piece = values[start : start + PIECE].astype(np.float64)
            bins = ((piece - self._low) / self._width).astype(np.int64).clip(max=BINS - 1)
            self._pixels += np.bincount(bins, minlength=BINS)
            self._sums += np.bincount(bins, piece, BINS)

    def histogram(self) -> Histogram:
        """What was counted."""
        filled = self._pixels > 0
        return Histogram(self._sums[filled] / self._pixels[filled], self._pixels[filled])
