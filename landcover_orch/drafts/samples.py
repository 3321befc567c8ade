"""Pixel sample: what values say of a raster, from all pixels of a small one, from some windows of a large one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.checks.training_data import MAX_PIXELS, STRIP_ROWS, sample_windows
from landcover_orch.grid import blocks
from landcover_orch.raster import Raster, reader

MAX_CODES = 64
"""Distinct values, or colours, up to which a raster may hold labels."""


@dataclass(frozen=True)
class PixelSample:
    """Counts of a raster's pixels: `complete` says that all were read.

    `codes` counts each value of one band of whole numbers, or each colour '#rrggbb' of three bands of bytes; None where
    there are more than `MAX_CODES`. `tagged` pixels have the nodata value in some band, `hidden` in all; `zeros` are 0
    in all bands, and `corners` of the four corners are so. `low` and `high` are the extremes.
    """

    pixels: int = 0
    complete: bool = True
    codes: dict[str, int] | None = None
    tagged: int = 0
    hidden: int = 0
    zeros: int = 0
    corners: int = 0
    low: float = float("inf")
    high: float = float("-inf")


def sample(raster: Raster) -> PixelSample:
    """The sample of a raster.

    Raises:
        RasterError: a block is truncated or corrupt.
    """
    complete = raster.shape[0] * raster.shape[1] <= MAX_PIXELS
    boxes = blocks(raster.shape, STRIP_ROWS, raster.shape[1]) if complete else sample_windows(raster.shape)
    bottom, right = raster.shape
    result, codes = PixelSample(complete=complete), _Codes(raster)
    with reader(raster, nodata="none") as source:
        for box in boxes:
            data = source.read(box)
            hit, zero = data == raster.nodata, (data == 0).all(axis=0)
            rows = [row for row in (0, box.height - 1) if box.row + row in (0, bottom - 1)]
            cols = [col for col in (0, box.width - 1) if box.col + col in (0, right - 1)]
            values = data[np.isfinite(data)]
            codes.add(data)
            result = replace(
                result,
                pixels=result.pixels + zero.size,
                tagged=result.tagged + int(hit.any(axis=0).sum()),
                hidden=result.hidden + int(hit.all(axis=0).sum()),
                zeros=result.zeros + int(zero.sum()),
                corners=result.corners + sum(bool(zero[row, col]) for row in set(rows) for col in set(cols)),
                low=min(result.low, float(values.min()) if values.size else result.low),
                high=max(result.high, float(values.max()) if values.size else result.high),
            )
    return replace(result, codes=codes.counts)


class _Codes:
    """Counts of the distinct values or colours of a raster, while they are few."""

    def __init__(self, raster: Raster) -> None:
        whole_numbers = np.dtype(raster.dtype).kind in "iu"
        self._colour = raster.count == 3 and raster.dtype == "uint8"
        self.counts: dict[str, int] | None = {} if self._colour or (whole_numbers and raster.count == 1) else None

    def add(self, data: NDArray[Any]) -> None:
        """Counts the pixels (band, y, x) of a window."""
        if self.counts is None:
            return
        if self._colour:
            red, green, blue = data.astype(np.int32)
            data = red << 16 | green << 8 | blue
        values, numbers = np.unique(data, return_counts=True)
        if len(values) > MAX_CODES:
            self.counts = None
            return
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            code = f"#{value:06x}" if self._colour else str(value)
            self.counts[code] = self.counts.get(code, 0) + number
        if len(self.counts) > MAX_CODES:
            self.counts = None
