"""ResNet50-FCN of a study on ISPRS Vaihingen (Jülich Supercomputing Centre, 2018), over a ResNet of any depth.

1x1 convolutions to the classes after the stages of stride 8, 16 and 32 (512, 1024 and 2048 channels at depth 50), each
enlarged bilinearly to the input's grid, and summed: a fully convolutional network as of Long et al. 2015
(arXiv:1411.4038). With 3 bands and 6 classes it has 23,556,114 trainable parameters where the trunk keeps its biases,
the published number (Keras), and 23,529,554 without.

Where it differs from the study: inputs of any size are padded to a multiple of 32; see also `resnet`.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import resnet
from landcover_orch.models.padding import pad_to_multiple


def build(settings: models.ResNetFCN, bands: int, classes: int) -> ResNetFCN:
    """The network that settings describe, with a random start."""
    return ResNetFCN(bands, classes, settings.trunk)


def pretrained(network: ResNetFCN, settings: models.ResNetFCN, folder: Path) -> None:
    """Fills the trunk from the state dict that settings name."""
    resnet.load(network.trunk, settings.trunk, folder)


class ResNetFCN(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, trunk: models.Trunk) -> None:
        super().__init__()
        self.trunk = resnet.ResNet(bands, trunk)
        self.heads = nn.ModuleList(nn.Conv2d(channels, classes, 1) for channels in self.trunk.channels[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 32)
        stages = zip(self.heads, self.trunk(x)[1:], strict=True)
        each = [F.interpolate(head(features), x.shape[-2:], mode="bilinear") for head, features in stages]
        logits: Tensor = each[0] + each[1] + each[2]
        return logits[..., :height, :width]
