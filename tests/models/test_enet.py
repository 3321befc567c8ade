"""ENet: its published size, its first block, and its unpooling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landcover_orch.config.experiments import models
from landcover_orch.models import networks
from landcover_orch.models.enet import Bottleneck, Down, ENet, Initial, Up


def test_the_papers_setting_has_about_the_papers_number_of_parameters() -> None:
    network = networks.build(models.ENet(width=16), bands=3, classes=19)
    assert networks.parameters(network) == 372_306  # the paper's table says 0.37 M
    assert sum(p.numel() for p in network.parameters()) == 363_954


def test_the_plan_is_the_papers_table() -> None:
    network = ENet(3, 19)
    each = [part.branch[2] for part in network.stage2]
    assert [nn.Conv2d, nn.Conv2d, nn.Sequential, nn.Conv2d] * 4 == [type(part) for part in each]
    assert [part.dilation[0] for part in each if isinstance(part, nn.Conv2d)] == [1, 2, 4, 1, 8, 16] * 2
    rates = [part.p for part in network.modules() if isinstance(part, nn.Dropout2d)]
    assert rates == [0.01] * 5 + [0.1] * (len(rates) - 5)
    assert len([part for part in network.modules() if isinstance(part, Bottleneck | Down | Up)]) == 27


@pytest.mark.parametrize(("bands", "convolved"), [(1, 15), (3, 13), (8, 8), (13, 8)])
def test_the_first_block_stacks_a_convolution_and_pooled_bands(bands: int, convolved: int) -> None:
    block = Initial(bands, 16)
    assert block.convolve.out_channels == convolved
    assert block(torch.rand(2, bands, 8, 8)).shape == (2, 16, 4, 4)


def test_values_return_to_where_the_encoder_found_them() -> None:
    down, up = Down(4, 16, 0.0).eval(), Up(16, 4, 0.0).eval()
    for block in (down, up):
        nn.init.zeros_(block.branch[4][0].weight)  # the branches alone are silent
    nn.init.ones_(up.narrow[0].weight)
    image = torch.zeros(1, 4, 4, 4)
    image[0, :, 1, 2] = 1.0
    features, indices = down(image)
    assert up(features, indices)[0, 0].nonzero().tolist() == [[1, 2]]
