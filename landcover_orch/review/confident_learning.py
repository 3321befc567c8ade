"""Confident learning: which labels are probably wrong, from out-of-sample probabilities.

Written from C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
Journal of Artificial Intelligence Research 70 (2021). No IO; arrays are probabilities (example, class), given labels
(example) and, where said, a joint (given class, true class).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Joint = NDArray[np.float64]


def thresholds(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Class thresholds t_j: the mean probability of class j over the examples labelled j (equation 2).

    Infinite where there are none: a class without examples is thereby never confident.
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, self_confidence(labels, probabilities), classes)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.inf))


def self_confidence(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Self-confidence: the probability of each example's own label."""
    confidence: NDArray[np.float64] = probabilities[np.arange(labels.size), labels]
    return confidence


def confident_joint(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Confident joint C (given, true): examples labelled i that are confidently of class j (equation 1).

    Confident are classes whose probability reaches their threshold; of several, the most probable (the lowest id of
    equals) counts; an example without any counts nowhere.
    """
    classes = probabilities.shape[1]
    reached = probabilities >= thresholds(labels, probabilities)
    true = np.where(reached, probabilities, -1.0).argmax(axis=1)
    confident = reached.any(axis=1)
    joint = labels[confident] * classes + true[confident]
    return np.bincount(joint, minlength=classes**2).reshape(classes, classes)


def calibrated(confident: NDArray[np.int64], counts: NDArray[np.int64]) -> Joint:
    """Calibrated confident joint: each row scaled to the number of examples that bear its label (equation 3, above).

    A class none of whose examples is confident is taken as labelled right.
    """
    filled = np.where(confident.sum(axis=1, keepdims=True) > 0, confident, np.eye(len(counts), dtype=np.int64))
    scaled: Joint = filled * counts[:, None] / filled.sum(axis=1, keepdims=True)  # halves stay halves
    return scaled


def joint(labels: Labels, probabilities: Probabilities) -> Joint:
    """Joint distribution Q (given, true): the estimated distribution of given and true labels (equation 3); sums to 1.

    Its rows sum to the fractions of the given labels.

    Raises:
        ValueError: there is no example.
    """
    if not labels.size:
        raise ValueError("a joint distribution of no examples")
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    scaled = calibrated(confident_joint(labels, probabilities), counts)
    return np.asarray(scaled / scaled.sum())


def adjusted(labels: Labels, probabilities: Probabilities) -> Probabilities:
    """Adjusted probabilities: those less the median self-confidence of their classes.

    So a class that is always uncertain is not flagged for that alone. The paper's thresholds are means, which wrong
    labels of a rare class pull down far enough to hide themselves. A class without examples, of which nothing is known,
    is adjusted by 1.
    """
    each = self_confidence(labels, probabilities)
    members = (each[labels == j] for j in range(probabilities.shape[1]))
    return np.asarray(probabilities - [float(np.median(group)) if group.size else 1.0 for group in members])


def margins(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Normalised margin of each example: the probability, or score, of its label less that of the best other class."""
    others = probabilities.copy()
    others[np.arange(labels.size), labels] = -np.inf
    margin: NDArray[np.float64] = self_confidence(labels, probabilities) - others.max(axis=1)
    return margin


def suggested(labels: Labels, probabilities: Probabilities) -> Labels:
    """Suggested labels: the most probable class besides the label, the lowest id of equals."""
    others = probabilities.copy()
    others[np.arange(labels.size), labels] = -np.inf
    return np.asarray(others.argmax(axis=1), np.int64)


def prune_by_noise_rate(labels: Labels, probabilities: Probabilities) -> NDArray[np.bool_]:
    """Prune by noise rate: the mask of examples that this rule of the paper takes out.

    For each pair of classes i and j that differ, the n Q[i, j] examples labelled i (rounded) whose probability of j is
    most above that of i.
    """
    pruned = np.zeros(labels.size, bool)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    number = np.rint(calibrated(confident_joint(labels, probabilities), counts)).astype(np.int64)
    np.fill_diagonal(number, 0)
    for given, true in np.argwhere(number):
        members = np.flatnonzero(labels == given)
        lead = probabilities[members, true] - probabilities[members, given]
        pruned[members[np.argsort(-lead, kind="stable")[: number[given, true]]]] = True
    return pruned
