"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer and Darrell 2015, arXiv:1411.4038): VGG16 made convolutional.

Five pooled levels, then VGG16's two fully connected layers as a 7x7 and a 1x1 convolution, a 1x1 score a class at
stride 32, and transposed convolutions up to the input: at once (32s), or over the scores of pool 4 (16s) and of pool 3
(8s), which are added at their strides and begin at 0.

Where it differs from the paper: `width` scales all channels (64 is the paper's; 134 M parameters, of them 103 M in the
7x7 convolution); batch-norm in the levels, and a random start instead of ImageNet; all strides are trained at once,
not one after the other; the last enlarging learns too; borders are repeated, not surrounded by 100 zeros.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import vgg
from landcover_orch.models.padding import pad_to_multiple

LEVELS = 5
CONNECTED = 64
"""Channels of the two layers that were fully connected, for each of the first level: 4096 at the paper's 64."""


def build(settings: models.FCN, bands: int, classes: int) -> FCN:
    """The network that settings describe."""
    return FCN(bands, classes, settings.width, settings.stride)


def transposed_convolution(x: Tensor, kernel: Tensor, stride: int = 1) -> Tensor:
    """Each value (n, in, y, x) times the kernel (in, out, ky, kx), added up every `stride` pixels; no bias, no padding.

    The gradient of a convolution with regard to its input, and not its inverse. A side n becomes (n - 1) stride + k.
    """
    return F.conv_transpose2d(x, kernel, stride=stride)


def bilinear_kernel(channels: int, factor: int) -> Tensor:
    """Weights (channels, channels, 2 factor, 2 factor) that enlarge each map bilinearly, and mix none."""
    side = torch.arange(2 * factor)
    tent = 1 - (side - (factor - 0.5)).abs() / factor
    return torch.eye(channels)[:, :, None, None] * tent[:, None] * tent


class Enlarge(nn.Module):
    """Maps (n, channels, y, x) at `factor` times their size, by learnt weights that begin bilinear; `factor` is even.

    Edges are repeated first, so that what it begins with is bilinear interpolation up to the border.
    """

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.weight = nn.Parameter(bilinear_kernel(channels, factor))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, factor * y, factor * x)."""
        height, width = (side * self.factor for side in x.shape[-2:])
        large = transposed_convolution(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.weight, self.factor)
        start = self.factor + self.factor // 2
        return large[..., start : start + height, start : start + width]


class FCN(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, width: int = 64, stride: int = 8) -> None:
        super().__init__()
        channels = vgg.channels(width, LEVELS)
        connected = CONNECTED * width
        self.encoder = vgg.encoder(bands, width, LEVELS)
        self.connected = nn.Sequential(
            *(nn.Conv2d(channels[-1], connected, 7, padding=3), nn.ReLU(), nn.Dropout()),
            *(nn.Conv2d(connected, connected, 1), nn.ReLU(), nn.Dropout()),
        )
        self.score = nn.Conv2d(connected, classes, 1)
        skips = {32: [], 16: [channels[3]], 8: [channels[3], channels[2]]}[stride]
        self.skips = nn.ModuleList(zero_initialised(nn.Conv2d(pooled, classes, 1)) for pooled in skips)
        self.doubles = nn.ModuleList(Enlarge(classes, 2) for _ in skips)
        self.last = Enlarge(classes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2**LEVELS)
        pools = []
        for level in self.encoder:
            x = F.max_pool2d(level(x), 2)
            pools.append(x)
        logits: Tensor = self.score(self.connected(x))
        for skip, double, pooled in zip(self.skips, self.doubles, reversed(pools[:-1]), strict=False):
            logits = double(logits) + skip(pooled)
        logits = self.last(logits)
        return logits[..., :height, :width]


def zero_initialised(convolution: nn.Conv2d) -> nn.Conv2d:
    """Zero initialisation of a convolution."""
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution
