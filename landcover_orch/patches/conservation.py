"""Conservation check: do the patches hold what the ground truth says, every pixel that they cover counted once?"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from landcover_orch import raster
from landcover_orch.grid import Window
from landcover_orch.labels.codes import tally
from landcover_orch.legend import IGNORE
from landcover_orch.patches import store
from landcover_orch.patches.row_buffer import RowBuffer
from landcover_orch.patches.shards import Shards

Counts = NDArray[np.int64]


class Covered(NamedTuple):
    """Pixels by value (0 to 255, which is ignored) at the pixels that patches cover, each once.

    `held` are those of the patches, `truth` those of the class raster; `different` pixels are not the same in both.
    """

    held: Counts
    truth: Counts
    different: int


def covered(path: Path, classes: Path) -> Covered:
    """What a patch store holds, beside the class raster it was cut from; memory grows with the tile's width alone.

    Raises:
        IncompleteError: a patch is not there, or its bytes are not what was written.
    """
    index = store.read_index(path)
    counts = Covered(np.zeros(IGNORE + 1, np.int64), np.zeros(IGNORE + 1, np.int64), 0)
    if not len(index):
        return counts
    size = int(store.open_array(path, store.LABEL).shape[-1])
    source = raster.inspect(classes)
    mask, shards, label = CoverageMask(source.shape, size), Shards(), np.empty((size, size), np.uint8)
    with raster.reader(source, nodata="none") as reader:
        rows, boxes, different = RowBuffer(reader, fill=IGNORE), index.windows(size), 0
        for position in np.argsort(index.row, kind="stable").tolist():
            new = mask.take(boxes[position])
            if not new.any():
                continue
            shards.read(path, store.LABEL, position, label)
            held, truth = label[new], rows.cut(boxes[position])[0][new]
            counts.held[:] += tally(held, IGNORE + 1)
            counts.truth[:] += tally(truth, IGNORE + 1)
            different += int((held != truth).sum())
    return Covered(counts.held, counts.truth, different)


class CoverageMask:
    """Coverage mask: which pixels of windows that go down a tile no window before has covered."""

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        self._shape, self._top = shape, 0
        self._seen = np.zeros((size, shape[1]), bool)

    def take(self, window: Window) -> NDArray[np.bool_]:
        """The pixels (y, x) of a window inside the tile that are new, and are not from now on."""
        by = min(window.row - self._top, len(self._seen))
        if by:
            self._seen[: len(self._seen) - by] = self._seen[by:].copy()
            self._seen[len(self._seen) - by :] = False
            self._top = window.row
        inside = window.within(self._shape)
        columns = slice(inside.col, inside.col + inside.width)
        seen = self._seen[: inside.height, columns]
        new = np.zeros((window.height, window.width), bool)
        new[: inside.height, : inside.width] = ~seen
        seen[:] = True
        return new
