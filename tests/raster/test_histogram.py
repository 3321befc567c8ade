"""Histograms: moments and quantiles as NumPy has them, and fewer bins that tell the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.raster.histogram import Histogram

VALUES = st.lists(st.integers(-50, 300), min_size=1, max_size=60)


def histogram(values: object) -> Histogram:
    result, pixels = np.unique(np.asarray(values, np.float64), return_counts=True)
    return Histogram(result, pixels)


@given(VALUES)
def test_moments_are_those_of_the_pixels(values: list[int]) -> None:
    assert histogram(values).mean == pytest.approx(np.mean(values))
    assert histogram(values).std == pytest.approx(np.std(values), abs=1e-6)


def test_a_value_has_half_of_its_own_pixels_below_it() -> None:
    result = histogram([1, 1, 5, 9])
    assert result.fractions.tolist() == [0.25, 0.625, 0.875]
    assert result.quantiles(np.array([0.0, 0.25, 0.4375, 1.0])).tolist() == [1, 1, 3, 9]


@given(VALUES)
def test_quantiles_undo_shares(values: list[int]) -> None:
    result = histogram(values)
    assert result.quantiles(result.fractions).tolist() == result.values.tolist()


@settings(max_examples=50)
@given(VALUES, st.integers(1, 40))
def test_fewer_bins_keep_pixels_and_mean(values: list[int], bins: int) -> None:
    whole = histogram(values)
    result = whole.compact(bins)
    assert result.values.size <= bins
    assert result.pixels.sum() == len(values)
    assert result.mean == pytest.approx(whole.mean)
    assert (np.diff(result.values) > 0).all()
    assert result.values[0] >= whole.values[0]
    assert result.values[-1] <= whole.values[-1] + 1e-9


def test_few_values_stay_as_they_are_and_none_stay_none() -> None:
    result = histogram([3, 4])
    assert result.compact(2) is result
    empty = Histogram(np.zeros(0), np.zeros(0, np.int64))
    assert empty.compact(5) is empty


def test_bins_hold_about_as_many_pixels_each() -> None:
    result = histogram(np.random.default_rng(1).gamma(2, 300, 100_000)).compact(100)
    assert result.values.size == 100
    assert result.pixels.min() >= 999
    assert result.pixels.max() <= 1001
