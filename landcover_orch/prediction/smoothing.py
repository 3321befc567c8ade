"""Markov random field solvers for the Potts energy: iterated conditional modes, simulated annealing, alpha-expansion.

The first two visit pixels in four phases, the parities of row and column in the tile: pixels of one phase are no
neighbours, so all of them change at once. In a sweep a pixel depends on others at a distance of one pixel a phase at
most (4 neighbours: of two, as two phases each go together): `reach` says how far a window must go beyond the part that
is used of it for its result to be that of the whole tile, bit for bit. Draws follow from the pixel's position in the
tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config.experiments import Smoothing
from landcover_orch.config.experiments.prediction import ICM, Annealing, GraphCut
from landcover_orch.grid import splitmix64
from landcover_orch.legend import IGNORE
from landcover_orch.prediction.graph_cut import expansion
from landcover_orch.prediction.potts import STEPS_A_NAT, Classes, Field, Step, Weights

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Parities of row and column in the order of a sweep: with 4 neighbours the first two are independent, and the last."""

SETTLING = 2
"""Sweeps of iterated conditional modes after the annealing."""

LINES = 64
"""Rows of a phase that are worked on at a time: they stay in the processor's cache."""

FINE = 2**16
"""Fixed-point value of the probability of the best class, when one is drawn."""

Origin = tuple[int, int]
"""Row and column of a window's first pixel in its tile."""


def smooth(field: Field, prior: Smoothing, origin: Origin) -> Classes:
    """The labelling (y, x) a solver finds from the field's best classes; 255 where there is no data."""
    match prior:
        case ICM():
            return icm(field, field.best, origin, prior.sweeps)
        case Annealing():
            return icm(field, annealed(field, field.best, origin, prior), origin, SETTLING)
        case GraphCut():
            return expansion(field, field.best, prior.sweeps)
        case _:
            assert_never(prior)


def reach(prior: Smoothing) -> int | None:
    """Pixels beyond which nothing changes a pixel's class; None where there is no such distance (graph cut)."""
    a_sweep = {4: 2, 8: 4}[prior.neighbours]
    match prior:
        case ICM():
            return a_sweep * prior.sweeps
        case Annealing():
            return a_sweep * (prior.sweeps + SETTLING)
        case GraphCut():
            return None
        case _:
            assert_never(prior)


def icm(field: Field, labels: Classes, origin: Origin, sweeps: int) -> Classes:
    """A labelling after sweeps in which each pixel takes its best class, its neighbours given.

    Energy never rises. A pixel keeps its class among equals, else the lowest id wins.
    """
    lattice = Lattice(field, labels)
    for _ in range(sweeps):
        if not lattice.visit(origin, best_labels):
            break
    return lattice.labels


class _Site(NamedTuple):
    """Some rows of one phase."""

    energies: NDArray[np.int16]
    """(class, y, x): of each class, less a constant, the neighbours given."""

    labels: Classes
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    """Positions in the tile."""


Choose = Callable[[_Site], Classes]


def best_labels(site: _Site) -> Classes:
    """Iterated conditional modes: each pixel's class of least energy; its present class among equals."""
    current = np.take_along_axis(
        site.energies, np.minimum(site.labels, len(site.energies) - 1)[None].astype(np.int64), 0
    )
    least = site.energies.min(axis=0)
    return np.where(current[0] == least, site.labels, site.energies.argmin(axis=0)).astype(np.uint8)


def annealed(field: Field, labels: Classes, origin: Origin, settings: Annealing) -> Classes:
    """Simulated annealing: sweeps of a Gibbs sampler, classes drawn in proportion to exp(-energy / temperature)."""
    lattice = Lattice(field, labels)
    ratio = (settings.final_temperature / settings.temperature) ** (1 / (settings.sweeps - 1))
    for sweep in range(settings.sweeps):
        table = likelihoods(settings.temperature * ratio**sweep)
        lattice.visit(origin, lambda site, table=table, sweep=sweep: gibbs_labels(site, table, (settings.seed, sweep)))  # type: ignore[misc]
    return lattice.labels


def likelihoods(temperature: float) -> NDArray[np.int32]:
    """Boltzmann factors in fixed point, by energy above the best class in 1/32 nat."""
    beyond = int(np.log(2 * FINE) * temperature * STEPS_A_NAT) + 2
    table: NDArray[np.int32] = np.rint(FINE * np.exp(-np.arange(beyond) / (temperature * STEPS_A_NAT))).astype(np.int32)
    return table


def gibbs_labels(site: _Site, table: NDArray[np.int32], key: tuple[int, int]) -> Classes:
    """Gibbs sampling: a class of each pixel, drawn by the likelihoods of a `table`."""
    above = site.energies - site.energies.min(axis=0)
    heights = np.cumsum(table[np.minimum(above, len(table) - 1)], axis=0, dtype=np.int32)
    mark = (noise(site.rows, site.cols, key) * heights[-1].astype(np.uint64)) >> np.uint64(32)
    drawn: Classes = (heights <= mark.astype(np.int32)).sum(axis=0, dtype=np.uint8)
    return drawn


def noise(rows: NDArray[np.int64], cols: NDArray[np.int64], key: tuple[int, ...]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele et al. 2014): a pseudo-random number below 2^32 for each position and key, by its finaliser.

    A function of the position alone, so that no order of visiting and no cutting into windows changes it.
    """
    state = rows.astype(np.uint64) << np.uint64(32) | cols.astype(np.uint64)
    for part in (0, *key):
        state = splitmix64(state, part + 1)
    return state >> np.uint64(32)


class Lattice:
    """Lattice of labels as they change, padded by one pixel, so that edges need no special case."""

    def __init__(self, field: Field, labels: Classes) -> None:
        self._field = field
        self._labels = np.pad(labels, 1, constant_values=IGNORE)
        self._pairs = [(step, np.pad(weight, 1)) for step, weight in field.weights.items()]

    @property
    def labels(self) -> Classes:
        """As they are now, (y, x)."""
        return self._labels[1:-1, 1:-1].copy()

    def visit(self, origin: Origin, choose: Choose) -> int:
        """One sweep, in which `choose` gives each pixel its class; how many it changed."""
        height, changed = self._field.shape[0], 0
        for parity in PHASES:
            top, left = ((p - o) % 2 for p, o in zip(parity, origin, strict=True))
            for first in range(top, height, 2 * LINES):
                changed += self.update((first, min(first + 2 * LINES, height)), left, origin, choose)
        return changed

    def update(self, rows: tuple[int, int], left: int, origin: Origin, choose: Choose) -> int:
        """Updates every other row of a range, and every other column from `left`; how many pixels changed."""
        sites = slice(*rows, 2), slice(left, self._field.shape[1], 2)
        before = self._labels[_padded_slices(sites)]
        positions = (np.arange(s.start, s.stop, 2) + o for s, o in zip(sites, origin, strict=True))
        site = _Site(self.energies(sites), before, *np.meshgrid(*positions, indexing="ij"))
        after = np.where(self._field.valid[sites], choose(site), np.uint8(IGNORE))
        changed = int(np.count_nonzero(before != after))
        self._labels[_padded_slices(sites)] = after
        return changed

    def energies(self, sites: tuple[slice, slice]) -> NDArray[np.int16]:
        """Conditional energies (class, y, x): a pair of one class is credited its weight, all others cost nothing."""
        energies = self._field.unary_costs[:, *sites].astype(np.int16)
        for weight, labels in self.neighbours(sites):
            for k, energy in enumerate(energies):
                energy -= weight * (labels == k)
        return energies

    def neighbours(self, sites: tuple[slice, slice]) -> Iterator[tuple[Weights, Classes]]:
        """Weights and labels of the neighbours at each step, in both directions."""
        for (down, right), weight in self._pairs:
            forward, backward = _padded_slices(sites, (down, right)), _padded_slices(sites, (-down, -right))
            yield weight[_padded_slices(sites)].copy(), self._labels[forward].copy()
            yield weight[backward].copy(), self._labels[backward].copy()


def _padded_slices(sites: tuple[slice, slice], step: Step = (0, 0)) -> tuple[slice, slice]:
    """The same slices at a step, in arrays with a margin of one pixel."""
    rows, cols = (slice(1 + s.start + d, 1 + s.stop + d, s.step) for s, d in zip(sites, step, strict=True))
    return rows, cols
