"""FCN: transposed convolutions, their bilinear start, and the size of the paper's network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from landcover_orch.config.experiments import models
from landcover_orch.models import networks
from landcover_orch.models.fcn import FCN, Enlarge, transposed_convolution

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "facts" / "oracles.json"

PRINTED = [
    [-0.3173, -0.3173, 0.6827, 1.6827],
    [-0.3173, 2.6827, 8.6827, 8.6827],
    [1.6827, 8.6827, 14.6827, 12.6827],
    [3.6827, 11.6827, 16.6827, 11.6827],
]
"""What the course prints of its 3x3 example: torch's layer had drawn a bias."""


def _example(name: str) -> dict[str, Any]:
    if not ORACLES.exists():
        pytest.skip(f"published examples are not at {ORACLES}")
    example: dict[str, Any] = json.loads(ORACLES.read_text())["R5_course"][name]
    return example


def _transposed(example: dict[str, Any]) -> torch.Tensor:
    x, kernel = (torch.tensor([[example[key]]], dtype=torch.float32) for key in ("in", "k"))
    return transposed_convolution(x, kernel)[0, 0]


def test_the_transposed_convolution_gives_the_published_2x2_example() -> None:
    example = _example("convT_2x2")
    assert _transposed(example).tolist() == example["out"]


def test_the_transposed_convolution_gives_the_published_3x3_example_without_its_bias() -> None:
    example = _example("convT_3x3")
    assert _transposed(example).tolist() == example["out_no_bias"]
    torch.testing.assert_close(_transposed(example) + example["printed_has_bias"], torch.tensor(PRINTED))


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_enlarging_begins_bilinear_up_to_the_border(factor: int) -> None:
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(Enlarge(3, factor)(x), expected)


@pytest.mark.parametrize(("stride", "skips"), [(32, []), (16, [512]), (8, [512, 256])])
def test_at_the_papers_width_it_is_vgg16(stride: int, skips: list[int]) -> None:
    classes = 21
    with torch.device("meta"):
        network = FCN(bands=3, classes=classes, width=64, stride=stride)
    convolutions, norms_for_biases = 14_714_688, 4_224
    connected = (49 * 512 + 1) * 4096 + (4096 + 1) * 4096
    scores = sum((channels + 1) * classes for channels in (4096, *skips))
    enlarging = classes**2 * sum((2 * factor) ** 2 for factor in (*[2] * len(skips), stride))
    expected = convolutions + norms_for_biases + connected + scores + enlarging
    assert sum(p.numel() for p in network.parameters()) == expected
    assert connected + convolutions == 138_357_544 - 1000 * 4097  # VGG16 as published, without its last layer


def test_finer_scores_begin_at_nought() -> None:
    network = networks.build(models.FCN(width=4, stride=8), 3, 2)
    assert isinstance(network, FCN)
    assert not any(p.any() for p in network.skips.parameters())
