"""Each optimiser by its name takes one step by its paper's formula."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from landcover_orch.config.experiments import Optimiser
from landcover_orch.training import optimisation
from tests.unions import names


def _stepped(settings: dict[str, Any], steps: int = 1) -> float:
    """Where a weight of 1 goes under a gradient of 0.5."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(module.weight)
    chosen = optimisation.build_optimiser(TypeAdapter(Optimiser).validate_python(settings), module, 0.1)
    for _ in range(steps):
        module.weight.grad = torch.full((1, 1), 0.5)
        chosen.step()
    return float(module.weight.detach())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "sgd"}, 1 - 0.1 * (0.5 + 0.9 * 0.5)),  # Nesterov: g + m v
        ({"name": "sgd", "nesterov": False}, 1 - 0.1 * 0.5),
        ({"name": "sgd", "momentum": 0, "weight_decay": 0.2}, 1 - 0.1 * (0.5 + 0.2)),
        ({"name": "adam"}, 1 - 0.1),
        ({"name": "adamw", "weight_decay": 0.5}, 1 - 0.1 * 0.5 - 0.1),
        ({"name": "adamax"}, 1 - 0.1),
        ({"name": "rmsprop", "alpha": 0.75}, 1 - 0.1 * 0.5 / math.sqrt(0.25 * 0.25)),
        ({"name": "adagrad"}, 1 - 0.1),
        ({"name": "adadelta", "rho": 0.75}, 1 - 0.1 * 0.5 * math.sqrt(1e-6) / math.sqrt(0.25 * 0.25 + 1e-6)),
    ],
)
def test_the_first_step(settings: dict[str, Any], expected: float) -> None:
    assert _stepped(settings) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", names(Optimiser))
def test_every_setting_reaches_torch(name: str) -> None:
    chosen = TypeAdapter(Optimiser).validate_python({"name": name})
    made = optimisation.build_optimiser(chosen, torch.nn.Linear(2, 2), 0.25)
    chosen_settings = chosen.model_dump(exclude={"name", "lr"})
    assert {key: made.defaults[key] for key in chosen_settings} == chosen_settings
    assert made.param_groups[0]["lr"] == 0.25
    assert len(made.param_groups[0]["params"]) == 2
