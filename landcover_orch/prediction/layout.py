"""Sliding-window layout of a tile, and the parts in which its map is finished and stored. No IO."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from landcover_orch.grid import Window, starts
from landcover_orch.prediction.blend import UNIT, total_profile

PART = 512
"""Rows of a finished part, and the unit of a band's width: the block side of the rasters the parts become."""

BUDGET = 96 * 2**20
"""Bytes for sums and strips of pixels; it sets how wide a band may be."""

STRIPS = 4
"""Strips in memory at once: one being read, one read, and two under the network."""


@dataclass(frozen=True)
class Layout:
    """Sliding windows of `size` pixels, `stride` apart, anchored at a tile's origin, the last pulled back to its edge.

    A tile smaller than a window has one window, which reaches over its lower and right edge.
    """

    shape: tuple[int, int]
    size: int
    stride: int

    @cached_property
    def rows(self) -> list[int]:
        """First rows of the windows."""
        return starts(max(self.shape[0], self.size), self.size, self.stride)

    @cached_property
    def cols(self) -> list[int]:
        """First columns of the windows."""
        return starts(max(self.shape[1], self.size), self.size, self.stride)

    @cached_property
    def totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sum of the windows' weights at each row and at each column; a pixel's weight is the product of its two."""
        rows, cols = (
            total_profile(length, self.size, begins)
            for length, begins in zip(self.shape, (self.rows, self.cols), strict=True)
        )
        return rows, cols

    @cached_property
    def sum_bytes(self) -> int:
        """Bytes that hold any fixed-point sum: 4, or 8 where windows lie more than about three deep."""
        return 4 if UNIT * int(self.totals[0].max()) * int(self.totals[1].max()) < 2**31 else 8

    def width(self, classes: int, pixel_bytes: int, layers: int, budget: int) -> int:
        """Columns whose sums, strips and parts fit the budget.

        Args:
            classes: number of sums a pixel.
            pixel_bytes: of all bands of one pixel.
            layers: bytes of a pixel that are stored in a part, and in the rows it is assembled from.
            budget: bytes.
        """
        return budget // (
            self.size * (classes * self.sum_bytes + STRIPS * pixel_bytes + 2 * layers) + 2 * PART * layers
        )

    def bands(self, width: int) -> list[tuple[int, int]]:
        """Column ranges that cover the tile, of equal width up to `PART`, at most `width` (rounded to `PART`) wide."""
        blocks = -(-self.shape[1] // PART)
        count = -(-blocks // max(width // PART, 1))
        edges = [min(PART * (blocks * i // count), self.shape[1]) for i in range(count)] + [self.shape[1]]
        return list(pairwise(edges))


@dataclass(frozen=True)
class Run:
    """Rows `top` to `bottom` of the columns `left` to `right`: predicted from top to bottom in one go."""

    layout: Layout
    top: int
    bottom: int
    left: int
    right: int

    @cached_property
    def rows(self) -> list[int]:
        """First rows of the windows that reach into the run."""
        return [r for r in self.layout.rows if r < self.bottom and r + self.layout.size > self.top]

    @cached_property
    def cols(self) -> list[int]:
        """First columns of the windows that reach into the run."""
        return [c for c in self.layout.cols if c < self.right and c + self.layout.size > self.left]

    @property
    def reach(self) -> tuple[int, int]:
        """Columns that the run's windows cover; they may reach over a small tile's edge."""
        return self.cols[0], self.cols[-1] + self.layout.size

    def finished(self, index: int) -> tuple[int, int]:
        """Rows of the run that no window after those of window row `index` touches, and no earlier call gave."""
        begin = self.rows[index]
        end = self.rows[index + 1] if index + 1 < len(self.rows) else begin + self.layout.size
        return max(begin, self.top), min(end, self.bottom)

    @property
    def parts(self) -> list[Window]:
        """The run cut into parts, from top to bottom."""
        height, width = self.bottom - self.top, self.right - self.left
        return [Window(self.top + row, self.left, min(PART, height - row), width) for row in range(0, height, PART)]


def runs(layout: Layout, width: int, done: frozenset[Window] = frozenset()) -> list[Run]:
    """The runs that remain to predict: every band cut where parts are already done."""
    remaining = []
    for left, right in layout.bands(width):
        top: int | None = None
        for part in Run(layout, 0, layout.shape[0], left, right).parts:
            if part in done:
                if top is not None:
                    remaining.append(Run(layout, top, part.row, left, right))
                top = None
            elif top is None:
                top = part.row
        if top is not None:
            remaining.append(Run(layout, top, layout.shape[0], left, right))
    return remaining
