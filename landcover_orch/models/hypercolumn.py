"""Hypercolumns (Hariharan et al. 2015, arXiv:1411.5752): each pixel by the features of every level above it.

Features of all levels are enlarged to the input and stacked; a 1x1 convolution classifies the stack. As in the paper
(section 3.2), the stack is never built: classifying a level and enlarging the result is the same as the other way
round, since both are linear and the enlarging weights sum to 1. The sum over levels is then the stack's classifier.

Where it differs from the paper: it segments whole images, not boxes of a detector, with one classifier for all
positions; the levels are VGG16's with batch-norm, and learn together with the classifier.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import vgg
from landcover_orch.models.padding import pad_to_multiple


def build(settings: models.Hypercolumn, bands: int, classes: int) -> Hypercolumn:
    """The network that settings describe."""
    return Hypercolumn(bands, classes, settings.width, settings.levels)


class Hypercolumn(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        # One more halving than there are: the deepest level is never a single pixel, on which batch-norm cannot train.
        self.multiple = 2**levels
        self.encoder = vgg.encoder(bands, width, levels)
        # One bias is enough for a sum.
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, classes, 1, bias=level == 0)
            for level, channels in enumerate(vgg.channels(width, levels))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        features = self.features(pad_to_multiple(x, self.multiple))
        logits: Tensor = self.heads[0](features[0])
        for head, level in zip(self.heads[1:], features[1:], strict=True):
            logits = logits + enlarge(head(level), logits)
        return logits[..., :height, :width]

    def features(self, x: Tensor) -> list[Tensor]:
        """Features (n, channels, y / 2^level, x / 2^level) of each level; sides of x divide by the deepest."""
        features = [self.encoder[0](x)]
        for level in self.encoder[1:]:
            features.append(level(F.max_pool2d(features[-1], 2)))
        return features


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the size of another map, bilinearly."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
