"""PSPNet (Zhao et al. 2017, arXiv:1612.01105): pyramid pooling over a ResNet dilated to output stride 8.

The trunk's features (2048 channels at depth 50) are averaged over 1, 4, 9 and 36 cells, each level reduced to a fourth
of the channels, enlarged bilinearly and stacked on the features; a 3x3 convolution to 8 x width and a 1x1 classify.
With 3 bands, 6 classes and the settings' defaults it has 46,582,854 trainable parameters.

Where it differs from the paper: the first convolution is ResNet's 7x7 and not three 3x3; no auxiliary loss; no
batch-norm behind the pooled levels, whose coarsest is a single cell: with it one image alone could not train.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import resnet
from landcover_orch.models.padding import pad_to_multiple

OUTPUT_STRIDE = 8


def build(settings: models.PSPNet, bands: int, classes: int) -> PSPNet:
    """The network that settings describe, with a random start."""
    return PSPNet(bands, classes, settings.trunk, settings.bins)


def pretrained(network: PSPNet, settings: models.PSPNet, folder: Path) -> None:
    """Fills the trunk from the state dict that settings name."""
    resnet.load(network.trunk, settings.trunk, folder)


class PSPNet(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, trunk: models.Trunk, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.trunk = resnet.ResNet(bands, trunk, OUTPUT_STRIDE)
        channels, hidden = self.trunk.channels[-1], 8 * trunk.width
        level = max(channels // len(bins), 1)
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Conv2d(channels, level, 1), nn.ReLU()) for size in bins
        )
        self.head = nn.Sequential(
            nn.Conv2d(channels + len(bins) * level, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(hidden, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, OUTPUT_STRIDE)
        features = self.trunk(x)[-1]
        levels = [F.interpolate(level(features), features.shape[-2:], mode="bilinear") for level in self.pyramid]
        logits = F.interpolate(self.head(torch.cat([features, *levels], dim=1)), x.shape[-2:], mode="bilinear")
        return logits[..., :height, :width]
