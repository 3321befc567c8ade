"""The band along borders between classes that is neither trained nor scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landcover_orch.legend import IGNORE

Classes = NDArray[np.uint8]


def band(classes: Classes, width: int) -> NDArray[np.bool_]:
    """Where another class lies within `width` pixels, diagonals included (y, x); ignored pixels make no border."""
    if not width:
        return np.zeros(classes.shape, bool)
    size = 2 * width + 1
    lowest = ndimage.minimum_filter(classes, size, mode="nearest")
    shifted = classes + np.uint8(1)  # 255 wraps to 0, so that ignore never is the highest
    highest = ndimage.maximum_filter(shifted, size, mode="nearest")
    return np.asarray((classes != IGNORE) & (highest != lowest + np.uint8(1)))


def bands(strips: Iterable[Classes], width: int) -> Iterator[tuple[Classes, NDArray[np.bool_]]]:
    """Each strip of a tile (top to bottom, whole rows) with its band, as if the tile were one array.

    A strip is judged once the rows below it are known; strips must be at least `width` rows high, but for the last.
    """
    above: Classes | None = None
    here: Classes | None = None
    for below in strips:
        if here is not None:
            yield here, _middle(above, here, below, width)
        above, here = here, below
    if here is not None:
        yield here, _middle(above, here, None, width)


def _middle(above: Classes | None, here: Classes, below: Classes | None, width: int) -> NDArray[np.bool_]:
    head = here[:0] if above is None else above[above.shape[0] - min(width, above.shape[0]) :]
    tail = here[:0] if below is None else below[:width]
    found = band(np.concatenate([head, here, tail]), width)
    return found[head.shape[0] : head.shape[0] + here.shape[0]]
