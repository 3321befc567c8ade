"""ResNet (He et al. 2016, arXiv:1512.03385) without its head: the trunk under several families.

Parameters are named as in torchvision (conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, ...), so that its state
dicts load. Stages give 1, 2, 4 and 8 x `width` channels at stride 4, 8, 16 and 32, four times as many at depth 50 and
101. Depth 50, width 64 and 3 bands: 23,508,032 trainable parameters, 23,534,592 with `biases`.

Where it differs from the paper: a stage halves its input in the 3x3 convolution of its first bottleneck and not in the
1x1 before it, as torchvision does; at an output stride of 8 or 16 the last stages are dilated instead (Chen et al.
2017, arXiv:1706.05587), so that where both compute, features are those of the trunk that halves.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import pretrained, weights

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Depth -> blocks of each stage."""

FIRST = "conv1.weight"
HEAD = "fc."


class ResNet(nn.Module):
    """Features of normalised images: four maps, at stride 4, 8, 16 and 32, or at the output stride at most."""

    def __init__(self, bands: int, settings: models.Trunk, output_stride: int = 32) -> None:
        super().__init__()
        width, biases = settings.width, settings.biases
        make = _Bottleneck if settings.depth >= 50 else _Basic
        self.conv1 = nn.Conv2d(bands, width, 7, stride=2, padding=3, bias=biases)
        self.bn1 = nn.BatchNorm2d(width)
        self.channels = [make.EXPANSION * width * 2**stage for stage in range(4)]
        counts, befores = BLOCKS[settings.depth], [width, *self.channels]

        def layer(stage: int) -> nn.Sequential:
            stride, first, dilation = stage_geometry(stage, output_stride)
            inner = width * 2**stage
            dilations = (dilation, dilation)
            rest = (make(befores[stage + 1], inner, 1, dilations, biases) for _ in range(counts[stage] - 1))
            return nn.Sequential(make(befores[stage], inner, stride, (first, dilation), biases), *rest)

        self.layer1, self.layer2, self.layer3, self.layer4 = (layer(stage) for stage in range(4))
        self.apply(initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features (n, channels[i], y, x) of each stage."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        features = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


def stage_geometry(stage: int, output_stride: int) -> tuple[int, int, int]:
    """Stride of a stage, dilation of the convolution that would halve, and dilation of all after it."""
    stride_before, stride = 4 * 2 ** max(stage - 1, 0), 4 * 2**stage
    dilations = [max(nominal // output_stride, 1) for nominal in (stride_before, stride)]
    return 2 if stride_before < stride <= output_stride else 1, *dilations


class _Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    EXPANSION = 1

    def __init__(self, before: int, inner: int, stride: int, dilations: tuple[int, int], bias: bool) -> None:
        super().__init__()
        self.conv1 = _convolution_3x3(before, inner, stride, dilations[0], bias)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _convolution_3x3(inner, inner, 1, dilations[1], bias)
        self.bn2 = nn.BatchNorm2d(inner)
        self.downsample = _shortcut(before, inner, stride, bias)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class _Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a widening 1x1 convolution beside a shortcut."""

    EXPANSION = 4

    def __init__(self, before: int, inner: int, stride: int, dilations: tuple[int, int], bias: bool) -> None:
        super().__init__()
        after = inner * self.EXPANSION
        self.conv1 = nn.Conv2d(before, inner, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _convolution_3x3(inner, inner, stride, dilations[0], bias)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, after, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = _shortcut(before, after, stride, bias)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(x))


def _convolution_3x3(before: int, after: int, stride: int, dilation: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=dilation, dilation=dilation, bias=bias)


def _shortcut(before: int, after: int, stride: int, bias: bool) -> nn.Module:
    if stride == 1 and before == after:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=bias), nn.BatchNorm2d(after))


def initialise(module: nn.Module) -> None:
    """Kaiming initialisation (He et al. 2015, arXiv:1502.01852) of convolutions, biases at 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def load(trunk: ResNet, settings: models.Trunk, folder: Path) -> None:
    """Fills a trunk from the state dict of a ResNet that lies in `folder`, where settings name one.

    The classifier of the file (fc.*) is left out. Biases that the trunk has and the file has not start at 0. The first
    convolution follows `adapted`.

    Raises:
        TrainingError: there is no such file, or it is not the state dict of this trunk.
    """
    if settings.weights is None:
        return
    path = weights.find(settings.weights, folder)
    state = {name: value for name, value in pretrained.read(path).items() if not name.startswith(HEAD)}
    if FIRST in state:
        state[FIRST] = adapted(state[FIRST], trunk.conv1.in_channels)
    convolutions = {f"{name}.bias" for name, part in trunk.named_modules() if isinstance(part, nn.Conv2d)}
    pretrained.fill(trunk, state, path, zero=convolutions)


def adapted(kernels: Tensor, bands: int) -> Tensor:
    """Kernels (channel, band, y, x) of a first convolution for another number of bands.

    As many bands: as they are. Else each band takes the mean over the file's bands, times file's bands / bands, so that
    an image whose bands are alike gives the same features, whatever their number.
    """
    before = kernels.shape[1]
    if before == bands:
        return kernels
    return kernels.mean(dim=1, keepdim=True).repeat(1, bands, 1, 1) * (before / bands)
