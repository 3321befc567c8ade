"""Smoothing of a tile by a Markov random field: block by block, each with a margin that is discarded.

Iterated conditional modes and annealing depend on nothing beyond their reach: with a margin that wide, blocks of any
size give the labelling of the whole tile, bit for bit, and memory decides their size. A cut may depend on far pixels:
there the blocks are defined, cells of `CELL` pixels from the tile's origin, each cut with `MARGIN` pixels around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config.experiments import Smoothing
from landcover_orch.grid import Window, blocks
from landcover_orch.legend import IGNORE
from landcover_orch.models.contract import Contract
from landcover_orch.prediction.blend import STEPS
from landcover_orch.prediction.potts import STEPS_A_NAT, Field, field
from landcover_orch.prediction.smoothing import reach, smooth
from landcover_orch.prediction.source import ImageSource
from landcover_orch.raster import Reader, reader
from landcover_orch.store.publish import Stage

CELL, MARGIN = 256, 32
"""Side of the cells of a graph cut, and the margin around them, in pixels."""

LEAST = 128
"""Smallest side of a block: below, margins would be most of the work."""

UNARY_COSTS = slice(2, None)
"""Layers of the first pass behind class and confidence: unary costs."""

Layers = NDArray[np.uint8]


@dataclass(frozen=True)
class Mosaic:
    """A tile's layers (layer, y, x) in pieces, a file each."""

    pieces: Mapping[Window, Path]

    def read(self, window: Window) -> Layers:
        """The layers of a window, which may lie in several pieces."""
        layers: Layers | None = None
        for piece, path in self.pieces.items():
            overlap = intersection(piece, window)
            if overlap.height > 0 and overlap.width > 0:
                stored = np.load(path, mmap_mode="r")
                if layers is None:
                    layers = np.empty((len(stored), window.height, window.width), np.uint8)
                layers[:, *_inside(overlap, window)] = stored[:, *_inside(overlap, piece)]
        if layers is None:
            raise ValueError(f"no piece holds any of {window}")
        return layers

    def layer(self, index: int) -> Iterator[tuple[Window, Layers]]:
        """Each piece's window and one of its layers (y, x)."""
        return ((piece, np.array(np.load(path, mmap_mode="r")[index])) for piece, path in self.pieces.items())


def intersection(a: Window, b: Window) -> Window:
    """The overlap of two windows; its height or width is not positive where there is none."""
    row, col = max(a.row, b.row), max(a.col, b.col)
    bottom, right = min(a.row + a.height, b.row + b.height), min(a.col + a.width, b.col + b.width)
    return Window(row, col, bottom - row, right - col)


def _inside(window: Window, outer: Window) -> tuple[slice, slice]:
    return Window(window.row - outer.row, window.col - outer.col, window.height, window.width).slices


def _around(window: Window, margin: int, shape: tuple[int, int]) -> Window:
    row, col, height, width = window
    return Window(row - margin, col - margin, height + 2 * margin, width + 2 * margin).within(shape)


@dataclass(frozen=True)
class Smoother:
    """Smoother of a tile: its first pass, its image, and the prior of the random field."""

    first: Mosaic
    image: ImageSource
    contract: Contract
    prior: Smoothing
    budget: int

    def run(self, stage: Stage, folder: Path) -> Mosaic:
        """The smoothed classes and their confidence, a file a block below `folder`; blocks that are done stay."""
        side, margin = self.blocks
        shape = self.image.raster.shape
        pieces = {w: folder / f"s{side:05d}-r{w.row:06d}-c{w.col:06d}.npy" for w in blocks(shape, side, side)}
        with self._pixels() as pixels:
            for window, file in pieces.items():
                name = file.relative_to(stage.path).as_posix()
                if not stage.done(name):
                    np.save(file, self.smooth_block(window, margin, pixels))
                    stage.mark(name, file)
        return Mosaic(pieces)

    def energies(self, second: Mosaic) -> tuple[float, float, int]:
        """Energy of the tile before and after in nats, and how many pixels changed."""
        before = after = changed = 0
        shape, (side, _) = self.image.raster.shape, self.blocks
        with self._pixels() as pixels:
            for window in blocks(shape, side, side):
                around = _around(window, 1, shape)
                part, inside = self._field(around, pixels), _inside(window, around)
                smoothed = second.read(around)[0]
                before += part.energy(part.best, *inside)
                after += part.energy(smoothed, *inside)
                changed += int(np.count_nonzero((part.best != smoothed)[inside]))
        return before / STEPS_A_NAT, after / STEPS_A_NAT, changed

    @property
    def blocks(self) -> tuple[int, int]:
        """Side of a block and width of its margin, in pixels."""
        margin = reach(self.prior)
        if margin is None:
            return CELL, MARGIN
        bands = 0 if self.prior.sigma is None else len(self.contract.bands)
        pixel_bytes = 2 * len(self.contract.legend.classes) + 4 * self.prior.neighbours + 16 + 12 * bands
        return max((isqrt(self.budget // pixel_bytes) - 2 * margin) // LEAST * LEAST, LEAST), margin

    def smooth_block(self, window: Window, margin: int, pixels: Reader | None) -> Layers:
        """Smoothed classes and confidence (2, y, x) of a block, computed with a margin around it."""
        around = _around(window, margin, self.image.raster.shape)
        part, inside = self._field(around, pixels), _inside(window, around)
        classes = smooth(part, self.prior, (around.row, around.col))[inside]
        before, confidence = self.first.read(window)[:2]
        return np.stack(
            [classes, np.where(classes == before, confidence, confidence_of(part.unary_costs[:, *inside], classes))]
        )

    def _field(self, window: Window, pixels: Reader | None) -> Field:
        layers = self.first.read(window)
        image = None if pixels is None else self.standardised(pixels.read(window))
        return field(layers[UNARY_COSTS], layers[0] != IGNORE, self.prior, image)

    def standardised(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Pixels (band, y, x) in band standard deviations of the training data, 0 where there is no value."""
        standardised = np.empty(image.shape, np.float32)
        for band, mean, std, values in zip(standardised, self.contract.mean, self.contract.std, image, strict=True):
            np.multiply(values.astype(np.float32) - np.float32(mean), np.float32(1 / std if std > 0 else 1), out=band)
        return np.nan_to_num(standardised, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def _pixels(self) -> AbstractContextManager[Reader | None]:
        image = self.image
        return nullcontext() if self.prior.sigma is None else reader(image.raster, image.dtype, image.nodata)


def confidence_of(costs: Layers, classes: Layers) -> Layers:
    """Confidence: the probability of the classes (y, x) in steps of 1/254, from their unary costs; 255 without data."""
    table = np.rint(STEPS * np.exp(-np.arange(256) / STEPS_A_NAT)).astype(np.uint8)
    known = classes != IGNORE
    chosen = np.take_along_axis(costs, np.where(known, classes, 0)[None].astype(np.int64), 0)[0]
    return np.where(known, table[chosen], np.uint8(IGNORE))
