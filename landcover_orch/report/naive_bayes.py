"""Which class explains best what maps show of a polygon: multinomial naive Bayes over its mapped pixels.

No IO; arrays are given labels (polygon), shares of each polygon's pixels by mapped class (polygon, class) and how many
pixels these are (polygon).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landcover_orch.report.confident import Labels

Shares = NDArray[np.float64]
Pixels = NDArray[np.float64]


def profiles(labels: Labels, shares: Shares) -> Shares:
    """What maps show of each class (class, mapped class): the mean over its polygons and one that is spread evenly.

    So nothing is impossible, and of a class without polygons nothing is known.
    """
    classes = shares.shape[1]
    sums = np.full((classes, classes), 1 / classes)
    np.add.at(sums, labels, shares)
    return np.asarray(sums / (np.bincount(labels, minlength=classes) + 1)[:, None])


def correlation(labels: Labels, shares: Shares, pixels: Pixels) -> float:
    """How much pixels of one polygon resemble each other, from 0 (not at all) to 1; at least 2 pixels each.

    The intraclass correlation rho of the median polygon, whatever some wrong labels do. Of N draws with that
    correlation from a profile q, the shares s lie off it by E|s - q|^2 = (1 - |q|^2) (1 + (N - 1) rho) / N.
    """
    profile = profiles(labels, shares)[labels]
    apart = ((shares - profile) ** 2).sum(axis=1) / (1 - (profile**2).sum(axis=1))
    return float(np.clip(np.median((apart * pixels - 1) / (pixels - 1)), 0, 1))


def evidence(labels: Labels, shares: Shares, pixels: Pixels) -> NDArray[np.float64]:
    """ln of prior times likelihood of each class (polygon, class), in nats up to a term of the polygon alone.

    ln pi_j + M sum_k s_k ln q_jk, where s are the polygon's shares, q_j the profile of class j and pi_j its share of
    all polygons and one that is spread evenly. Of N pixels M = N / (1 + (N - 1) rho) are as good as independent (the
    design effect of L. Kish, Survey Sampling, 1965). A class that maps often take for another is no more suspect for
    it.
    """
    classes = shares.shape[1]
    prior = (np.bincount(labels, minlength=classes) + 1 / classes) / (labels.size + 1)
    independent = pixels / (1 + (pixels - 1) * correlation(labels, shares, pixels))
    likelihood = shares @ np.log(profiles(labels, shares)).T
    return np.asarray(np.log(prior) + independent[:, None] * likelihood)
