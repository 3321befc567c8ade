"""The sliding window, and the fully convolutional pass that gives the same logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.models import patch_classifier
from landcover_orch.models.patch_classifier import PatchClassifier


def _network(window: int, step: int = 1) -> PatchClassifier:
    torch.manual_seed(0)
    return PatchClassifier(2, 3, window, 4, step).double()


def _image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(
    window=st.integers(2, 20).map(lambda half: 2 * half + 1),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_windows_and_the_dense_pass_give_the_same_logits(window: int, height: int, width: int, seed: int) -> None:
    network, image = _network(window), _image(height, width, seed)
    with torch.inference_mode():
        torch.testing.assert_close(network.sliding(image, 1), network.dense(image))


def test_windows_and_the_dense_pass_learn_the_same() -> None:
    network, image = _network(9), _image(7, 6)
    gradients = []
    for logits in (network.sliding(image, 1), network.dense(image)):
        gradients.append(torch.autograd.grad(logits.square().sum(), list(network.parameters())))
    for slid, dense in zip(*gradients, strict=True):
        torch.testing.assert_close(slid, dense)


@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_windows_stand_around_the_centres_of_their_cells(step: int) -> None:
    network, image = _network(9), _image(4 * step, 3 * step)
    with torch.inference_mode():
        centres = network.dense(image)[..., step // 2 :: step, step // 2 :: step]
        torch.testing.assert_close(network.sliding(image, step), centres)


def test_a_pixel_is_classified_by_its_window_alone() -> None:
    network, image = _network(9), _image(21, 21)
    other = image.clone()
    other[..., :6, :] += 1
    with torch.inference_mode():
        changed = (network.dense(other) - network.dense(image)).abs().amax(dim=(0, 1, 3)) > 0
    assert changed[:8].all()
    assert not changed[10:].any()


def test_logits_and_gradients_do_not_depend_on_how_many_windows_pass_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = _network(7, step=2), _image(9, 11)
    chunked = []
    for chunk in (1, 10**9):
        monkeypatch.setattr(patch_classifier, "CHUNK", chunk)
        logits = network(image)
        chunked.append([logits, *torch.autograd.grad(logits.square().sum(), list(network.parameters()))])
    for single, all_at_once in zip(*chunked, strict=True):
        torch.testing.assert_close(single, all_at_once)


def test_with_one_window_a_pixel_the_dense_pass_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = _network(7, step=1), _image(5, 5)
    monkeypatch.setattr(network, "sliding", None)
    assert network(image).shape == (2, 3, 5, 5)
