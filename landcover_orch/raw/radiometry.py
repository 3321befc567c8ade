"""Radiometry of another year or flight made like a reference tile's: a look-up table a band, applied while reading."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landcover_orch import config, raster
from landcover_orch.config import Dataset, Match
from landcover_orch.fingerprint import MEMORY, fingerprint
from landcover_orch.grid import blocks
from landcover_orch.publish import Stage, publish

ASSET = "radiometry"
VERSION = 1
TABLES = "tables.npy"
STRIP_ROWS = 512

Histograms = NDArray[np.int64]
"""Pixels with data of each value (band, value)."""


def tables(dataset: Dataset, image: raster.Raster, reference: raster.Raster, match: Match) -> Path:
    """The published file of tables (band, value) that make a tile's radiometry like the reference's."""
    memory, reading = config.home() / MEMORY, [image.reading, str(dataset.nodata)]
    recipe = {
        "room": ASSET,
        "version": VERSION,
        "inputs": {"image": fingerprint(image.path, memory), "reference": fingerprint(reference.path, memory)},
        "configuration": {"match": match.match, "dtype": dataset.dtype, "reading": reading},
    }

    def write(stage: Stage) -> None:
        own, wanted = _histograms(image, dataset), _histograms(reference, dataset)
        nodata = raster.ruled(image, dataset.nodata).nodata
        made = [kept(table(one, other, match.match), nodata) for one, other in zip(own, wanted, strict=True)]
        np.save(stage.path / TABLES, np.array(made, dataset.dtype))

    name = f"{image.path.stem}-{hashlib.sha256(str(image.path).encode()).hexdigest()[:8]}"
    return publish(config.home() / dataset.name / ASSET, name, recipe, write).file(TABLES)


def _histograms(image: raster.Raster, dataset: Dataset) -> Histograms:
    found = np.zeros((image.count, np.iinfo(dataset.dtype).max + 1), np.int64)
    with raster.reader(image, dataset.dtype, dataset.nodata) as pixels:
        for window in blocks(image.shape, STRIP_ROWS, image.shape[1]):
            data = pixels.read(window)
            valid = pixels.valid(window, data)
            for band, counts in zip(data, found, strict=True):
                counts += np.bincount(band[valid], minlength=counts.size)
    return found


def table(found: NDArray[np.int64], reference: NDArray[np.int64], match: str) -> NDArray[np.int64]:
    """What becomes of each value of a band (value,), so that its histogram comes to be like the reference's.

    By `moments`, mean and standard deviation are moved to the reference's. By `histogram`, a value becomes the smallest
    that has at least its share of the reference's pixels at or below it. Rising, and itself where one has no pixel.
    """
    values = np.arange(found.size)
    if not found.any() or not reference.any():
        return values
    if match == "histogram":
        reached = np.cumsum(reference) / reference.sum()
        return np.asarray(np.minimum(np.searchsorted(reached, np.cumsum(found) / found.sum()), values[-1]))
    (mean, std), (wanted, spread) = _moments(found), _moments(reference)
    moved = (values - mean) * (spread / std if std else 1.0) + wanted
    return np.asarray(np.rint(moved).clip(0, values[-1]).astype(np.int64))


def _moments(histogram: NDArray[np.int64]) -> tuple[float, float]:
    values = np.arange(histogram.size)
    mean = float(np.average(values, weights=histogram))
    return mean, float(np.average((values - mean) ** 2, weights=histogram) ** 0.5)


def kept(one: NDArray[np.int64], nodata: float | None) -> NDArray[np.int64]:
    """The table with nodata as it was, and as what no other value becomes."""
    if nodata is None or not float(nodata).is_integer() or not 0 <= nodata < one.size:
        return one
    value = int(nodata)
    neighbour = value + 1 if value + 1 < one.size else value - 1
    safe = np.where(one == value, neighbour, one)
    safe[value] = value
    return safe
