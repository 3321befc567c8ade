"""Schedules: the published one cycle to six digits, the others by hand, and what holds for all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from landcover_orch.config.experiments import Schedule
from landcover_orch.training.optimisation import Point, apply, at
from tests.unions import names

EPOCH, EPOCHS = 1120, 70


def _settings(name: str, **fields: Any) -> Any:
    return TypeAdapter(Schedule).validate_python({"name": name, **fields})


CYCLE = _settings("one_cycle", momentum=[0.95, 0.8])


@pytest.mark.parametrize(("epoch", "lr", "momentum"), [(1, 0.0045361, 0.9491623), (2, 0.0061325, 0.946668)])
def test_one_cycle_is_that_of_the_potsdam_study(epoch: int, lr: float, momentum: float) -> None:
    """Its log of 70 epochs of 1120 steps with a peak of 0.1 (INRIA), after its first two epochs."""
    point = at(CYCLE, epoch * EPOCH, EPOCHS * EPOCH)
    assert 0.1 * point.factor == pytest.approx(lr, abs=5e-8)
    assert point.momentum == pytest.approx(momentum, abs=5e-7)


def test_one_cycle_begins_low_peaks_after_thirty_percent_and_ends_almost_at_nothing() -> None:
    assert at(CYCLE, 0, 1000) == Point(pytest.approx(1 / 25), 0.95)
    assert at(CYCLE, 300, 1000) == Point(1.0, 0.8)
    assert at(CYCLE, 1000, 1000) == Point(pytest.approx(1 / 25 / 1e4), pytest.approx(0.95))
    assert at(_settings("one_cycle", momentum=None), 10, 1000).momentum is None


def test_one_cycle_rises_falls_and_never_leaves_its_range() -> None:
    factors = [at(CYCLE, step, 200).factor for step in range(200)]
    assert factors[:61] == sorted(factors[:61])
    assert factors[60:] == sorted(factors[60:], reverse=True)
    assert min(factors) > 0
    assert max(factors) == 1


def test_a_constant_warms_up_in_a_line() -> None:
    chosen = _settings("constant", warmup=3)
    assert [at(chosen, step, 10).factor for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert at(_settings("constant"), 0, 10) == Point(1.0, None)


def test_a_polynomial_falls_to_nothing_after_its_warm_up() -> None:
    line = _settings("polynomial", power=1, warmup=2)
    assert [at(line, step, 6).factor for step in range(6)] == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25])
    assert at(_settings("polynomial", power=0.9), 30, 100).factor == pytest.approx(0.7**0.9)
    assert at(_settings("polynomial", warmup=9), 9, 9).factor == 1  # a warm-up as long as the run


def test_a_plateau_falls_after_each_so_many_epochs_without_a_better_score() -> None:
    chosen = _settings("plateau", factor=0.5, patience=2)
    scores = [0.1, 0.2, 0.2, 0.1, 0.1, 0.2, 0.3, 0.3, 0.1]
    measured = [at(chosen, 0, 1, scores[:n]).factor for n in range(len(scores) + 1)]
    assert measured == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_a_plateau_stops_at_its_least_and_endures_undefined_scores() -> None:
    chosen = _settings("plateau", factor=0.1, patience=1, least=0.05)
    assert at(chosen, 0, 1, [float("-inf")] * 5).factor == 0.05


def test_a_plateau_agrees_with_torchs() -> None:
    losses = torch.rand(60, generator=torch.Generator().manual_seed(0)).tolist()
    target = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(target, factor=0.5, patience=3, threshold=0, min_lr=0.01)
    chosen = _settings("plateau", factor=0.5, patience=4, least=0.01)
    for number, loss in enumerate(losses, 1):
        oracle.step(loss)
        factor = at(chosen, 0, 1, [-loss for loss in losses[:number]]).factor
        assert factor == pytest.approx(target.param_groups[0]["lr"])


@given(
    st.sampled_from(names(Schedule)),
    st.integers(1, 500),
    st.data(),
)
def test_every_step_has_a_rate_between_nothing_and_the_peak(name: str, steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    scores = data.draw(st.lists(st.floats(-1, 1), max_size=20))
    assert 0 < at(_settings(name), step, steps, scores).factor <= 1


def test_momentum_goes_where_the_optimiser_keeps_it() -> None:
    weights = [torch.nn.Parameter(torch.ones(1))]
    sgd, adam = torch.optim.SGD(weights, lr=1, momentum=0.9), torch.optim.Adam(weights, lr=1)
    for target in (sgd, adam):
        apply(Point(0.5, 0.7), target, 0.2)
        assert target.param_groups[0]["lr"] == 0.1
    assert sgd.param_groups[0]["momentum"] == 0.7
    assert adam.param_groups[0]["betas"] == (0.7, 0.999)
    apply(Point(1.0), sgd, 0.2)
    assert sgd.param_groups[0]["momentum"] == 0.7
