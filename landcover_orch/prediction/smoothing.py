"""Three ways to a labelling of low Potts energy: iterated conditional modes, simulated annealing, alpha-expansion.

The first two visit pixels in four phases, the parities of row and column in the tile: pixels of one phase are no
neighbours, so all of them change at once. A sweep lets a pixel feel others at a distance of one pixel a phase at most
(4 neighbours: of two, as two phases each go together): `reach` says how far a window must go beyond what is kept of it
for its result to be that of the whole tile, bit for bit. Draws follow from the pixel's place in the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config.experiments import Smoothing
from landcover_orch.config.experiments.prediction import ICM, Annealing
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
    if isinstance(prior, ICM):
        return icm(field, field.best, origin, prior.sweeps)
    if isinstance(prior, Annealing):
        return icm(field, annealed(field, field.best, origin, prior), origin, SETTLING)
    return expansion(field, field.best, prior.sweeps)


def reach(prior: Smoothing) -> int | None:
    """Pixels beyond which nothing changes a pixel's class; None where there is no such distance (graph cut)."""
    a_sweep = {4: 2, 8: 4}[prior.neighbours]
    if isinstance(prior, ICM):
        return a_sweep * prior.sweeps
    return a_sweep * (prior.sweeps + SETTLING) if isinstance(prior, Annealing) else None


def icm(field: Field, labels: Classes, origin: Origin, sweeps: int) -> Classes:
    """A labelling after sweeps in which each pixel takes its best class, its neighbours given.

    Energy never rises. A pixel keeps its class among equals, else the lowest id wins.
    """
    lattice = _Lattice(field, labels)
    for _ in range(sweeps):
        if not lattice.visit(origin, _best):
            break
    return lattice.labels


class _Site(NamedTuple):
    """Some rows of one phase."""

    energies: NDArray[np.int16]
    """(class, y, x): of each class, less a constant, the neighbours given."""

    labels: Classes
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    """Places in the tile."""


Choose = Callable[[_Site], Classes]


def _best(site: _Site) -> Classes:
    kept = np.take_along_axis(site.energies, np.minimum(site.labels, len(site.energies) - 1)[None].astype(np.int64), 0)
    least = site.energies.min(axis=0)
    return np.where(kept[0] == least, site.labels, site.energies.argmin(axis=0)).astype(np.uint8)


def annealed(field: Field, labels: Classes, origin: Origin, prior: Annealing) -> Classes:
    """A labelling after sweeps in which each pixel is drawn from its classes, exp(-energy / temperature) apart."""
    lattice = _Lattice(field, labels)
    ratio = (prior.final_temperature / prior.temperature) ** (1 / (prior.sweeps - 1))
    for sweep in range(prior.sweeps):
        table = _likelihoods(prior.temperature * ratio**sweep)
        lattice.visit(origin, lambda site, table=table, sweep=sweep: _drawn(site, table, (prior.seed, sweep)))  # type: ignore[misc]
    return lattice.labels


def _likelihoods(temperature: float) -> NDArray[np.int32]:
    """By energy above the best class in 1/32 nat: how often a class is drawn, in whole numbers."""
    beyond = int(np.log(2 * FINE) * temperature * STEPS_A_NAT) + 2
    found: NDArray[np.int32] = np.rint(FINE * np.exp(-np.arange(beyond) / (temperature * STEPS_A_NAT))).astype(np.int32)
    return found


def _drawn(site: _Site, table: NDArray[np.int32], key: tuple[int, int]) -> Classes:
    above = site.energies - site.energies.min(axis=0)
    heights = np.cumsum(table[np.minimum(above, len(table) - 1)], axis=0, dtype=np.int32)
    mark = (noise(site.rows, site.cols, key) * heights[-1].astype(np.uint64)) >> np.uint64(32)
    drawn: Classes = (heights <= mark.astype(np.int32)).sum(axis=0, dtype=np.uint8)
    return drawn


def noise(rows: NDArray[np.int64], cols: NDArray[np.int64], key: tuple[int, ...]) -> NDArray[np.uint64]:
    """A number below 2^32 for each place and key, as good as random: the finaliser of SplitMix64 (Steele et al. 2014).

    A function of the place alone, so that no order of visiting and no cutting into windows changes it.
    """
    state = rows.astype(np.uint64) << np.uint64(32) | cols.astype(np.uint64)
    for part in (0, *key):
        state = _mixed(state + np.uint64((0x9E3779B97F4A7C15 * (part + 1)) % 2**64))
    return state >> np.uint64(32)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class _Lattice:
    """The labels of a field as they change, with a margin of one pixel that spares every question about edges."""

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
                changed += self._some((first, min(first + 2 * LINES, height)), left, origin, choose)
        return changed

    def _some(self, rows: tuple[int, int], left: int, origin: Origin, choose: Choose) -> int:
        """Every other row of a range, from its first, and every other column from `left`."""
        own = slice(*rows, 2), slice(left, self._field.shape[1], 2)
        before = self._labels[_moved(own)]
        places = (np.arange(s.start, s.stop, 2) + o for s, o in zip(own, origin, strict=True))
        site = _Site(self._energies(own), before, *np.meshgrid(*places, indexing="ij"))
        after = np.where(self._field.valid[own], choose(site), np.uint8(IGNORE))
        changed = int(np.count_nonzero(before != after))
        self._labels[_moved(own)] = after
        return changed

    def _energies(self, own: tuple[slice, slice]) -> NDArray[np.int16]:
        """A pair of one class is credited its weight, instead of charging all other classes."""
        energies = self._field.costs[:, *own].astype(np.int16)
        for weight, labels in self._neighbours(own):
            for k, energy in enumerate(energies):
                energy -= weight * (labels == k)
        return energies

    def _neighbours(self, own: tuple[slice, slice]) -> Iterator[tuple[Weights, Classes]]:
        for (down, right), weight in self._pairs:
            there, behind = _moved(own, (down, right)), _moved(own, (-down, -right))
            yield weight[_moved(own)].copy(), self._labels[there].copy()
            yield weight[behind].copy(), self._labels[behind].copy()


def _moved(own: tuple[slice, slice], step: Step = (0, 0)) -> tuple[slice, slice]:
    """The same slices at a step, in arrays with a margin of one pixel."""
    rows, cols = (slice(1 + s.start + d, 1 + s.stop + d, s.step) for s, d in zip(own, step, strict=True))
    return rows, cols
