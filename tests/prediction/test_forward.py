"""The forward pass: a window's bits do not depend on the windows it goes with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from landcover_orch.prediction.blend import UNIT, window_weight
from landcover_orch.prediction.forward import GROUP, Forward, turn, turn_back
from landcover_orch.training.device import choose
from tests.prediction.untrained import experiment, module, noise

WINDOWS = [noise((32, 32), seed) for seed in range(11)]


def _forward(precision: str, symmetries: int = 1) -> Forward:
    recipe: Any = experiment(precision=precision)
    return Forward(module(), 32, choose(recipe), symmetries)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("symmetries", [1, 8])
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 7])
def test_batches_do_not_change_a_bit(precision: str, symmetries: int, batch: int) -> None:
    forward = _forward(precision, symmetries)
    together = list(forward.weighted(WINDOWS))
    apart = [window for i in range(0, len(WINDOWS), batch) for window in forward.weighted(WINDOWS[i : i + batch])]
    assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))


def test_the_network_always_sees_one_batch_shape() -> None:
    seen = []
    network = module()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    forward = Forward(network, 32, choose(experiment()))
    list(forward.weighted(WINDOWS[:5]))
    assert seen == [(GROUP["cpu"], 4, 32, 32)] * 2


def test_probabilities_times_weight_in_fixed_point() -> None:
    (weighted,) = _forward("float32").weighted(WINDOWS[:1])
    with torch.inference_mode():
        share = torch.softmax(module()(torch.from_numpy(WINDOWS[0][None]))[0].double(), 0).numpy()
    assert weighted.dtype == torch.int32
    assert np.abs(weighted.numpy() - share * window_weight(32)).max() < 1e-4 * UNIT * 60 * 60
    assert (weighted.sum(0).numpy() <= window_weight(32) * (1 + 1e-6)).all()


def test_the_symmetries_are_the_eight_of_the_square_and_turn_back() -> None:
    image = torch.arange(9).reshape(1, 3, 3)
    symmetries = _forward("float32", 8).symmetries
    turned = [turn(image, *symmetry) for symmetry in symmetries]
    assert len({tuple(window.flatten().tolist()) for window in turned}) == 8
    assert all(torch.equal(turn_back(a, *symmetry), image) for a, symmetry in zip(turned, symmetries, strict=True))


@pytest.mark.parametrize("symmetry", _forward("float32", 8).symmetries)
def test_a_turned_window_gets_the_turned_answer(symmetry: tuple[int, bool]) -> None:
    """What averaging over the eight symmetries promises, up to the rounding of sums in another order."""
    forward, turned = _forward("float32", 8), turn(torch.from_numpy(WINDOWS[0]), *symmetry).numpy()
    upright, weighted = forward.weighted([WINDOWS[0], turned])
    assert torch.allclose(turn(upright, *symmetry), weighted, rtol=1e-5, atol=16)
    alone, different = _forward("float32").weighted([WINDOWS[0], turned])
    assert symmetry == (0, False) or not torch.allclose(turn(alone, *symmetry), different, rtol=1e-5, atol=16)


def test_the_probabilities_of_all_symmetries_are_averaged() -> None:
    (weighted,) = _forward("float32", 8).weighted(WINDOWS[:1])
    image, total = torch.from_numpy(WINDOWS[0]), torch.zeros(5, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        for symmetry in _forward("float32", 8).symmetries:
            shares = torch.softmax(module()(turn(image, *symmetry).contiguous()[None])[0].double(), 0)
            total += turn_back(shares, *symmetry)
    assert np.abs(weighted.numpy() - total.numpy() / 8 * window_weight(32)).max() < 1e-4 * UNIT * 60 * 60
