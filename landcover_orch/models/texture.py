"""Texture features: local mean and standard deviation of each band, and logits of models of single pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST = 1e-9
"""Fraction of a class that was never seen: its logarithm stays finite."""


def count(bands: int, windows: Sequence[int]) -> int:
    """How many features a pixel has."""
    return bands * (1 + 2 * len(windows))


def features(x: Tensor, windows: Sequence[int]) -> Tensor:
    """The bands, then for each window their local means and their local standard deviations: (n, feature, y, x).

    Beyond the border the last row and column go on. Each value is summed over its own window alone, so that it does
    not depend on where in an image, or in which image, the window lies.

    Args:
        x: normalised image (n, band, y, x).
        windows: sides of the squares around each pixel.
    """
    maps = [x]
    for side in windows:
        mean, square = _local_mean(x, side), _local_mean(x.square(), side)
        maps += [mean, (square - mean.square()).clamp_min(0).sqrt()]
    return torch.cat(maps, 1)


def _local_mean(x: Tensor, side: int) -> Tensor:
    before, after = (side - 1) // 2, side // 2
    padded = F.pad(x, (before, after, before, after), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (side, 1), stride=1), (1, side), stride=1)


def table(x: Tensor, windows: Sequence[int]) -> Tensor:
    """The features of one image (band, y, x) as rows, one a pixel: (y * x, feature)."""
    return features(x[None].contiguous(), windows)[0].flatten(1).T.contiguous()


def logits(x: Tensor, windows: Sequence[int], fractions: Callable[[Tensor], Tensor]) -> Tensor:
    """Logits (n, class, y, x) whose softmax are the class fractions of each pixel.

    Image by image and in float32 even under autocast: in bfloat16 a value could pass a threshold it lies below.

    Args:
        x: normalised images (n, band, y, x).
        windows: sides of the texture's squares.
        fractions: features (pixel, feature) -> fractions (pixel, class).
    """
    with torch.autocast(x.device.type, enabled=False):
        each = [logarithms(fractions(table(image.float(), windows))) for image in x]
    return torch.stack(each).transpose(1, 2).reshape(len(x), -1, *x.shape[-2:])


def logarithms(fractions: Tensor) -> Tensor:
    """Logits of class fractions; 0 counts as `SMALLEST`."""
    return fractions.clamp_min(SMALLEST).log()
