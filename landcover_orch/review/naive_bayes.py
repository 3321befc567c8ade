"""Multinomial naive Bayes: which class explains best the mean probabilities of a polygon.

No IO; arrays are given labels (polygon) and probabilities (polygon, class).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landcover_orch.review.confident_learning import Labels, Probabilities

INDEPENDENT_OBSERVATIONS = 5
"""How many independent observations the pixels of a polygon are worth, however many: neighbours are correlated."""


def profiles(labels: Labels, probabilities: Probabilities) -> Probabilities:
    """Class profiles (class, probability): the mean over its polygons and one that is spread evenly.

    So nothing is impossible, and of a class without polygons nothing is known.
    """
    classes = probabilities.shape[1]
    sums = np.full((classes, classes), 1 / classes)
    np.add.at(sums, labels, probabilities)
    return np.asarray(sums / (np.bincount(labels, minlength=classes) + 1)[:, None])


def evidence(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Log posterior: ln of prior times likelihood of each class (polygon, class), in nats, up to a constant a polygon.

    ln pi_j + 5 sum_k p_k ln q_jk, where p are the polygon's probabilities, q_j the profile of class j and pi_j its
    fraction of all polygons and one that is spread evenly. A class that maps often take for another is not flagged for
    that alone.
    """
    classes = probabilities.shape[1]
    prior = (np.bincount(labels, minlength=classes) + 1 / classes) / (labels.size + 1)
    return np.asarray(
        np.log(prior) + INDEPENDENT_OBSERVATIONS * probabilities @ np.log(profiles(labels, probabilities)).T
    )
