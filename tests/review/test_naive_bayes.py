"""Naive Bayes over what maps show of polygons: by hand, and what holds for any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.review import confident_learning, naive_bayes, ranking

LABELS = np.array([0, 0, 1])
PROBABILITIES = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])


def test_profiles_by_hand() -> None:
    profiles = naive_bayes.profiles(LABELS, PROBABILITIES)
    assert profiles == pytest.approx(np.array([[2 / 3, 1 / 3], [1 / 4, 3 / 4]]))


def test_the_evidence_by_hand() -> None:
    evidence = naive_bayes.evidence(LABELS, PROBABILITIES)
    assert evidence[0] == pytest.approx([np.log(5 / 8) + 5 * np.log(2 / 3), np.log(3 / 8) + 5 * np.log(1 / 4)])
    both = [np.log(2 / 3) + np.log(1 / 3), np.log(1 / 4) + np.log(3 / 4)]
    assert evidence[1] == pytest.approx(np.log([5 / 8, 3 / 8]) + 5 / 2 * np.array(both))


def test_the_scores_by_hand() -> None:
    scores = ranking.scores(LABELS, PROBABILITIES)
    assert scores == pytest.approx(PROBABILITIES - [0.75, 1] + naive_bayes.evidence(LABELS, PROBABILITIES) / 10)


@pytest.mark.parametrize("score", [naive_bayes.evidence, ranking.scores])
def test_a_class_that_maps_rarely_show_is_no_more_suspect_for_it(score: Any) -> None:
    labels = np.array([0] * 10 + [1] * 6)
    probabilities = np.array([[0.95, 0.05]] * 9 + [[0.3, 0.7]] + [[0.6, 0.4]] * 5 + [[0.95, 0.05]])
    margin = confident_learning.margins(labels, score(labels, probabilities))
    assert set(np.argsort(margin)[:2].tolist()) == {9, 15}, "as the maps see no other polygon of their class"
    assert confident_learning.margins(labels, probabilities)[10] < 0 < margin[10]


def test_a_class_that_nobody_bears_may_be_suggested() -> None:
    labels = np.zeros(20, np.int64)
    probabilities = np.array([[1.0, 0, 0]] * 19 + [[0.0, 0, 1]])
    evidence = naive_bayes.evidence(labels, probabilities)
    assert np.isfinite(evidence).all()
    assert confident_learning.margins(labels, evidence).argmin() == 19


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**20))
def test_neither_the_order_of_polygons_nor_that_of_classes_matters(polygons: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, polygons)
    probabilities = random.dirichlet(np.full(classes, 0.5), polygons)
    scores = ranking.scores(labels, probabilities)
    assert np.isfinite(scores).all()
    order, renamed = random.permutation(polygons), random.permutation(classes)
    again = ranking.scores(renamed[labels[order]], probabilities[order][:, np.argsort(renamed)])
    assert again[:, renamed] == pytest.approx(scores[order])
