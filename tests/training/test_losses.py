"""Losses: by hand, against torch's own, and what holds for all of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor

from landcover_orch.config.experiments import Loss, losses
from landcover_orch.training.losses import Objective, term_value
from tests.unions import names

NAMES, PIXELWISE = names(losses.LabelLoss), names(losses.PixelLoss)
NOTHING = torch.full((2, 3, 3), 255, dtype=torch.uint8)


def _term(name: str, **fields: Any) -> Any:
    return TypeAdapter(Loss).validate_python({"name": name, **fields})


def _logits(*shares: list[float]) -> Tensor:
    """Logits (1, class, 1, pixel) whose softmax is `shares`, a pixel each."""
    return torch.tensor(shares).log().T[None, :, None, :].requires_grad_()


def _label(*classes: int) -> Tensor:
    return torch.tensor([[classes]], dtype=torch.uint8)


def _scene(seed: int, classes: int = 4, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, classes, 5, 4, generator=random) * 2
    label = torch.randint(0, classes, (3, 5, 4), generator=random, dtype=torch.uint8)
    return logits, label.masked_fill(torch.rand(label.shape, generator=random) < ignored, 255)


def _value(name: str, logits: Tensor, label: Tensor, weights: list[float] | None = None, **fields: Any) -> float:
    return float(
        term_value(_term(name, **fields), logits, label, None if weights is None else torch.tensor(weights)).detach()
    )


def _gradient(name: str, logits: Tensor, label: Tensor, weights: list[float] | None = None, **fields: Any) -> Tensor:
    leaf = logits.detach().clone().requires_grad_()
    torch.autograd.backward(
        term_value(_term(name, **fields), leaf, label, None if weights is None else torch.tensor(weights))
    )
    assert leaf.grad is not None
    return leaf.grad


PAIR = _logits([0.5, 0.5], [0.25, 0.75])
"""The class 0 and the class 1 with p = 0.5 and 0.75."""


ROWS: list[tuple[str, dict[str, float], float]] = [
    ("cross_entropy", {}, -(math.log(0.5) + math.log(0.75)) / 2),
    ("focal", {"gamma": 2}, -(0.25 * math.log(0.5) + 0.0625 * math.log(0.75)) / 2),
    ("focal", {"gamma": 0}, -(math.log(0.5) + math.log(0.75)) / 2),
    ("generalised_cross_entropy", {"q": 1}, (0.5 + 0.25) / 2),
    ("generalised_cross_entropy", {"q": 0.7}, (2 - 0.5**0.7 - 0.75**0.7) / 0.7 / 2),
    # class 0: I = 0.5, sums 0.75 + 1; class 1: I = 0.75, sums 1.25 + 1
    ("jaccard", {}, 1 - (0.5 / 1.25 + 0.75 / 1.5) / 2),
    ("dice", {}, 1 - (1 / 1.75 + 1.5 / 2.25) / 2),
]
"""Loss, its settings, and its value on `PAIR`, reckoned by hand; a new loss is a new row."""


def test_every_loss_has_a_row() -> None:
    assert {name for name, _, _ in ROWS} == {*NAMES}


@pytest.mark.parametrize(("name", "fields", "expected"), ROWS)
def test_by_hand(name: str, fields: dict[str, float], expected: float) -> None:
    assert _value(name, PAIR, _label(0, 1), **fields) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", -(math.log(0.5) + 3 * math.log(0.75)) / 4),
        ("focal", -(0.25 * math.log(0.5) + 3 * 0.0625 * math.log(0.75)) / 4),
        ("jaccard", 1 - (0.5 / 1.25 + 3 * 0.75 / 1.5) / 4),
    ],
)
def test_class_weights_by_hand(name: str, expected: float) -> None:
    assert _value(name, PAIR, _label(0, 1), [1.0, 3.0]) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1]), st.booleans())
def test_cross_entropy_is_torchs(seed: int, smoothing: float, weighted: bool) -> None:
    logits, label = _scene(seed, ignored=0.2)
    weights = [0.5, 2.0, 1.0, 3.0] if weighted else None
    expected = F.cross_entropy(
        logits,
        label.long(),
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=255,
        label_smoothing=smoothing,
    )
    assert _value("cross_entropy", logits, label, weights, label_smoothing=smoothing) == pytest.approx(
        float(expected), rel=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fields", [{}, {"label_smoothing": 0.1}, {"gamma": 0.5}])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.0, 1.0]])
def test_what_does_not_count_has_no_gradient_and_all_else_has(
    name: str, fields: dict[str, float], weights: list[float] | None
) -> None:
    if not set(fields) <= set(type(_term(name)).model_fields):
        return
    logits, label = _scene(1)
    logits[0, :, 0, 0] *= 100  # what is certain must not be divided by
    gradient = _gradient(name, logits, label, weights, **fields)
    out = label == 255 if weights is None else (label == 255) | (label == 2)
    assert gradient.isfinite().all()
    assert (gradient.movedim(1, -1)[out] == 0).all()
    assert (gradient.abs().sum(1)[~out] > 0).float().mean() > 0.9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("label", "weights"), [(NOTHING, None), (NOTHING, [1.0, 2.0, 1.0]), (torch.zeros_like(NOTHING), [0.0, 1.0, 1.0])]
)
def test_where_nothing_counts_loss_and_gradient_are_zero(name: str, label: Tensor, weights: list[float] | None) -> None:
    logits = torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    fields = {"label_smoothing": 0.2} if name == "cross_entropy" else {}
    assert _value(name, logits, label, weights, **fields) == 0
    assert (_gradient(name, logits, label, weights, **fields) == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_changes_the_gradient(name: str) -> None:
    logits, label = _scene(2)
    plain, weighted = _gradient(name, logits, label), _gradient(name, logits, label, [1.0, 1.0, 9.0, 1.0])
    of_the_class = (label == 2)[:, None].expand_as(plain)
    # By direction, which no common factor explains: what the class pulls grows against what the others pull.
    ratio = (weighted[of_the_class].norm() / weighted[~of_the_class].norm()) / (
        plain[of_the_class].norm() / plain[~of_the_class].norm()
    )
    assert ratio > 1.2


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from(NAMES))
def test_perfect_is_zero_worst_is_large_and_all_are_finite(seed: int, name: str) -> None:
    logits, label = _scene(seed)
    truth = F.one_hot(label.long().clamp(max=3), 4).movedim(-1, 1).float()
    assert _value(name, truth * 60, label) == pytest.approx(0, abs=1e-5)
    assert 0 <= _value(name, logits, label) < _value(name, -truth * 60, label) < math.inf


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_reckoned_in_single(name: str) -> None:
    logits, label = _scene(3)
    coarse = logits.to(torch.bfloat16)
    value = term_value(_term(name), coarse, label)
    assert value.dtype == torch.float32
    assert float(value) == _value(name, coarse.float(), label)


@pytest.mark.parametrize("name", names(losses.OverlapLoss))
def test_a_class_that_no_label_holds_is_left_out_of_the_mean(name: str) -> None:
    label = _label(0, 1)
    wide = _logits([0.5, 0.25, 0.25], [0.25, 0.5, 0.25])
    of_those_there_are = _value(name, wide, label, [1.0, 1.0, 0.0])
    assert _value(name, wide, label) == pytest.approx(of_those_there_are, rel=1e-6)
    assert (_gradient(name, wide, label)[:, 2] > 0).all()  # what is given to it is taken back


def test_several_are_summed_with_their_factors() -> None:
    logits, label = _scene(4)
    objective = Objective([_term("cross_entropy", weight=0.5), _term("dice", weight=2.0)])
    expected = 0.5 * _value("cross_entropy", logits, label) + 2 * _value("dice", logits, label)
    assert float(objective(logits, label)) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from(PIXELWISE), st.sampled_from([None, (1.0, 5.0, 0.0, 0.5)]))
def test_the_parts_of_a_batch_have_the_gradient_of_the_whole(
    seed: int, name: str, weights: tuple[float, ...] | None
) -> None:
    logits, label = _scene(seed)
    label[1] = 255  # a part without labels
    objective = Objective([_term(name)], [weights])
    together, parts = (logits.clone().requires_grad_() for _ in range(2))
    torch.autograd.backward(objective(together, label))
    for part in (slice(0, 1), slice(1, 2), slice(2, 3)):
        torch.autograd.backward(objective(parts[part], label[part], objective.masses(label)))
    torch.testing.assert_close(parts.grad, together.grad)


def test_weights_move_with_the_objective_and_are_not_stored() -> None:
    objective = Objective([_term("cross_entropy")], [(1.0, 2.0)])
    assert objective.state_dict() == {}
    assert [name for name, _ in objective.named_buffers()] == ["weights_0"]
