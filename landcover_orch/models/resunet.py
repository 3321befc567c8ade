"""The U-Net family of a study on ISPRS Potsdam and INRIA (Airbus, 2019): skips, blocks, and the centre are chosen.

A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) whose channels double with depth: 32 to 256 and a centre of 512 at
width 32 with 4 skips. A plain block is two 3x3 convolutions; a residual one is a 3x3 convolution to the level's
channels and a residual pair (He et al. 2016, arXiv:1512.03385). The centre, at stride 2^skips, is a plain pair, a
residual pair, or convolutions of dilation 1, 2, 4 and 8 one after the other or side by side, their outputs summed.

The study names these parts and publishes no list of layers. Its INRIA model (width 32, 4 skips, residual, 3
bands, 2 classes) has 10,730,984 parameters, of them 5,888 running statistics; this family with a residual centre has
10,338,626, of them the same 5,888: 3.7 % fewer. With a serial centre it has 14,929,730.

Where it differs from the study: inputs of any size are padded to a multiple of 2^skips; bands need not be 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models.padding import pad_to_multiple

DILATIONS = (1, 2, 4, 8)


def build(settings: models.ResUNet, bands: int, classes: int) -> ResUNet:
    """The network that settings describe."""
    return ResUNet(bands, classes, settings)


class ResUNet(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, settings: models.ResUNet) -> None:
        super().__init__()
        self.multiple = 2**settings.skips
        channels = [settings.width * 2**level for level in range(settings.skips + 1)]
        block = residual_block if settings.residual else plain_block
        self.down = nn.ModuleList(block(before, after) for before, after in pairwise([bands, *channels[:-1]]))
        self.centre = CENTRES[settings.centre](channels[-2], channels[-1])
        steps = list(pairwise(reversed(channels)))
        self.enlarge = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in steps)
        self.up = nn.ModuleList(block(2 * after, after) for _, after in steps)
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        skips = []
        for down in self.down:
            skips.append(down(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.centre(x)
        for enlarge, up, skip in zip(self.enlarge, self.up, reversed(skips), strict=True):
            x = up(torch.cat([F.relu(enlarge(F.interpolate(x, scale_factor=2.0))), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut: the input itself, or a 1x1 convolution of it to other channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.pair = nn.Sequential(_normed(before, after), nn.ReLU(), _normed(after, after))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, after, y, x)."""
        return F.relu(self.pair(x) + self.shortcut(x))


class Dilated(nn.Module):
    """The sum of four dilated 3x3 convolutions: each reads the one before (serial), or all the input (parallel).

    Serial as in DeepLab's cascade (Chen et al. 2017, arXiv:1706.05587), parallel as in its pyramid (2016,
    arXiv:1606.00915).
    """

    def __init__(self, before: int, after: int, serial: bool) -> None:
        super().__init__()
        self.serial = serial
        inputs = [before] + [after if serial else before] * (len(DILATIONS) - 1)
        self.layers = nn.ModuleList(
            nn.Sequential(_normed(channels, after, dilation), nn.ReLU())
            for channels, dilation in zip(inputs, DILATIONS, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, after, y, x)."""
        outputs: list[Tensor] = []
        for layer in self.layers:
            outputs.append(layer(outputs[-1] if self.serial and outputs else x))
        return torch.stack(outputs).sum(dim=0)


def plain_block(before: int, after: int) -> nn.Sequential:
    """Plain block: two 3x3 convolutions with batch-norm and ReLU."""
    return nn.Sequential(_normed(before, after), nn.ReLU(), _normed(after, after), nn.ReLU())


def residual_block(before: int, after: int) -> nn.Sequential:
    """Residual block: a 3x3 convolution to the level's channels, then a residual pair."""
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), Residual(after, after))


def _normed(before: int, after: int, dilation: int = 1) -> nn.Sequential:
    kernel = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(after))


CENTRES: dict[str, Callable[[int, int], nn.Module]] = {
    "plain": plain_block,
    "residual": Residual,
    "serial": partial(Dilated, serial=True),
    "parallel": partial(Dilated, serial=False),
}
