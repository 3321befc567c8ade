"""Padding of inputs to a multiple, for networks that halve theirs several times."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """`x` (n, band, y, x) with its last rows and columns repeated until both sides divide by `multiple`.

    The padding lies below and to the right, so that cropping to the old size restores the positions. What would be one
    cell alone becomes two: batch-norm cannot learn from a single value a channel, as one small patch would give it.
    """
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if (height + below, width + right) == (multiple, multiple):
        right += multiple
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
