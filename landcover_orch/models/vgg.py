"""VGG16 encoder (Simonyan and Zisserman 2015, arXiv:1409.1556): its convolutional levels, shared by several families.

Two, two, three, three and three 3x3 convolutions a level; channels double from level to level up to 8 x width (64 is
the paper's). Where it differs from the paper: batch-norm stands behind each convolution instead of a bias, since
networks start random here and 13 layers without it hardly learn.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

CONVOLUTIONS = (2, 2, 3, 3, 3, 3)
"""Convolutions of each level of VGG16; a sixth level repeats the fifth."""


def channels(width: int, levels: int) -> list[int]:
    """Channels of each level."""
    return [width * min(2**level, 8) for level in range(levels)]


def encoder(bands: int, width: int, levels: int) -> nn.ModuleList:
    """The levels, without the pooling between them: (n, band, y, x) to (n, channels of the level, y, x) and so on."""
    widths = channels(width, levels)
    counts = CONVOLUTIONS[:levels]
    return nn.ModuleList(
        block([before] + [after] * count)
        for before, after, count in zip([bands, *widths], widths, counts, strict=False)
    )


def block(plan: list[int]) -> nn.Sequential:
    """3x3 convolutions through these numbers of channels, each with batch-norm and ReLU; sizes stay."""
    return nn.Sequential(
        *(
            layer
            for before, after in pairwise(plan)
            for layer in (nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        )
    )
