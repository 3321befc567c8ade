"""Pixels for windows that move down a tile: each row is decoded once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.grid import Window
from landcover_orch.raster import Reader


class Rows:
    """Cuts windows from a raster, in the order of their rows, keeping only the rows that are still needed.

    Pixels without data, and pixels over the tile's edge, hold `fill`.
    """

    def __init__(self, source: Reader, *, fill: int) -> None:
        self._source, self._fill = source, fill
        self._height, self._width = source.raster.shape
        self._top, self._held = 0, np.empty((source.raster.count, 0, self._width))

    def cut(self, window: Window) -> NDArray[Any]:
        """Pixels (band, y, x) of a window whose row is not above that of the window before."""
        inside = window.within((self._height, self._width))
        self._move(inside.row, inside.row + inside.height)
        rows = slice(inside.row - self._top, inside.row - self._top + inside.height)
        data = self._held[:, rows, inside.col : inside.col + inside.width]
        if inside == window:
            return data
        padding = ((0, 0), (0, window.height - inside.height), (0, window.width - inside.width))
        return np.pad(data, padding, constant_values=self._fill)

    def _move(self, top: int, bottom: int) -> None:
        end = self._top + self._held.shape[1]
        if bottom > end or top < self._top:
            kept = self._held[:, top - self._top :] if self._top <= top < end else self._held[:, :0].copy()
            self._held = kept  # frees the rows above before more are read
            fresh = self._read(top + kept.shape[1], bottom)
            self._held = np.concatenate([kept, fresh], axis=1) if kept.size else fresh
            self._top = top

    def _read(self, top: int, bottom: int) -> NDArray[Any]:
        window = Window(top, 0, bottom - top, self._width)
        data = self._source.read(window)
        if self._source.may_be_invalid:
            invalid = ~self._source.valid(window, data)
            if invalid.any():
                data[:, invalid] = self._fill
        return data
