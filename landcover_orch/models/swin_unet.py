"""Swin-Unet (Cao et al. 2021, arXiv:2105.05537): a Swin transformer as encoder, and a decoder of as many stages.

The encoder is transformers' SwinBackbone (Liu et al. 2021, arXiv:2103.14030), built from its configuration: tokens of
`patch` x `patch` pixels, stages of attention within windows that shift by half in every second block, and halved sides
between stages; each stage's output is a skip. The decoder is one of two:

- `swin`, the paper's: patch expanding (a linear layer to twice the channels, laid out as 2 x 2 tokens), the skip
  concatenated, a linear layer back to the stage's channels, Swin blocks; at the end patch expanding to pixels.
- `convolutional`, as in remote sensing (He et al. 2022, IEEE TGRS 60): bilinear enlarging by 2, the skip concatenated,
  two 3x3 convolutions with batch-norm; at the end the same without a skip, up to pixels.

With the defaults, the paper's window of 7, 3 bands and 9 classes it has 27.17 M parameters.

Where it differs from the paper: any number of bands and stages, windows of any size (the paper's: 7); the paper's code
ends with one block where the others have two, this decoder mirrors `depths`; weights start random. Where a stage has
fewer tokens than a window, or a number that does not divide, the library fills windows with zeros.
"""

from __future__ import annotations

from itertools import islice, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SwinBackbone, SwinConfig
from transformers.models.swin.modeling_swin import SwinStage

from landcover_orch.config.experiments import models
from landcover_orch.models import vgg
from landcover_orch.models.padding import pad_to_multiple

NOMINAL = 256
"""Side that the library's configuration asks for; without absolute positions nothing depends on it."""


def build(settings: models.SwinUNet, bands: int, classes: int) -> SwinUNet:
    """The network that settings describe."""
    return SwinUNet(settings, bands, classes)


class SwinUNet(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, settings: models.SwinUNet, bands: int, classes: int) -> None:
        super().__init__()
        self.multiple = settings.patch * 2 ** (len(settings.depths) - 1)
        self.encoder = build_encoder(settings, bands)
        swin = settings.decoder == "swin"
        self.decoder = swin_decoder(settings, self.encoder.config) if swin else convolutional_decoder(settings)
        self.pixels = _Expand(settings.width, settings.patch) if swin else upsampling(settings.width, settings.patch)
        self.head = nn.Conv2d(settings.width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        *skips, x = self.encoder(pad_to_multiple(x, self.multiple)).feature_maps
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            x = stage(x, skip)
        logits: Tensor = self.head(self.pixels(x))
        return logits[..., :height, :width]


def build_encoder(settings: models.SwinUNet, bands: int) -> SwinBackbone:
    """Swin backbone with the features of all stages."""
    config = SwinConfig(
        image_size=NOMINAL,
        patch_size=settings.patch,
        num_channels=bands,
        embed_dim=settings.width,
        depths=settings.depths,
        num_heads=settings.heads,
        window_size=settings.window,
        drop_path_rate=settings.drop_path,
        out_features=[f"stage{stage + 1}" for stage in range(len(settings.depths))],
    )
    backbone = SwinBackbone(config)
    # The backbone has a norm for each stage; this one would be weights that nothing reads.
    backbone.swin.layernorm = nn.Identity()
    return backbone


def _channels(settings: models.SwinUNet) -> list[int]:
    """Channels of the stages, deepest first."""
    return [settings.width * 2**stage for stage in reversed(range(len(settings.depths)))]


def swin_decoder(settings: models.SwinUNet, config: SwinConfig) -> nn.ModuleList:
    """Decoder of Swin blocks, initialised as the encoder."""
    stages = list(zip(_channels(settings)[::-1], settings.heads, drop_path_rates(settings), strict=True))
    decoder = nn.ModuleList(_SwinUp(config, *stage) for stage in stages[-2::-1])
    return decoder.apply(initialise)


def drop_path_rates(settings: models.SwinUNet) -> list[list[float]]:
    """Stochastic depth: probability of each block of each stage to be skipped in training, rising linearly."""
    blocks = sum(settings.depths)
    rising = (settings.drop_path * block / (blocks - 1) for block in range(blocks))
    return [list(islice(rising, depth)) for depth in settings.depths]


def initialise(module: nn.Module) -> None:
    """The encoder's initialisation, for layers that the library does not initialise itself."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class _SwinUp(nn.Module):
    """Maps (n, c, y, x) and their skip (n, c / 2, 2y, 2x) to (n, c / 2, 2y, 2x)."""

    def __init__(self, config: SwinConfig, channels: int, heads: int, drop_paths: list[float]) -> None:
        super().__init__()
        self.expand = _Expand(2 * channels, 2, channels)
        self.merge = nn.Linear(2 * channels, channels)
        grid = (NOMINAL, NOMINAL)
        self.blocks = SwinStage(config, channels, grid, len(drop_paths), heads, drop_paths, downsample=None)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        both = torch.cat([self.expand(x), skip], dim=1)
        tokens = self.merge(both.flatten(2).transpose(1, 2))
        _, maps, _ = self.blocks(tokens, tuple(both.shape[-2:]), always_partition=True)
        result: Tensor = maps
        return result


class _Expand(nn.Module):
    """Maps (n, c, y, x) at `factor` times their size: outputs of a linear layer, laid out as factor x factor tokens."""

    def __init__(self, before: int, factor: int, after: int | None = None) -> None:
        super().__init__()
        after = after or before
        self.linear = nn.Conv2d(before, after * factor**2, 1, bias=False)
        self.factor = factor
        self.norm = nn.LayerNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        large = F.pixel_shuffle(self.linear(x), self.factor)
        normed: Tensor = self.norm(large.movedim(1, -1))
        return normed.movedim(-1, 1)


def convolutional_decoder(settings: models.SwinUNet) -> nn.ModuleList:
    """Decoder of bilinear enlarging and convolutions."""
    return nn.ModuleList(_ConvolutionalUp(before + after, after) for before, after in pairwise(_channels(settings)))


class _ConvolutionalUp(nn.Module):
    """Maps (n, c, y, x), enlarged by 2 and concatenated with their skip, through two convolutions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.merge = vgg.block([before, after, after])

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([_twice(x), skip], dim=1))
        return merged


class _Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _twice(x)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def upsampling(width: int, patch: int) -> nn.Sequential:
    """Upsampling from tokens to pixels: enlarged by 2 and convolved as often as it takes."""
    times = patch.bit_length() - 1
    return nn.Sequential(*(layer for _ in range(times) for layer in (_Twice(), vgg.block([width, width]))))
