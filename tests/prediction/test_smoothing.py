"""The solvers: what each promises, on fields small enough to know better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.config.experiments import Smoothing
from landcover_orch.config.experiments.prediction import ICM, Annealing, GraphCut
from landcover_orch.legend import IGNORE
from landcover_orch.prediction.potts import STEPS_A_NAT, field
from landcover_orch.prediction.smoothing import annealed, icm, noise, reach, smooth
from tests.prediction.fields import PRIORS, SEEDS, least_energy, lone_pixel, random_field
from tests.unions import members

SOLVERS = members(Smoothing)


@settings(deadline=None, max_examples=20)
@given(SEEDS, PRIORS, st.integers(2, 5), st.integers(0, 1), st.integers(0, 1))
def test_energy_never_rises_with_a_sweep_of_modes(seed: int, prior: Any, classes: int, row: int, col: int) -> None:
    mrf = random_field(seed, classes, (11, 14), prior, holes=0.1)
    labels = np.where(mrf.valid, np.random.default_rng(seed).integers(0, classes, mrf.shape), IGNORE)
    labels = labels.astype(np.uint8)
    energies = [mrf.energy(labels)]
    for _ in range(4):
        labels = icm(mrf, labels, (row, col), 1)
        energies.append(mrf.energy(labels))
    assert energies == sorted(energies, reverse=True)
    assert np.array_equal(labels == IGNORE, ~mrf.valid)


@settings(deadline=None, max_examples=15)
@given(SEEDS, PRIORS)
def test_no_single_pixel_betters_settled_modes(seed: int, prior: Any) -> None:
    mrf = random_field(seed, 3, (6, 7), prior)
    labels = icm(mrf, mrf.best, (0, 0), 100)
    least = mrf.energy(labels)
    for y, x in np.ndindex(*mrf.shape):
        for k in range(3):
            other = labels.copy()
            other[y, x] = k
            assert mrf.energy(other) >= least


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("neighbours", [4, 8])
def test_without_beta_nothing_changes(solver: Any, neighbours: int) -> None:
    prior = solver(beta=0, neighbours=neighbours)
    random = np.random.default_rng(3)
    best = random.integers(0, 4, (20, 30))
    costs = random.integers(30, 200, (4, 20, 30)).astype(np.uint8)
    np.put_along_axis(costs, best[None], 29, axis=0)  # as the first pass stores it: one class costs least
    mrf = field(costs, random.random((20, 30)) < 0.9, prior)
    assert np.array_equal(smooth(mrf, prior, (5, 6)), mrf.best)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("neighbours", [4, 8])
def test_a_lone_wrong_pixel_in_a_uniform_field_is_removed(solver: Any, neighbours: int) -> None:
    prior = solver(beta=10, neighbours=neighbours)
    mrf = field(lone_pixel(), np.ones((9, 9), bool), prior)
    assert mrf.best[4, 4] == 1
    assert not smooth(mrf, prior, (0, 0)).any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_lone_pixel_that_the_image_shows_too_stays(solver: Any) -> None:
    image = np.zeros((2, 9, 9), np.float32)
    image[:, 4, 4] = 3
    for sigma, stays in ((1.0, True), (None, False)):
        prior = solver(beta=10, sigma=sigma)
        labels = smooth(field(lone_pixel(), np.ones((9, 9), bool), prior, image), prior, (0, 0))
        assert np.argwhere(labels).tolist() == ([[4, 4]] if stays else [])


def test_a_cut_follows_the_border_of_the_image() -> None:
    """Between two sure sides the data know nothing."""
    costs = np.full((2, 12, 12), 20, np.uint8)
    costs[:, :, 0], costs[:, :, 11] = np.array([[0], [255]]), np.array([[255], [0]])
    image = np.zeros((1, 12, 12), np.float32)
    image[:, :, 7:] = 3
    prior = GraphCut(beta=2, sigma=0.5)
    labels = smooth(field(costs, np.ones((12, 12), bool), prior, image), prior, (0, 0))
    assert np.array_equal(labels, np.broadcast_to(np.arange(12) >= 7, (12, 12)))


@settings(deadline=None, max_examples=4)
@given(SEEDS)
def test_slow_annealing_comes_close_to_the_least_energy(seed: int) -> None:
    prior = Annealing(beta=1.0, sweeps=60, temperature=2.0)
    mrf = random_field(seed, 2, (3, 4), prior)
    energies = [mrf.energy(smooth(mrf, prior.model_copy(update={"seed": k}), (0, 0))) for k in range(4)]
    assert min(energies) == least_energy(mrf)


def test_draws_at_a_temperature_follow_its_probabilities() -> None:
    """At temperature 1 and without neighbours classes are drawn as often as the data call them probable."""
    shares = np.array([0.6, 0.3, 0.1])
    nats = np.rint(-np.log(shares) * STEPS_A_NAT).astype(np.uint8)
    prior = Annealing(beta=0, temperature=1, final_temperature=1, sweeps=2)
    mrf = field(np.broadcast_to(nats[:, None, None], (3, 200, 300)), np.ones((200, 300), bool), prior)
    drawn = np.bincount(annealed(mrf, mrf.best, (0, 0), prior).reshape(-1), minlength=3) / 60_000
    expected = np.exp(-nats / STEPS_A_NAT)
    assert drawn == pytest.approx(expected / expected.sum(), abs=0.008)


def test_noise_belongs_to_the_place_and_the_key() -> None:
    rows, cols = np.meshgrid(np.arange(300), np.arange(400), indexing="ij")
    numbers = noise(rows, cols, (1, 2))
    assert np.array_equal(numbers[7:20, 30:44], noise(rows[7:20, 30:44], cols[7:20, 30:44], (1, 2)))
    assert np.array_equal(numbers[:290, :390], noise(rows[:290, :390], cols[:290, :390], (1, 2)))
    shares = numbers / 2**32
    assert shares.mean() == pytest.approx(0.5, abs=0.005)
    assert shares.var() == pytest.approx(1 / 12, abs=0.002)
    for other in (
        numbers[1:, :-1],
        numbers[:-1, 1:],
        noise(rows, cols, (1, 3))[:-1, :-1],
        noise(rows, cols, (2, 2))[:-1, :-1],
    ):
        assert abs(np.corrcoef(numbers[:-1, :-1].reshape(-1), other.reshape(-1))[0, 1]) < 0.015


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("solver", [ICM, Annealing])
def test_nothing_beyond_the_reach_changes_a_pixel(solver: Any, neighbours: int) -> None:
    prior = solver(beta=1.5, neighbours=neighbours, sweeps=3)
    margin = reach(prior)
    full = random_field(5, 3, (90, 101), prior, holes=0.05)
    expected = smooth(full, prior, (0, 0))
    top, left, side = 31, 40, 12
    rows, cols = slice(top - margin, top + side + margin), slice(left - margin, left + side + margin)
    cut = field(full.unary_costs[:, rows, cols], full.valid[rows, cols], prior)
    labels = smooth(cut, prior, (rows.start, cols.start))
    assert np.array_equal(labels[margin:-margin, margin:-margin], expected[top : top + side, left : left + side])
