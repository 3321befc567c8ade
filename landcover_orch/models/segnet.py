"""SegNet (Badrinarayanan et al. 2017, arXiv:1511.00561): a VGG16 encoder, and a decoder that unpools by its indices.

Where it differs from the paper: `width` scales the channels of all levels (64 is the paper's), `levels` may leave out
the deepest ones (5 is the paper's), weights start random and not from ImageNet, and inputs of any size are padded.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import vgg
from landcover_orch.models.padding import pad_to_multiple


def build(settings: models.SegNet, bands: int, classes: int) -> SegNet:
    """The network that settings describe."""
    return SegNet(bands, classes, settings.width, settings.levels)


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of each 2x2 cell, and where in its plane it was."""
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    return values, indices


def unpool(x: Tensor, indices: Tensor) -> Tensor:
    """Twice the size: each value where its cell's largest one was, 0 elsewhere."""
    return F.max_unpool2d(x, indices, [2, 2])


class SegNet(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, width: int = 64, levels: int = 5) -> None:
        super().__init__()
        self.multiple = 2**levels
        channels = vgg.channels(width, levels)
        self.encoder = vgg.encoder(bands, width, levels)
        decoders = zip(channels, [channels[0], *channels], vgg.CONVOLUTIONS, strict=False)
        self.decoder = nn.ModuleList(vgg.block([inner] * count + [after]) for inner, after, count in decoders)
        self.head = nn.Conv2d(channels[0], classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.multiple)
        places = []
        for encode in self.encoder:
            x, indices = pool(encode(x))
            places.append(indices)
        for decode, indices in zip(reversed(self.decoder), reversed(places), strict=True):
            x = decode(unpool(x, indices))
        logits: Tensor = self.head(x)
        return logits[..., :height, :width]
