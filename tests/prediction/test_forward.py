"""The forward pass: a window's bits do not depend on the windows it goes with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from landcover_orch.prediction.blend import UNIT, window_weight
from landcover_orch.prediction.forward import GROUP, Forward
from landcover_orch.training.device import choose
from tests.prediction.untrained import experiment, module, noise

WINDOWS = [noise((32, 32), seed) for seed in range(11)]


def _forward(precision: str) -> Forward:
    recipe: Any = experiment(precision=precision)
    return Forward(module(), 32, choose(recipe))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 7])
def test_batches_do_not_change_a_bit(precision: str, batch: int) -> None:
    forward = _forward(precision)
    together = list(forward.weighted(WINDOWS))
    apart = [one for i in range(0, len(WINDOWS), batch) for one in forward.weighted(WINDOWS[i : i + batch])]
    assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))


def test_the_network_always_sees_one_batch_shape() -> None:
    seen = []
    network = module()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    forward = Forward(network, 32, choose(experiment()))
    list(forward.weighted(WINDOWS[:5]))
    assert seen == [(GROUP["cpu"], 4, 32, 32)] * 2


def test_probabilities_times_weight_in_fixed_point() -> None:
    (found,) = _forward("float32").weighted(WINDOWS[:1])
    with torch.inference_mode():
        share = torch.softmax(module()(torch.from_numpy(WINDOWS[0][None]))[0].double(), 0).numpy()
    assert found.dtype == torch.int32
    assert np.abs(found.numpy() - share * window_weight(32)).max() < 1e-4 * UNIT * 60 * 60
    assert (found.sum(0).numpy() <= window_weight(32) * (1 + 1e-6)).all()
