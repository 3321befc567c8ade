"""Swin-Unet: sizes, both decoders, and chance under a seed."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.config.experiments import models
from landcover_orch.models import networks

Decoder = Literal["swin", "convolutional"]
SMALL = models.SwinUNet(width=8, depths=(2, 2), heads=(2, 4), window=4, patch=2)


@pytest.mark.parametrize(("decoder", "millions"), [("swin", 27.17), ("convolutional", 27.55)])
def test_at_the_papers_size_it_has_27_million_parameters(decoder: Decoder, millions: float) -> None:
    network = networks.build(models.SwinUNet(window=7, decoder=decoder), bands=3, classes=9)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@settings(max_examples=15, deadline=None)
@given(
    decoder=st.sampled_from(["swin", "convolutional"]),
    patch=st.sampled_from([1, 2, 4, 8]),
    window=st.integers(2, 6),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_any_size_window_and_token_give_logits_on_the_inputs_grid(
    decoder: Decoder, patch: Literal[1, 2, 4, 8], window: int, height: int, width: int
) -> None:
    small = SMALL.model_copy(update={"decoder": decoder, "patch": patch, "window": window})
    network = networks.build(small, 5, 3)
    assert network(torch.zeros(1, 5, height, width)).shape == (1, 3, height, width)


@pytest.mark.parametrize("decoder", ["swin", "convolutional"])
def test_every_weight_learns(decoder: Decoder) -> None:
    network = networks.build(SMALL.model_copy(update={"decoder": decoder, "drop_path": 0.0}), 2, 3)
    network(torch.rand(2, 2, 24, 40)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_skipped_blocks_follow_the_seed_and_prediction_skips_none() -> None:
    network = networks.build(SMALL.model_copy(update={"drop_path": 0.5}), 2, 3)
    image = torch.rand(4, 2, 16, 16)

    def seen(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        logits: torch.Tensor = network(image).detach()
        return logits

    assert torch.equal(seen(1), seen(1))
    assert not torch.equal(seen(1), seen(2))
    network.eval()
    assert torch.equal(seen(1), seen(2))
