"""Optimisers by name: torch's own, with the settings of the same names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from landcover_orch.config.experiments import Optimiser

KINDS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
}


def build(settings: Optimiser, module: nn.Module, lr: float) -> torch.optim.Optimizer:
    """What moves the weights of `module`, at first by `lr` (the settings' own rate, or the one that was found)."""
    arguments: dict[str, Any] = settings.model_dump(exclude={"name", "lr"})
    if arguments.get("momentum") == 0:
        arguments.pop("nesterov", None)  # torch refuses to look ahead along nothing
    return KINDS[settings.name](module.parameters(), lr=lr, **arguments)  # type: ignore[call-arg]
