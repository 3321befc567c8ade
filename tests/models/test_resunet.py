"""The U-Net family of the Potsdam and INRIA study: its size, its skips and its centres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from landcover_orch.config.experiments import models
from landcover_orch.models import networks
from landcover_orch.models.resunet import Dilated, Residual, ResUNet

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "facts" / "oracles.json"


@pytest.mark.parametrize(
    ("centre", "count"),
    [("plain", 10_207_042), ("residual", 10_338_626), ("serial", 14_929_730), ("parallel", 11_390_786)],
)
def test_it_has_the_stated_number_of_parameters(centre: Any, count: int) -> None:
    assert networks.parameters(networks.build(models.ResUNet(centre=centre), 3, 2)) == count


def test_the_inria_setting_is_near_the_published_size() -> None:
    if not ORACLES.exists():
        pytest.skip(f"published numbers are not at {ORACLES}")
    published = json.loads(ORACLES.read_text())["R3_unet_potsdam_inria"]["size_anchor_parameters"]
    network = networks.build(models.ResUNet(width=32, skips=4, residual=True, centre="residual"), 3, 2)
    trainable = sum(p.numel() for p in network.parameters())
    assert networks.parameters(network) - trainable == published["non_trainable"]
    assert trainable / published["trainable"] == pytest.approx(0.963, abs=0.001)


@pytest.mark.parametrize("skips", [3, 4, 5])
def test_it_halves_its_input_once_a_skip(skips: Any) -> None:
    network = ResUNet(2, 3, models.ResUNet(width=4, skips=skips)).eval()
    shapes = []
    network.centre.register_forward_hook(lambda _, inputs, output: shapes.append((inputs[0].shape, output.shape)))
    with torch.inference_mode():
        network(torch.rand(1, 2, 64, 96))
    side = 64 // 2**skips, 96 // 2**skips
    assert shapes == [((1, 4 * 2 ** (skips - 1), *side), (1, 4 * 2**skips, *side))]


def test_a_residual_pair_that_is_silent_gives_its_input() -> None:
    block = Residual(4, 4).eval()
    torch.nn.init.zeros_(block.pair[2][1].weight)
    image = torch.rand(1, 4, 8, 8)
    assert torch.equal(block(image), image)


@pytest.mark.parametrize(("serial", "reach"), [(True, 15), (False, 8)])
def test_a_dilated_centre_sees_as_far_as_its_convolutions(serial: bool, reach: int) -> None:
    """One after the other their reaches add up (1 + 2 + 4 + 8); side by side the widest counts."""
    block = Dilated(1, 1, serial).eval()
    for layer in block.layers:
        torch.nn.init.ones_(layer[0][0].weight)
    image = torch.zeros(1, 1, 1, 41)
    image[..., 20] = 1
    seen = block(image)[0, 0, 0].nonzero().flatten()
    assert (seen.min(), seen.max()) == (20 - reach, 20 + reach)
