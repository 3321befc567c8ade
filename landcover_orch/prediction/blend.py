"""Blending of overlapping windows by fixed-point sums, so that no order of adding matters.

A window's probabilities are multiplied by a weight that is high in its centre and positive everywhere, and cut to
whole numbers. Sums of whole numbers are exact: the map is the same whatever the batches, blocks and interruptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from landcover_orch.legend import IGNORE
from landcover_orch.prediction.potts import PROBABILITY_ONE

if TYPE_CHECKING:
    import torch

PEAK = 60
"""Weight of a window's centre along one axis; its edge has 1. Three windows deep on both axes still fit 32 bits."""

UNIT = 65_535
"""Fixed-point value of probability 1 under weight 1."""

STEPS = 254
"""Confidence is stored in steps of 1/254; 255 is no data."""


def profile(size: int) -> NDArray[np.int64]:
    """Weights along one axis of a window of `size` pixels: a triangle from 1 at the edges to `PEAK` in the middle."""
    depth = np.minimum(np.arange(size), np.arange(size)[::-1])
    return 1 + (PEAK - 1) * depth // max((size - 1) // 2, 1)


def total_profile(length: int, size: int, starts: Sequence[int]) -> NDArray[np.int64]:
    """Sum, at each of the `length` pixels of an axis, of the profiles of all windows at `starts`."""
    total, window = np.zeros(max(length, starts[-1] + size), np.int64), profile(size)
    for start in starts:
        total[start : start + size] += window
    return total[:length]


def window_weight(size: int) -> NDArray[np.float32]:
    """Blending weights (y, x) of a window's probabilities, in fixed point."""
    weights = profile(size)
    return (UNIT * weights[:, None] * weights).astype(np.float32)


def decide(sums: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Argmax of the blended sums: the class (the lowest id of equals) and its confidence in steps of 1/254, (y, x).

    Args:
        sums: fixed-point sums (class, y, x).
        rows: total profile of the rows, int64.
        cols: total profile of the columns, int64.
    """
    import torch

    best = sums[0].clone()
    classes = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for k in range(1, len(sums)):
        classes.masked_fill_(sums[k] > best, k)
        torch.maximum(best, sums[k], out=best)
    total_weight = UNIT * rows[:, None] * cols
    confidence = (2 * STEPS * best.to(torch.int64) + total_weight) // (2 * total_weight)
    return classes.cpu().numpy(), confidence.to(torch.uint8).cpu().numpy()


def unary_costs(
    sums: torch.Tensor, classes: NDArray[np.uint8], rows: torch.Tensor, cols: torch.Tensor, table: torch.Tensor
) -> NDArray[np.uint8]:
    """Unary energies of a random field (class, y, x): looked up by probability, so that bits follow from the sums.

    The decided class costs less than any other, by a step at least: without neighbours the field decides the same.

    Args:
        sums: fixed-point sums (class, y, x).
        classes: the decided classes (y, x).
        rows: total profile of the rows, int64.
        cols: total profile of the columns, int64.
        table: cost of each probability; see `potts.cost_table`.
    """
    import torch

    total_weight = UNIT * rows[:, None] * cols
    unary = torch.stack(
        [
            table[((PROBABILITY_ONE * total.long() + total_weight // 2) // total_weight).clamp_(0, PROBABILITY_ONE)]
            for total in sums
        ]
    )
    chosen = torch.from_numpy(classes).to(sums.device).long()[None]
    least = unary.gather(0, chosen).clamp_(max=254)
    return torch.maximum(unary, least + 1).scatter_(0, chosen, least).cpu().numpy()


def blank(values: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The values with 255 where the image holds no data."""
    return np.where(valid, values, np.uint8(IGNORE))
