"""Mean and sample deviation over repetitions."""

from __future__ import annotations

import pytest

from landcover_orch.metrics.spread import Spread, spread, spreads


def test_the_deviation_is_of_a_sample() -> None:
    statistics = spread([2, 4, 4, 4, 5, 5, 7, 9])
    assert (statistics.mean, statistics.n, statistics.min, statistics.max) == (5, 8, 2, 9)
    assert statistics.sd == pytest.approx((32 / 7) ** 0.5)


def test_what_is_undefined_does_not_count() -> None:
    assert spread([0.5, None]) == Spread(mean=0.5, sd=None, n=1, min=0.5, max=0.5)
    assert spread([None]) == Spread(mean=None, sd=None, n=0, min=None, max=None)


def test_each_metric_by_itself() -> None:
    assert spreads([{"a": 1, "b": None}, {"a": 3, "b": 2}])["b"].n == 1
    assert spreads([]) == {}
