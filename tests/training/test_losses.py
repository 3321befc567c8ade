"""Cross-entropy over labelled pixels."""

from __future__ import annotations

import math

import torch

from landcover_orch.training.losses import cross_entropy


def _logits(*shares: list[float]) -> torch.Tensor:
    return torch.tensor(shares).log().T[None, :, None, :].requires_grad_()


def test_it_is_the_mean_of_minus_log_probability() -> None:
    loss = cross_entropy(_logits([0.5, 0.5], [0.25, 0.75]), torch.tensor([[[0, 1]]], dtype=torch.uint8))
    assert math.isclose(float(loss.detach()), -(math.log(0.5) + math.log(0.75)) / 2, rel_tol=1e-6)


def test_ignored_pixels_do_not_count() -> None:
    label = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    logits = _logits([0.5, 0.5], [0.01, 0.99])
    loss = cross_entropy(logits, label)
    loss.backward()
    assert math.isclose(float(loss.detach()), -math.log(0.5), rel_tol=1e-6)
    assert logits.grad is not None
    assert logits.grad[..., 1].abs().sum() == 0


def test_a_batch_with_nothing_labelled_contributes_zero() -> None:
    logits = _logits([0.5, 0.5])
    for weights in (None, torch.tensor([1.0, 2.0])):
        loss = cross_entropy(logits, torch.full((1, 1, 1), 255, dtype=torch.uint8), weights)
        loss.backward()
        assert float(loss.detach()) == 0
        assert logits.grad is not None
        assert logits.grad.abs().sum() == 0


def test_a_class_weight_changes_the_loss_as_the_formula_says() -> None:
    label = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    loss = cross_entropy(_logits([0.5, 0.5], [0.25, 0.75]), label, torch.tensor([1.0, 3.0]))
    assert math.isclose(float(loss.detach()), -(math.log(0.5) + 3 * math.log(0.75)) / 4, rel_tol=1e-6)


def test_a_class_of_weight_zero_alone_contributes_zero() -> None:
    loss = cross_entropy(_logits([0.5, 0.5]), torch.zeros((1, 1, 1), dtype=torch.uint8), torch.tensor([0.0, 1.0]))
    assert float(loss.detach()) == 0
