"""Optimisers by name, and learning-rate schedules: rate and momentum as functions of the step.

So a resumed training has nothing to restore. Steps count from 0 over the whole run. A schedule gives a factor of the
experiment's rate, set before each step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, assert_never

import torch
from torch import nn

from landcover_orch.config.experiments import Optimiser, Schedule, optimisation
from landcover_orch.config.experiments.optimisation import Constant, OneCycle, Plateau, Polynomial


def optimiser_class(settings: Optimiser) -> type[torch.optim.Optimizer]:
    """Torch's optimiser of some settings; its arguments have the settings' names."""
    match settings:
        case optimisation.SGD():
            return torch.optim.SGD
        case optimisation.Adam():
            return torch.optim.Adam
        case optimisation.AdamW():
            return torch.optim.AdamW
        case optimisation.Adamax():
            return torch.optim.Adamax
        case optimisation.RMSprop():
            return torch.optim.RMSprop
        case optimisation.Adagrad():
            return torch.optim.Adagrad
        case optimisation.Adadelta():
            return torch.optim.Adadelta
        case _:
            assert_never(settings)


def build_optimiser(settings: Optimiser, module: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimiser of the weights of `module`, at first at rate `lr` (the settings' own, or that of a range test)."""
    arguments: dict[str, Any] = settings.model_dump(exclude={"name", "lr"})
    if arguments.get("momentum") == 0:
        arguments.pop("nesterov", None)  # torch refuses Nesterov's look-ahead without momentum
    return optimiser_class(settings)(module.parameters(), lr=lr, **arguments)  # type: ignore[call-arg]


class Point(NamedTuple):
    """Point of a schedule: a factor of the learning rate, and the momentum (None: as it is)."""

    factor: float
    momentum: float | None = None


def at(settings: Schedule, step: int, steps: int, scores: Sequence[float] = ()) -> Point:
    """The point of a schedule before a step.

    Args:
        settings: which schedule.
        step: how many steps have been taken.
        steps: how many the whole run takes at most.
        scores: of each epoch so far, the larger the better; `plateau` depends on them.
    """
    match settings:
        case Constant():
            return Point(warmup(settings, step))
        case OneCycle():
            return one_cycle(settings, step / steps)
        case Plateau():
            return Point(plateau(settings, scores))
        case Polynomial():
            return Point(warmup(settings, step) * polynomial(settings, step, steps))
        case _:
            assert_never(settings)


def one_cycle(settings: OneCycle, progress: float) -> Point:
    """One-cycle policy (Smith 2018, arXiv:1803.09820): half a cosine from 1/start up to 1, half one to 1/(start end).

    The momentum runs from its first value to its second as the rate rises, and back as it falls. With t of N steps
    taken, the rise is (1 - cos(pi t / (rise N))) / 2, as in the published runs on Potsdam; torch's OneCycleLR is a
    step ahead of that.
    """
    first = 1 / settings.start
    if progress < settings.rise:
        height, low = _half_cosine(progress / settings.rise), first
    else:
        height, low = 1 - _half_cosine((progress - settings.rise) / (1 - settings.rise)), first / settings.end
    factor = low + (1 - low) * height
    if settings.momentum is None:
        return Point(factor)
    slow, fast = settings.momentum
    return Point(factor, slow + (fast - slow) * height)


def _half_cosine(progress: float) -> float:
    return (1 - math.cos(math.pi * progress)) / 2


def plateau(settings: Plateau, scores: Sequence[float]) -> float:
    """Reduce on plateau: multiplied by `factor` after each `patience` epochs in a row that did not beat the best."""
    factor, best, since = 1.0, float("-inf"), 0
    for number, score in enumerate(scores):
        since = 0 if score > best or number == 0 else since + 1
        best = max(best, score)
        if since == settings.patience:
            factor, since = max(factor * settings.factor, settings.least), 0
    return factor


def warmup(settings: Constant | Polynomial, step: int) -> float:
    """Warm-up: 1/(w+1), 2/(w+1), ... in its w steps; then 1."""
    return min(step + 1, settings.warmup + 1) / (settings.warmup + 1)


def polynomial(settings: Polynomial, step: int, steps: int) -> float:
    """Polynomial decay: (1 - progress)^power over the steps behind the warm-up; 1 in it."""
    progress = max(step - settings.warmup, 0) / max(steps - settings.warmup, 1)
    return float((1 - progress) ** settings.power)


def apply(point: Point, optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Sets rate and momentum of an optimiser: `momentum` where it has that, else the first of its betas."""
    for group in optimiser.param_groups:
        group["lr"] = lr * point.factor
        if point.momentum is not None:
            beta = point.momentum
            group.update({"momentum": beta} if "momentum" in group else {"betas": (beta, *group["betas"][1:])})
