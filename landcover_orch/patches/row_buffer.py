"""Row buffer: pixels for windows that go down a tile, each row decoded once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.grid import Window
from landcover_orch.raster import Reader


class RowBuffer:
    """Row buffer: cuts windows from a raster, in the order of their rows, keeping only the rows that are still needed.

    Pixels without data, and pixels over the tile's edge, hold `fill`.
    """

    def __init__(self, source: Reader, *, fill: int) -> None:
        self._source, self._fill = source, fill
        self._height, self._width = source.raster.shape
        self._top, self._rows = 0, np.empty((source.raster.count, 0, self._width))

    def cut(self, window: Window) -> NDArray[Any]:
        """Pixels (band, y, x) of a window whose row is not above that of the window before."""
        inside = window.within((self._height, self._width))
        self._advance(inside.row, inside.row + inside.height)
        rows = slice(inside.row - self._top, inside.row - self._top + inside.height)
        data = self._rows[:, rows, inside.col : inside.col + inside.width]
        if inside == window:
            return data
        padding = ((0, 0), (0, window.height - inside.height), (0, window.width - inside.width))
        return np.pad(data, padding, constant_values=self._fill)

    def _advance(self, top: int, bottom: int) -> None:
        end = self._top + self._rows.shape[1]
        if bottom <= end and top >= self._top:
            return
        remaining = self._rows[:, top - self._top :] if self._top <= top < end else self._rows[:, :0].copy()
        self._rows = remaining  # frees the rows above before more are read
        first = top + remaining.shape[1]
        window = Window(first, 0, bottom - first, self._width)
        data = self._source.read(window)
        if self._source.may_be_invalid:
            invalid = ~self._source.valid(window, data)
            if invalid.any():
                data[:, invalid] = self._fill
        self._rows = np.concatenate([remaining, data], axis=1) if remaining.size else data
        self._top = top
