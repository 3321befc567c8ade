"""ENet (Paszke et al. 2016, arXiv:1606.02147): a small and fast encoder-decoder of bottlenecks.

Channels at the paper's width of 16, by stride: 16 at 2, 64 at 4, 128 at 8, then back by unpooling with the encoder's
indices to 64 at 4 and 16 at 2, and a transposed convolution to the input's grid. With 3 bands and 19 classes it has
372,306 parameters, of them 8,352 running statistics (the paper's table says 0.37 M).

Where it differs from the paper: `width` scales all channels, bands need not be 3 (see `Initial`), inputs of any size
are padded to a multiple of 8, and class weights are the loss's business. PReLUs stand in the decoder too, as the paper
says; the authors' published code has ReLUs there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models.padding import pad_to_multiple

PLAN: tuple[dict[str, int], ...] = (
    {},
    {"dilation": 2},
    {"asymmetric": 5},
    {"dilation": 4},
    {},
    {"dilation": 8},
    {"asymmetric": 5},
    {"dilation": 16},
)
"""The bottlenecks at stride 8; they pass twice."""


def build(settings: models.ENet, bands: int, classes: int) -> ENet:
    """The network that settings describe."""
    return ENet(bands, classes, settings.width)


class ENet(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, width: int = 16) -> None:
        super().__init__()
        small, middle, large = width, 4 * width, 8 * width
        self.initial = Initial(bands, small)
        self.down1 = Down(small, middle, 0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(middle, 0.01) for _ in range(4)))
        self.down2 = Down(middle, large, 0.1)
        self.stage2 = nn.Sequential(*(Bottleneck(large, 0.1, **kind) for kind in PLAN * 2))
        self.up4 = Up(large, middle, 0.1)
        self.stage4 = nn.Sequential(*(Bottleneck(middle, 0.1) for _ in range(2)))
        self.up5 = Up(middle, small, 0.1)
        self.stage5 = Bottleneck(small, 0.1)
        self.head = nn.ConvTranspose2d(small, classes, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        x = self.initial(pad_to_multiple(x, 8))
        x, first = self.down1(x)
        x, second = self.down2(self.stage1(x))
        x = self.up4(self.stage2(x), second)
        x = self.up5(self.stage4(x), first)
        logits: Tensor = self.head(self.stage5(x))
        return logits[..., :height, :width]


class Initial(nn.Module):
    """Half the size: a convolution of all bands beside the max-pooled bands, `width` channels together (13 + 3).

    At most half of the channels are pooled bands: of more bands than that the first ones.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.pooled = min(bands, width // 2)
        self.convolve = nn.Conv2d(bands, width - self.pooled, 3, stride=2, padding=1, bias=False)
        self.after = _normed(width)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, width, y / 2, x / 2)."""
        features: Tensor = self.after(torch.cat([self.convolve(x), F.max_pool2d(x[:, : self.pooled], 2)], dim=1))
        return features


class Bottleneck(nn.Module):
    """The input plus a branch through a quarter of its channels: a 3x3 convolution, dilated, or 5x1 then 1x5."""

    def __init__(self, channels: int, dropout: float, dilation: int = 1, asymmetric: int = 0) -> None:
        super().__init__()
        inner = channels // 4
        if asymmetric:
            size, half = asymmetric, asymmetric // 2
            middle: nn.Module = nn.Sequential(
                nn.Conv2d(inner, inner, (size, 1), padding=(half, 0), bias=False),
                nn.Conv2d(inner, inner, (1, size), padding=(0, half), bias=False),
            )
        else:
            middle = nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False)
        self.branch = _branch(nn.Conv2d(channels, inner, 1, bias=False), middle, inner, channels, dropout)
        self.activate = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the input's shape."""
        activated: Tensor = self.activate(x + self.branch(x))
        return activated


class Down(nn.Module):
    """Half the size: the max-pooled input, filled up with channels of 0, plus a branch; and the pooling's indices."""

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        inner = after // 4
        self.more = after - before
        reduce = nn.Conv2d(before, inner, 2, stride=2, bias=False)
        self.branch = _branch(reduce, nn.Conv2d(inner, inner, 3, padding=1, bias=False), inner, after, dropout)
        self.activate = nn.PReLU(after)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, after, y / 2, x / 2), and where each pooled value was."""
        pooled, indices = F.max_pool2d(x, 2, return_indices=True)
        return self.activate(F.pad(pooled, (0, 0, 0, 0, 0, self.more)) + self.branch(x)), indices


class Up(nn.Module):
    """Twice the size: the input unpooled by the encoder's indices, plus a branch with a transposed convolution."""

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        inner = after // 4
        self.narrow = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        enlarge = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.branch = _branch(nn.Conv2d(before, inner, 1, bias=False), enlarge, inner, after, dropout)
        self.activate = nn.PReLU(after)

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        """Features (n, after, 2 y, 2 x)."""
        activated: Tensor = self.activate(F.max_unpool2d(self.narrow(x), indices, [2, 2]) + self.branch(x))
        return activated


def _branch(reduce: nn.Module, middle: nn.Module, inner: int, after: int, dropout: float) -> nn.Sequential:
    expand = nn.Sequential(nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after))
    return nn.Sequential(reduce, _normed(inner), middle, _normed(inner), expand, nn.Dropout2d(dropout))


def _normed(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))
