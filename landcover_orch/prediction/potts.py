"""Potts model: the energy of a labelling, how well it fits the probabilities, and how smooth it is.

    E(x) = sum_i -log p_i(x_i) + sum_{i~j} beta exp(-|I_i - I_j|^2 / (2 sigma^2)) [x_i != x_j]

A labelling of least energy is the most probable one (maximum a posteriori) where neighbours like to agree: the first
sum is the data's, the second the prior of a Markov random field, in which a pixel depends on its neighbours alone.
|I_i - I_j|^2 is the mean over the bands, in band standard deviations; without a sigma the exponential is 1. Energies
are whole numbers of 1/32 nat: sums are exact in any order, and a minimum cut has the whole capacities it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config.experiments import Smoothing
from landcover_orch.legend import IGNORE

STEPS_A_NAT = 32
"""Energies are counted in 1/32 nat: 3 % of a probability."""

PROBABILITY_ONE = 65_535
"""Probability 1 in the fixed point that costs are looked up by."""

MOST = 255
"""The highest data cost, 8 nats: what the network calls less probable than 1 in 3,000 counts as that."""

GRAIN = 64
"""Squared contrasts are looked up in steps of 1/64 of 2 sigma^2."""

Step = tuple[int, int]
"""From a pixel to a neighbour: rows down, columns to the right."""

FORWARD: dict[int, tuple[Step, ...]] = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}
"""By number of neighbours the steps that name each pair once."""

Classes = NDArray[np.uint8]
Costs = NDArray[np.uint8]
Weights = NDArray[np.int16]


def cost_table() -> Costs:
    """The cost of each probability 0 ... `PROBABILITY_ONE` in 1/32 nat."""
    nats = -np.log(np.maximum(np.arange(PROBABILITY_ONE + 1), 0.5) / PROBABILITY_ONE)
    table: Costs = np.minimum(np.rint(STEPS_A_NAT * nats), MOST).astype(np.uint8)
    return table


@dataclass(frozen=True, eq=False)
class Field:
    """Markov random field: unary costs (class, y, x), and the weight (y, x) of each pixel's pair at each step.

    Weights are 0 where a pair does not exist: over the window's edge, or where a pixel holds no data.
    """

    unary_costs: Costs
    weights: Mapping[Step, Weights]
    valid: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.valid.shape[0], self.valid.shape[1]

    @cached_property
    def best(self) -> Classes:
        """The class (y, x) of least cost, neighbours left aside; 255 where there is no data."""
        return np.where(self.valid, self.unary_costs.argmin(axis=0), IGNORE).astype(np.uint8)

    def energy(self, labels: Classes, rows: slice = slice(None), cols: slice = slice(None)) -> int:
        """Energy in 1/32 nat: data costs of the pixels of a part, and of the pairs that begin there."""
        part = labels[rows, cols]
        chosen = np.take_along_axis(
            self.unary_costs[:, rows, cols], np.minimum(part, len(self.unary_costs) - 1)[None].astype(np.int64), axis=0
        )[0]
        total = int(chosen[self.valid[rows, cols]].sum(dtype=np.int64))
        for step, weight in self.weights.items():
            unlike = labels != shifted(labels, step)
            total += int(weight[rows, cols][unlike[rows, cols]].sum(dtype=np.int64))
        return total


def shifted(values: NDArray[np.uint8], step: Step) -> NDArray[np.uint8]:
    """At each pixel the value (y, x) of its neighbour at `step`; 255 beyond the edge."""
    (down, right), (height, width) = step, values.shape
    values_there = np.full_like(values, IGNORE)
    values_there[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)] = values[
        max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)
    ]
    return values_there


def field(costs: Costs, valid: NDArray[np.bool_], prior: Smoothing, image: NDArray[np.float32] | None = None) -> Field:
    """The Markov random field of a window.

    Args:
        costs: unary costs (class, y, x) in 1/32 nat.
        valid: which pixels (y, x) hold data; no other has a class, a cost, or neighbours.
        prior: beta, neighbours and sigma.
        image: pixels (band, y, x) in band standard deviations; asked for where there is a sigma.
    """
    weights = {}
    for step in FORWARD[prior.neighbours]:
        pair = valid & (shifted(valid.astype(np.uint8), step) == 1)
        weights[step] = np.where(pair, pair_weights(image, prior, step), 0).astype(np.int16)
    return Field(costs, weights, valid)


def pair_weights(image: NDArray[np.float32] | None, prior: Smoothing, step: Step) -> Weights:
    """Pair weights (y, x) at a step: beta, less where the image has a contrast."""
    if prior.sigma is None or image is None:
        return np.array(round(STEPS_A_NAT * prior.beta), np.int16)
    squares = np.zeros(image.shape[1:], np.float32)
    for band in image:
        squares += np.square(band - np.roll(band, (-step[0], -step[1]), (0, 1)))
    squares *= np.float32(GRAIN / (2 * prior.sigma**2 * len(image)))
    table = contrast_table(prior.beta)
    return table[np.minimum(squares, len(table) - 1).astype(np.int32)]


def contrast_table(beta: float) -> Weights:
    """Weights by squared contrast in steps of 1/`GRAIN`, until they are 0."""
    beyond = GRAIN * (int(np.log(2 * STEPS_A_NAT * max(beta, 1))) + 2)
    return np.rint(STEPS_A_NAT * beta * np.exp(-np.arange(beyond) / GRAIN)).astype(np.int16)
