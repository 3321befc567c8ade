"""The per-pixel classifier sees one pixel at a time."""

from __future__ import annotations

import torch

from landcover_orch.config.experiments import models
from landcover_orch.models import networks


def test_where_a_pixel_lies_and_what_surrounds_it_changes_nothing() -> None:
    torch.manual_seed(0)
    network = networks.build(models.PixelClassifier(width=8), 3, 4)
    image, order = torch.rand(1, 3, 6, 7), torch.randperm(42)
    shifted = image.flatten(2)[..., order].unflatten(2, (6, 7))
    torch.testing.assert_close(network(shifted).flatten(2), network(image).flatten(2)[..., order])


def test_without_hidden_layers_it_is_logistic_regression() -> None:
    assert networks.parameters(networks.build(models.PixelClassifier(layers=0), 13, 5)) == (13 + 1) * 5
