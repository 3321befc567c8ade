"""DeepLabv3 (Chen et al. 2017, arXiv:1706.05587): an atrous spatial pyramid over a dilated ResNet.

The trunk's features (2048 channels at depth 50, at output stride 16 or 8) pass a 1x1 convolution, 3x3 convolutions of
rates 6, 12 and 18 (12, 24 and 36 at output stride 8), and image pooling, each to 4 x width channels (256); stacked, a
1x1 convolution to as many and a 1x1 classify, and logits are enlarged bilinearly. With 3 bands, 6 classes and the
settings' defaults it has 39,044,422 trainable parameters.

Where it differs from the paper: no multi-grid in the last stage, no batch-norm behind image pooling, whose map is a
single cell: with it one image alone could not train.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import resnet
from landcover_orch.models.padding import pad_to_multiple

RATES = (6, 12, 18)
"""Dilations of the pyramid at output stride 16."""


def build(settings: models.DeepLabV3, bands: int, classes: int) -> DeepLabV3:
    """The network that settings describe, with a random start."""
    return DeepLabV3(bands, classes, settings.trunk, settings.output_stride)


def pretrained(network: DeepLabV3, settings: models.DeepLabV3, folder: Path) -> None:
    """Fills the trunk from the state dict that settings name."""
    resnet.load(network.trunk, settings.trunk, folder)


class DeepLabV3(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, trunk: models.Trunk, output_stride: int = 16) -> None:
        super().__init__()
        self.stride = output_stride
        self.trunk = resnet.ResNet(bands, trunk, output_stride)
        before, after = self.trunk.channels[-1], 4 * trunk.width
        rates = [rate * 16 // output_stride for rate in RATES]
        self.pyramid = nn.ModuleList([_convolution(before, after), *(_convolution(before, after, r) for r in rates)])
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(before, after, 1), nn.ReLU())
        self.head = nn.Sequential(_convolution(5 * after, after), nn.Conv2d(after, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.stride)
        features = self.trunk(x)[-1]
        pooled = self.whole(features).expand(-1, -1, *features.shape[-2:])
        stacked = torch.cat([*(branch(features) for branch in self.pyramid), pooled], dim=1)
        logits = F.interpolate(self.head(stacked), x.shape[-2:], mode="bilinear")
        return logits[..., :height, :width]


def _convolution(before: int, after: int, rate: int | None = None) -> nn.Sequential:
    kernel = (
        nn.Conv2d(before, after, 3, padding=rate, dilation=rate, bias=False)
        if rate
        else nn.Conv2d(before, after, 1, bias=False)
    )
    return nn.Sequential(kernel, nn.BatchNorm2d(after), nn.ReLU())
