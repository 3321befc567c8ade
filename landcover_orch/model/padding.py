"""Inputs of any size through networks that halve theirs several times."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """`x` (n, band, y, x) with its last rows and columns repeated until both sides divide by `multiple`.

    The padding lies below and to the right, so that cropping to the old size restores the positions.
    """
    below, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
