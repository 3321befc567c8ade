"""Per-pixel classification: a multi-layer perceptron on the bands of each pixel alone, as 1x1 convolutions.

The first approach of courses on segmentation for remote sensing, and the baseline for what context adds: with no hidden
layer it is multinomial logistic regression. There is no batch-norm, so that in training, too, no pixel sees another.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from landcover_orch.config.experiments import models


def build(settings: models.PixelClassifier, bands: int, classes: int) -> nn.Sequential:
    """The network that settings describe: logits (n, class, y, x) of images (n, band, y, x), pixel by pixel."""
    channels = [bands, *[settings.width] * settings.layers]
    hidden = [layer for before, after in pairwise(channels) for layer in (nn.Conv2d(before, after, 1), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Conv2d(channels[-1], classes, 1))
