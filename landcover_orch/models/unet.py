"""The U-Net of a land-cover proportion challenge (Sentinel-2, 2021), of any width, depth and number of bands.

The published layer table (width 64, 3 levels, 4 bands, 10 classes) sums to 987,242 parameters, of them 3,008 running
statistics. Channels do not grow with depth; batch-norm stands before each convolution but the first and the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models.padding import pad_to_multiple


def build(settings: models.UNet, bands: int, classes: int) -> UNet:
    """The network that settings describe."""
    return UNet(bands, classes, settings.width, settings.levels)


class UNet(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size.

    A level down is three 3x3 convolutions and a max-pool, its second convolution the skip; the bottom is two; a level
    up is a transposed convolution of stride 2, the skip, then 3x3 convolutions to 1.5 x width and width.
    """

    def __init__(self, bands: int, classes: int, width: int = 64, levels: int = 3) -> None:
        super().__init__()
        self.multiple = 2**levels
        self.down = nn.ModuleList(_Down(width, bands if level == 0 else None) for level in range(levels))
        self.bottom = nn.Sequential(*_convolutions(width, width, width))
        self.up = nn.ModuleList(_Up(width) for _ in range(levels))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        skips = []
        for down in self.down:
            x, skip = down(x)
            skips.append(skip)
        x = self.bottom(x)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]


class _Down(nn.Module):
    """Three convolutions, the second of them the skip, then a max-pool; the first level reads the bands plainly."""

    def __init__(self, width: int, bands: int | None) -> None:
        super().__init__()
        first = _convolutions(width, width) if bands is None else [_convolution(bands, width), nn.ReLU()]
        self.to_skip = nn.Sequential(*first, *_convolutions(width, width))
        self.after = nn.Sequential(*_convolutions(width, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.to_skip(x)
        return F.max_pool2d(self.after(skip), 2), skip


class _Up(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.enlarge = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
        self.merge = nn.Sequential(*_convolutions(2 * width, width * 3 // 2, width))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([self.enlarge(self.norm(x)), skip], dim=1))
        return merged


def _convolutions(*channels: int) -> Iterator[nn.Module]:
    for before, after in pairwise(channels):
        yield from (nn.BatchNorm2d(before), _convolution(before, after), nn.ReLU())


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)
