"""Weights that are positive everywhere, sums that no order changes, decisions that ties do not sway."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.grid import starts
from landcover_orch.prediction.blend import PEAK, STEPS, UNIT, blank, decide, profile, total_profile, window_weight
from landcover_orch.prediction.layout import Layout


@given(st.integers(1, 300))
def test_a_profile_is_positive_symmetric_and_highest_in_the_middle(size: int) -> None:
    weights = profile(size)
    assert weights.min() >= 1
    assert np.array_equal(weights, weights[::-1])
    assert weights[size // 2] == weights.max() <= PEAK
    assert (np.diff(weights[: (size + 1) // 2]) >= 0).all()


@given(st.integers(1, 400), st.integers(1, 60), st.data())
def test_totals_are_the_sum_of_all_windows(length: int, size: int, data: st.DataObject) -> None:
    begins = starts(max(length, size), size, data.draw(st.integers(1, size)))
    expected = np.zeros(max(length, size), int)
    for begin in begins:
        for i in range(size):
            expected[begin + i] += profile(size)[i]
    assert np.array_equal(total_profile(length, size, begins), expected[:length])


@settings(max_examples=40)
@given(st.integers(1, 2000), st.integers(8, 256), st.data())
def test_the_chosen_integers_hold_every_sum(length: int, size: int, data: st.DataObject) -> None:
    layout = Layout((length, length), size, data.draw(st.integers(max(1, size // 40), size)))
    heaviest = UNIT * int(layout.totals[0].max()) * int(layout.totals[1].max())
    assert heaviest < 2 ** (8 * layout.sum_bytes - 1)


def test_usual_strides_need_only_32_bits() -> None:
    assert {Layout((5000, 3001), 256, stride).sum_bytes for stride in (256, 192, 128)} == {4}
    assert Layout((5000, 3001), 256, 16).sum_bytes == 8


def test_window_weights_are_the_product_of_two_profiles_in_fixed_point() -> None:
    profile_64 = profile(64).astype(np.float64)
    assert np.abs(window_weight(64) / (UNIT * profile_64[:, None] * profile_64) - 1).max() < 1e-7


def _ones(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(shape[0], dtype=torch.int64), torch.ones(shape[1], dtype=torch.int64)


def test_the_largest_sum_wins_and_its_share_is_the_confidence() -> None:
    sums = torch.tensor([[[0, UNIT]], [[UNIT // 5, 0]], [[4 * UNIT // 5, 0]]], dtype=torch.int32)
    classes, confidence = decide(sums, *_ones((1, 2)))
    assert classes.tolist() == [[2, 0]]
    assert confidence.tolist() == [[round(0.8 * STEPS), STEPS]]


@given(st.permutations(range(4)))
def test_of_equal_sums_the_lowest_id_wins(order: list[int]) -> None:
    values = np.array([3, 7, 7, 1])[order]
    classes, _ = decide(torch.from_numpy(values.astype(np.int32)).reshape(4, 1, 1), *_ones((1, 1)))
    assert classes[0, 0] == int(np.argmax(values))


def test_confidence_never_reaches_the_value_of_no_data() -> None:
    _, confidence = decide(torch.tensor([[[UNIT]], [[UNIT]]], dtype=torch.int32), *_ones((1, 1)))
    assert confidence[0, 0] == STEPS < 255


@pytest.mark.parametrize("value", [0, 3, 254])
def test_pixels_without_data_become_255(value: int) -> None:
    blanked = blank(np.full((2, 2), value, np.uint8), np.array([[True, False], [False, True]]))
    assert blanked.tolist() == [[value, 255], [255, value]]
