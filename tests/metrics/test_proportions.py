"""Class proportions and their divergence: by hand, against a loop, and what always holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.metrics.proportions import FLOOR, class_counts
from landcover_orch.metrics.proportions import divergence as mean_divergence


def divergence(actual: np.ndarray, predicted: np.ndarray) -> float | None:  # type: ignore[type-arg]
    return mean_divergence(np.stack([actual, predicted], axis=1))


def test_pixels_count_where_there_is_a_label() -> None:
    label = np.array([[0, 0], [1, 255]], np.uint8)
    classes = np.array([[0, 1], [1, 9]], np.uint8)
    assert class_counts(label, classes, 3).tolist() == [[2, 1, 0], [1, 2, 0]]
    assert class_counts(np.full_like(label, 255), classes, 3).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_the_divergence_by_hand() -> None:
    assert divergence(np.array([[3, 1]]), np.array([[1, 1]])) == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6
    )


def test_a_class_that_is_missed_costs_much_but_not_all() -> None:
    kl = divergence(np.array([[1, 1]]), np.array([[2, 0]]))
    y, p = (0.5 + FLOOR, 0.5 + FLOOR), (1 + FLOOR, FLOOR)
    assert kl == pytest.approx(sum(a * math.log(a / b) for a, b in zip(y, p, strict=True)))


def test_pictures_without_labels_are_left_out() -> None:
    actual, predicted = np.array([[4, 0], [0, 0]]), np.array([[2, 2], [0, 0]])
    assert divergence(actual, predicted) == divergence(actual[:1], predicted[:1])
    assert divergence(actual[1:], predicted[1:]) is None


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=5), st.integers(2, 9))
def test_it_is_nothing_for_equal_shares_and_never_negative(rows: list[list[int]], times: int) -> None:
    actual = np.array(rows)
    actual[:, 0] += 1
    turned = np.roll(actual, 1, axis=1)
    assert divergence(actual, actual * times) == pytest.approx(0, abs=1e-12)
    kl = divergence(actual, turned)
    assert kl is not None
    assert kl >= -1e-12
