"""Sliding-window prediction of a tile, row of windows after row of windows, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray

from landcover_orch.grid import Window
from landcover_orch.prediction.blend import blank, decide, unary_costs
from landcover_orch.prediction.forward import Forward
from landcover_orch.prediction.layout import Run
from landcover_orch.prediction.potts import cost_table
from landcover_orch.prediction.source import Strip

Maps = NDArray[np.uint8]
"""Classes and confidence, and for smoothing the cost of each class: (layer, y, x)."""

PIECE = 1024
"""Columns decided at a time: what deciding needs besides the sums stays a few megabytes."""


class Sums:
    """The fixed-point sums under one row of windows of a run; they move down with it."""

    def __init__(self, run: Run, classes: int, device: torch.device, with_costs: bool = False) -> None:
        layout, (left, right) = run.layout, run.reach
        dtype = torch.int32 if layout.sum_bytes == 4 else torch.int64
        self.run = run
        self._layers = 2 + classes * with_costs
        self._table = torch.from_numpy(cost_table()).to(device) if with_costs else None
        self._sums = torch.zeros((classes, layout.size, right - left), dtype=dtype, device=device)
        self._rows, self._cols = (torch.from_numpy(total).to(device) for total in layout.totals)

    def add(self, col: int, weighted: torch.Tensor) -> None:
        """Adds a window's weighted probabilities (class, y, x) at a column of the strip."""
        self._sums[:, :, col : col + weighted.shape[2]].add_(weighted)

    def finish(self, strip: Strip) -> Maps:
        """The rows of the run that the strip's windows complete; the sums then stand under the next row of windows."""
        run, begin = self.run, self.run.rows[strip.index]
        top, bottom = run.finished(strip.index)
        rows = slice(top - begin, max(bottom, top) - begin)
        maps = np.empty((self._layers, rows.stop - rows.start, run.right - run.left), np.uint8)
        for left in range(run.left, run.right, PIECE):
            right = min(left + PIECE, run.right)
            maps[:, :, left - run.left : right - run.left] = self.decide(strip, rows, left, right)
        if strip.index + 1 < len(run.rows):
            self.scroll(run.rows[strip.index + 1] - begin)
        return maps

    def decide(self, strip: Strip, rows: slice, left: int, right: int) -> Maps:
        """Maps of some rows of the sums between two columns of the tile."""
        begin, cols = self.run.rows[strip.index], slice(left - self.run.reach[0], right - self.run.reach[0])
        weights = self._rows[begin + rows.start : begin + rows.stop], self._cols[left:right]
        sums = self._sums[:, rows, cols]
        layers = np.stack(decide(sums, *weights))
        if self._table is not None:
            layers = np.concatenate([layers, unary_costs(sums, layers[0], *weights, self._table)])
        return blank(layers, strip.valid[rows, cols])

    def scroll(self, down: int) -> None:
        """Scrolls the sums down by some rows, in place."""
        keep = self._sums.shape[1] - down
        for layer in self._sums:
            layer[:keep] = layer[down:].clone()
            layer[keep:] = 0


def finished_rows(
    strips: Iterable[Strip], forward: Forward, classes: int, batch: int, with_costs: bool = False
) -> Iterator[Maps]:
    """Rows of the map as they are completed, run by run and from top to bottom; with unary energies if asked."""
    sums: Sums | None = None
    for strip, windows in groupby(forward_windows(strips, forward, batch), key=itemgetter(0)):
        if sums is None or sums.run is not strip.run:
            sums = Sums(strip.run, classes, forward.device, with_costs)
        for _, col, weighted in windows:
            sums.add(col, weighted)
        yield sums.finish(strip)


def forward_windows(strips: Iterable[Strip], forward: Forward, batch: int) -> Iterator[tuple[Strip, int, torch.Tensor]]:
    """Each window's strip, column and weighted probabilities, `batch` windows at a time (whole groups)."""
    windows = ((strip, col, pixels) for strip in strips for col, pixels in strip.windows())
    size = -(-batch // forward.group) * forward.group
    while batch_windows := list(islice(windows, size)):
        results = forward.weighted([pixels for _, _, pixels in batch_windows])
        yield from ((strip, col, weighted) for (strip, col, _), weighted in zip(batch_windows, results, strict=True))


def parts(rows: Iterable[Maps], windows: Iterable[Window]) -> Iterator[tuple[Window, Maps]]:
    """The same rows regrouped into parts, whose windows follow one another as the rows do."""
    remaining = iter(rows)
    left = next(remaining, np.empty((0, 0, 0), np.uint8))
    for part in windows:
        maps, filled = np.empty((len(left), part.height, part.width), np.uint8), 0
        while filled < part.height:
            left = left if left.shape[1] else next(remaining)
            take = min(part.height - filled, left.shape[1])
            maps[:, filled : filled + take] = left[:, :take]
            left, filled = left[:, take:], filled + take
        yield part, maps
