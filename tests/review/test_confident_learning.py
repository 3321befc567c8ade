"""Confident learning against an example worked by hand, and what holds for any probabilities."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.review import confident_learning

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.7, 0.2, 0.1],
        [0.7, 0.3, 0.0],
        [0.2, 0.8, 0.0],  # labelled 0, confidently 1
        [0.1, 0.7, 0.2],
        [0.3, 0.5, 0.2],
        [0.65, 0.25, 0.1],  # labelled 1, confidently 0
        [0.1, 0.5, 0.4],  # reaches the thresholds of 1 and 2: 1 is more probable
    ]
)


def test_thresholds_are_the_mean_self_confidence() -> None:
    thresholds = confident_learning.thresholds(LABELS, PROBABILITIES)
    assert thresholds == pytest.approx([(0.9 + 0.7 + 0.7 + 0.2) / 4, (0.7 + 0.5 + 0.25) / 3, 0.4])


def test_the_confident_joint_by_hand() -> None:
    joint = confident_learning.confident_joint(LABELS, PROBABILITIES)
    assert joint.tolist() == [[3, 1, 0], [1, 2, 0], [0, 1, 0]]


def test_an_example_that_reaches_no_threshold_counts_nowhere() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.95, 0.05], [0.55, 0.45], [0.1, 0.9], [0.3, 0.7]])
    assert confident_learning.confident_joint(labels, probabilities).tolist() == [[1, 0], [0, 1]]


def test_calibration_gives_every_label_its_count() -> None:
    joint = confident_learning.calibrated(np.array([[3, 1], [0, 0]]), np.array([8, 5]))
    assert joint.tolist() == [[6, 2], [0, 5]], "of a class without confident examples nothing is known"


def test_the_joint_by_hand() -> None:
    expected = np.array([[3, 1, 0], [1, 2, 0], [0, 1, 0]]) / 8
    assert confident_learning.joint(LABELS, PROBABILITIES) == pytest.approx(expected)


def test_pruning_by_noise_rate_takes_those_with_the_widest_lead() -> None:
    assert np.flatnonzero(confident_learning.prune_by_noise_rate(LABELS, PROBABILITIES)).tolist() == [3, 6, 7]


def test_margins_and_suggestions() -> None:
    margins = confident_learning.margins(LABELS, PROBABILITIES)
    assert margins == pytest.approx([0.8, 0.5, 0.4, -0.6, 0.5, 0.2, -0.4, -0.1])
    assert confident_learning.suggested(LABELS, PROBABILITIES).tolist() == [1, 1, 1, 1, 2, 0, 0, 1]


def test_probabilities_are_levelled_by_what_a_class_typically_reaches() -> None:
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.4, 0.0]])
    adjusted = confident_learning.adjusted(labels, probabilities)
    assert adjusted[3] == pytest.approx([-0.2, 0.0, -1.0]), "as probable as its class ever is; none is of the third"
    margins = confident_learning.margins(labels, adjusted)
    assert margins[3] == pytest.approx(0.2)
    assert margins[2] == pytest.approx((0.1 - 0.8) - (0.8 - 0.4)), "a mean would be drawn down by the wrong label"


def test_nothing_to_look_at() -> None:
    labels, probabilities = np.empty(0, np.int64), np.empty((0, 3))
    assert confident_learning.prune_by_noise_rate(labels, probabilities).size == 0
    with pytest.raises(ValueError, match="no examples"):
        confident_learning.joint(labels, probabilities)


@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 2**20))
def test_the_rows_of_the_joint_are_the_shares_of_the_labels(examples: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, examples)
    probabilities = random.dirichlet(np.full(classes, 0.5), examples)
    joint = confident_learning.joint(labels, probabilities)
    assert joint.sum(axis=1) == pytest.approx(np.bincount(labels, minlength=classes) / examples)
    assert (joint >= 0).all()
    counts = np.bincount(labels, minlength=classes)
    expected = confident_learning.calibrated(confident_learning.confident_joint(labels, probabilities), counts)
    assert expected == pytest.approx(joint * examples)
    off_diagonal = np.rint(expected)  # as it is: n Q differs in the last place, and a half would fall the other way
    np.fill_diagonal(off_diagonal, 0)
    pruned = confident_learning.prune_by_noise_rate(labels, probabilities)
    assert pruned.sum() <= off_diagonal.sum(), "an example may be taken for two pairs"
    order = np.argsort(confident_learning.margins(labels, probabilities), kind="stable")
    assert confident_learning.margins(labels, probabilities)[order[0]] >= -1


@given(st.data())
@settings(max_examples=40)
def test_everything_is_as_the_formulas_of_the_paper_say(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 4))
    labels = data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=25))
    counts = [[data.draw(st.integers(0, 8)) for _ in range(classes)] for _ in labels]
    exact = [[Fraction(count, 64) for count in row] for row in counts]
    given_labels, probabilities = np.array(labels), np.array(counts) / 64
    counted = _confident_joint(labels, exact, classes)
    assert confident_learning.confident_joint(given_labels, probabilities).tolist() == counted
    expected = _joint(labels, counted)
    assert confident_learning.joint(given_labels, probabilities) == pytest.approx(np.array(expected, float))
    flagged = confident_learning.prune_by_noise_rate(given_labels, probabilities)
    assert set(np.flatnonzero(flagged).tolist()) == _pruned(labels, exact, expected)


def _confident_joint(labels: list[int], p: list[list[Fraction]], classes: int) -> list[list[int]]:
    """Equations 1 and 2, example by example, in whole fractions."""
    counts = [[0] * classes for _ in range(classes)]
    held = {j: [p[x][j] for x in range(len(labels)) if labels[x] == j] for j in range(classes)}
    threshold = {j: sum(values, Fraction(0)) / len(values) for j, values in held.items() if values}
    for x, i in enumerate(labels):
        reached = [j for j in threshold if p[x][j] >= threshold[j]]
        if reached:
            counts[i][max(reached, key=lambda j: (p[x][j], -j))] += 1
    return counts


def _joint(labels: list[int], counts: list[list[int]]) -> list[list[Fraction]]:
    """Equation 3: rows scaled to the number of examples of their label, then all to a sum of 1."""
    scaled = [[Fraction(n * labels.count(i), sum(row) or 1) for n in row] for i, row in enumerate(counts)]
    total = sum(map(sum, scaled))
    return [[n / total for n in row] for row in scaled]


def _pruned(labels: list[int], p: list[list[Fraction]], joint: list[list[Fraction]]) -> set[int]:
    """Section 3.2, prune by noise rate: n Q[i, j] examples labelled i with the largest p[j] - p[i], for each i != j."""
    pruned = set()
    for i, row in enumerate(joint):
        for j, fraction in enumerate(row):
            if i != j:
                members = [x for x in range(len(labels)) if labels[x] == i]
                members.sort(key=lambda x: p[x][i] - p[x][j])
                pruned |= set(members[: round(fraction * len(labels))])
    return pruned


@given(st.integers(2, 5), st.integers(0, 2**20))
def test_certain_and_right_probabilities_leave_every_label(classes: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, 40)
    right = np.eye(classes)[labels]
    assert not confident_learning.prune_by_noise_rate(labels, right).any()
    assert (confident_learning.margins(labels, right) == 1).all()
