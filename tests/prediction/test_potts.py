"""The energy, against its formula written out pair by pair."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.config.experiments.prediction import GraphCut
from landcover_orch.legend import IGNORE
from landcover_orch.prediction.blend import UNIT, decide, unary_costs
from landcover_orch.prediction.potts import MOST, PROBABILITY_ONE, STEPS_A_NAT, cost_table, field
from tests.prediction.fields import SEEDS


def _by_hand(data: np.ndarray, valid: np.ndarray, prior: GraphCut, image: np.ndarray, labels: np.ndarray) -> float:
    """In nats: every pixel, then every pair of neighbours, once."""
    (height, width), total = valid.shape, 0.0
    reach = {4: [(0, 1), (1, 0)], 8: [(0, 1), (1, 0), (1, 1), (1, -1)]}[prior.neighbours]
    for y, x in np.argwhere(valid):
        total += data[labels[y, x], y, x] / STEPS_A_NAT
        for dy, dx in reach:
            v, u = y + dy, x + dx
            if 0 <= v < height and 0 <= u < width and valid[v, u] and labels[v, u] != labels[y, x]:
                square = float(np.mean((image[:, y, x] - image[:, v, u]) ** 2))
                total += prior.beta * (exp(-square / (2 * prior.sigma**2)) if prior.sigma else 1)
    return total


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.sampled_from([4, 8]), st.sampled_from([None, 0.4, 2.0]), st.floats(0, 4))
def test_the_energy_is_its_formula(seed: int, neighbours: int, sigma: float | None, beta: float) -> None:
    random = np.random.default_rng(seed)
    shape, prior = (4, 5), GraphCut(beta=beta, neighbours=neighbours, sigma=sigma)
    data, valid = random.integers(0, 256, (3, *shape)).astype(np.uint8), random.random(shape) < 0.8
    image = random.normal(size=(2, *shape)).astype(np.float32)
    labels = np.where(valid, random.integers(0, 3, shape), IGNORE).astype(np.uint8)
    energy = field(data, valid, prior, image).energy(labels) / STEPS_A_NAT
    pairs = 2 * 20 if neighbours == 4 else 4 * 20
    assert abs(energy - _by_hand(data, valid, prior, image, labels)) <= pairs * (0.51 + 0.05 * beta) / STEPS_A_NAT


def test_costs_are_negative_logarithms() -> None:
    table = cost_table().astype(int)
    assert table[PROBABILITY_ONE] == 0
    assert table[PROBABILITY_ONE // 2] == round(STEPS_A_NAT * log(2))
    assert table[PROBABILITY_ONE // 100] == pytest.approx(STEPS_A_NAT * log(100), abs=0.51)
    assert table[0] == MOST
    assert (np.diff(table) <= 0).all()


@given(SEEDS, st.integers(2, 9))
def test_the_decided_class_alone_costs_least(seed: int, classes: int) -> None:
    sums = np.random.default_rng(seed).multinomial(UNIT, [1 / classes] * classes, (3, 4)).transpose(2, 0, 1)
    sums[:, 0, :2] = UNIT // classes
    weights = torch.ones(3, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    stored = torch.from_numpy(sums.astype(np.int32))
    decided, _ = decide(stored, *weights)
    energies = unary_costs(stored, decided, *weights, torch.from_numpy(cost_table()))
    assert np.array_equal(energies.argmin(axis=0), decided)
    assert ((energies == energies.min(axis=0)).sum(axis=0) == 1).all()
    assert np.abs(energies - STEPS_A_NAT * -np.log(np.maximum(sums, 1) / UNIT)).max() <= 1.6


def test_pixels_without_data_have_no_neighbours() -> None:
    valid = np.ones((3, 3), bool)
    valid[1, 1] = False
    mrf = field(np.zeros((2, 3, 3), np.uint8), valid, GraphCut(neighbours=8))
    checkered = np.array([[0, 1, 0], [1, 255, 1], [0, 1, 0]], np.uint8)
    # the ring of eight: four sides' pairs of two each differ, and the diagonals that cut a corner do not
    assert mrf.energy(checkered) == 8 * STEPS_A_NAT
    assert mrf.best[1, 1] == IGNORE


def test_a_border_of_the_image_lowers_beta() -> None:
    image = np.zeros((4, 1, 4), np.float32)
    image[:, :, 2:] = 1
    weights = field(np.zeros((2, 1, 4), np.uint8), np.ones((1, 4), bool), GraphCut(sigma=1.0), image).weights[0, 1]
    assert weights.tolist() == [[STEPS_A_NAT, round(STEPS_A_NAT * exp(-0.5)), STEPS_A_NAT, 0]]


def test_a_part_counts_its_pixels_and_the_pairs_that_begin_there() -> None:
    random = np.random.default_rng(0)
    mrf = field(random.integers(0, 99, (3, 6, 7)).astype(np.uint8), random.random((6, 7)) < 0.9, GraphCut(neighbours=8))
    labels = np.where(mrf.valid, random.integers(0, 3, (6, 7)), IGNORE).astype(np.uint8)
    parts = [(slice(a, b), slice(c, d)) for a, b in ((0, 2), (2, 6)) for c, d in ((0, 5), (5, 7))]
    assert sum(mrf.energy(labels, *part) for part in parts) == mrf.energy(labels)
