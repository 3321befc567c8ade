"""ResNet-FCN, PSPNet and DeepLabv3: published and stated sizes, and what each adds to the trunk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from landcover_orch.config.experiments import Model, models
from landcover_orch.models import networks
from landcover_orch.models.deeplabv3 import DeepLabV3
from landcover_orch.models.pspnet import PSPNet

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "facts" / "oracles.json"
SMALL = models.Trunk(depth=18, width=4)


def _trainable(settings: Model, bands: int = 3, classes: int = 6) -> int:
    return sum(p.numel() for p in networks.build(settings, bands, classes).parameters())


def test_the_resnet50_fcn_has_the_published_number_of_parameters() -> None:
    network: Any = networks.build(models.ResNetFCN(trunk=models.Trunk(biases=True)), 3, 6)
    assert sum(p.numel() for p in network.parameters()) == 23_556_114
    assert networks.parameters(network) == 23_609_234
    assert [sum(p.numel() for p in head.parameters()) for head in network.heads] == [3078, 6150, 12294]
    assert _trainable(models.ResNetFCN()) == 23_529_554


def test_the_published_numbers_are_those_of_the_study() -> None:
    if not ORACLES.exists():
        pytest.skip(f"published numbers are not at {ORACLES}")
    published = json.loads(ORACLES.read_text())["R2_resnet50_fcn_vaihingen"]["parameters"]
    assert (published["trainable_keras"], published["total_keras"]) == (23_556_114, 23_609_234)


def test_the_fcn_sums_its_three_heads() -> None:
    network: Any = networks.build(models.ResNetFCN(trunk=SMALL), 3, 2).eval()
    for head, value in zip(network.heads, (1.0, 2.0, 4.0), strict=True):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, value)
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 40, 33)).unique().tolist() == [7.0]


@pytest.mark.parametrize(
    ("settings", "count"),
    [(models.PSPNet(), 46_582_854), (models.DeepLabV3(), 39_044_422), (models.DeepLabV3(output_stride=8), 39_044_422)],
)
def test_it_has_the_stated_number_of_parameters(settings: Model, count: int) -> None:
    assert _trainable(settings) == count


@pytest.mark.parametrize("bins", [(1,), (1, 2, 3, 6), (1, 2, 4, 8, 16)])
def test_the_pyramid_has_a_level_for_each_bin(bins: tuple[int, ...]) -> None:
    network = PSPNet(1, 2, SMALL, bins)
    assert [level[0].output_size for level in network.pyramid] == list(bins)
    assert network(torch.rand(1, 1, 9, 30)).shape == (1, 2, 9, 30)


@pytest.mark.parametrize(("stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_rates_double_at_output_stride_8(stride: int, rates: list[int]) -> None:
    assert [branch[0].dilation[0] for branch in DeepLabV3(1, 2, SMALL, stride).pyramid] == [1, *rates]


@pytest.mark.parametrize("kind", [models.PSPNet, models.DeepLabV3])
def test_logits_know_the_whole_image(kind: Any) -> None:
    """A change in one corner reaches the other: by pooling, whatever the distance."""
    network = networks.build(kind(trunk=SMALL), 1, 2).eval()
    image = torch.rand(1, 1, 8, 1024)
    changed = image.clone()
    changed[..., :8] += 5
    with torch.inference_mode():
        assert (network(image) - network(changed))[..., -8:].abs().max() > 0
