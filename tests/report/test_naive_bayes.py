"""Naive Bayes over mapped pixels: by hand, and what holds for any polygons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.report import confident, naive_bayes

LABELS = np.array([0, 0, 1])
SHARES = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
PIXELS = np.array([16.0, 80.0, 16.0])


def test_profiles_by_hand() -> None:
    found = naive_bayes.profiles(LABELS, SHARES)
    assert found == pytest.approx(np.array([[2 / 3, 1 / 3], [1 / 4, 3 / 4]]))


def test_the_correlation_by_hand() -> None:
    apart = [(2 / 9) / (4 / 9), (2 / 36) / (4 / 9), (2 / 16) / (6 / 16)]
    each = [(16 * apart[0] - 1) / 15, (80 * apart[1] - 1) / 79, (16 * apart[2] - 1) / 15]
    assert naive_bayes.correlation(LABELS, SHARES, PIXELS) == pytest.approx(sorted(each)[1])


def test_the_evidence_by_hand() -> None:
    rho = naive_bayes.correlation(LABELS, SHARES, PIXELS)
    found = naive_bayes.evidence(LABELS, SHARES, PIXELS)
    few, many = 16 / (1 + 15 * rho), 80 / (1 + 79 * rho)
    assert found[0] == pytest.approx(
        [np.log(7 / 12 + 1 / 24) + few * np.log(2 / 3), np.log(3 / 8) + few * np.log(1 / 4)]
    )
    both = [np.log(2 / 3) + np.log(1 / 3), np.log(1 / 4) + np.log(3 / 4)]
    assert found[1] == pytest.approx(np.log([5 / 8, 3 / 8]) + many / 2 * np.array(both))


@pytest.mark.parametrize("rho", [0.0, 0.05, 0.3])
def test_the_correlation_that_pixels_were_drawn_with_comes_back(rho: float) -> None:
    random = np.random.default_rng(3)
    profile, labels = np.array([[0.8, 0.15, 0.05], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]]), np.arange(900) % 3
    own = profile[labels]
    if rho:
        own = np.array([random.dirichlet(one * (1 / rho - 1)) for one in own])
    shares = np.array([random.multinomial(200, one) for one in own]) / 200
    typical = naive_bayes.correlation(labels, shares, np.full(900, 200.0))
    assert 0.25 * rho <= typical <= rho + 0.005, "the median lies below the mean, which is rho"


def test_a_class_that_maps_rarely_show_is_no_more_suspect_for_it() -> None:
    labels = np.array([0] * 10 + [1] * 6)
    shares = np.array([[0.95, 0.05]] * 9 + [[0.3, 0.7]] + [[0.6, 0.4]] * 5 + [[0.95, 0.05]])
    margin = confident.margins(labels, naive_bayes.evidence(labels, shares, np.full(16, 100.0)))
    assert set(np.argsort(margin)[:2].tolist()) == {9, 15}, "as the maps see no other polygon of their class"
    assert confident.margins(labels, shares)[10] < 0 < margin[10]


def test_a_class_that_nobody_bears_may_be_suggested() -> None:
    labels = np.zeros(20, np.int64)
    shares = np.array([[1.0, 0, 0]] * 19 + [[0.0, 0, 1]])
    told = naive_bayes.evidence(labels, shares, np.full(20, 100.0))
    assert np.isfinite(told).all()
    assert confident.margins(labels, told).argmin() == 19


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**20))
def test_neither_the_order_of_polygons_nor_that_of_classes_matters(polygons: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, pixels = random.integers(0, classes, polygons), random.integers(16, 9999, polygons).astype(float)
    shares = random.dirichlet(np.full(classes, 0.5), polygons)
    told = naive_bayes.evidence(labels, shares, pixels)
    assert np.isfinite(told).all()
    order, renamed = random.permutation(polygons), random.permutation(classes)
    again = naive_bayes.evidence(renamed[labels[order]], shares[order][:, np.argsort(renamed)], pixels[order])
    assert again[:, renamed] == pytest.approx(told[order])
