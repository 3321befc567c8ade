"""Alpha-expansion by graph cuts: for one class after another the best set of pixels to take it, by a minimum cut.

With two classes one expansion gives the labelling of least energy; with more, none that a single expansion could
better, whose energy is at most twice the least (Boykov, Veksler and Zabih, 'Fast approximate energy minimization via
graph cuts', 2001). The cut is scipy's.

Most pixels need no graph (persistency): where unary costs outweigh all neighbours together, the answer is known, and
makes the neighbours' easier. What is left is cut, usually a few per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, maximum_flow

from landcover_orch.prediction.potts import Classes, Field

ROUNDS = 3
"""Rounds of the persistency test before the rest is cut; a fourth finds little more."""

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def expansion(field: Field, labels: Classes, sweeps: int) -> Classes:
    """A labelling (y, x) after each class has expanded, as often as that lowers the energy, at most `sweeps` times.

    Energy never rises; a pixel changes only where that lowers it.
    """
    expanded, pairs = labels.reshape(-1).copy(), Pairs.of(field)
    costs, valid = field.unary_costs.reshape(len(field.unary_costs), -1), field.valid.reshape(-1)
    changed = np.ones((len(costs), len(expanded)), bool)
    for alpha in [k for _ in range(sweeps) for k in range(len(costs))]:
        if changed[alpha].any():
            taken = takers(costs, valid, pairs, expanded, alpha, changed[alpha])
            expanded[taken] = alpha
            changed[:, pairs.around(taken)] = True
            changed[alpha] = False
    return expanded.reshape(labels.shape)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Neighbour pairs (first, second), as positions in the flat window, and the weight of each pair."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    weight: NDArray[np.int32]

    @classmethod
    def of(cls, field: Field) -> Pairs:
        """The pairs of a field."""
        width, parts = field.shape[1], []
        for (down, right), weight in field.weights.items():
            first = np.flatnonzero(weight).astype(np.int32)
            parts.append((first, first + np.int32(down * width + right), weight.reshape(-1)[first].astype(np.int32)))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def around(self, chosen: Mask) -> Mask:
        """Chosen pixels and their neighbours."""
        pixels = chosen.copy()
        pixels[self.second[chosen[self.first]]] = True
        pixels[self.first[chosen[self.second]]] = True
        return pixels


@dataclass(frozen=True, eq=False)
class ExpansionMove:
    """Expansion move: minimise sum_i gain_i b_i + sum_ij price_ij (1 - b_i) b_j over b in {0, 1}.

    `gain` is what pixel i adds to the energy by taking the class, if the pairs that begin there ended in takers, and
    those that end there began in some.
    """

    gain: Ints
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    price: NDArray[np.int32]

    def among(self, free: Mask, taking: Mask) -> ExpansionMove:
        """The same move of the free pixels alone, the others' answers given."""
        gain, count = self.gain.copy(), len(self.gain)
        inside = free[self.first] & free[self.second]
        ends = ~inside & ~taking[self.first]
        begins = ~inside & taking[self.second]
        gain += _sum_by_pixel(self.second[ends], self.price[ends], count)
        gain -= _sum_by_pixel(self.first[begins], self.price[begins], count)
        return ExpansionMove(gain, self.first[inside], self.second[inside], self.price[inside])


def takers(costs: NDArray[np.uint8], valid: Mask, pairs: Pairs, labels: Classes, alpha: int, changed: Mask) -> Mask:
    """The pixels that take a class in the expansion move of least energy.

    `changed` is where a pixel or its neighbour changed since the class last expanded: a connected component without any
    would stay again.
    """
    free = valid & (labels != alpha)
    taking = valid & ~free
    move = expansion_move(costs, valid, pairs, labels, alpha)
    for _ in range(ROUNDS):
        move = move.among(free, taking)
        never, surely = persistent(move, free)
        taking |= surely
        free &= ~(never | surely)
    move = move.among(free, taking)
    free &= connected_to(move, changed)
    if free.any():
        taking[free] = minimum_cut(move.among(free, taking), free)
    expanding: Mask = taking & (labels != alpha)
    return expanding


def expansion_move(costs: NDArray[np.uint8], valid: Mask, pairs: Pairs, labels: Classes, alpha: int) -> ExpansionMove:
    """The move as a quadratic function: with a pair's energies A (both stay), B (second takes), C (first takes) and 0,
    the first gains C - A, the second -C, and (1 - b_i) b_j costs B + C - A, which no class makes negative."""
    i, j, weight = pairs.first, pairs.second, pairs.weight
    both, second, first = (
        weight * (unlike) for unlike in (labels[i] != labels[j], labels[i] != alpha, labels[j] != alpha)
    )
    current = np.take_along_axis(costs, np.minimum(labels, len(costs) - 1)[None].astype(np.int64), 0)[0]
    gain = np.where(valid, costs[alpha].astype(np.int64) - current, 0)
    gain += _sum_by_pixel(i, first - both, len(gain)) - _sum_by_pixel(j, first, len(gain))
    return ExpansionMove(gain, i, j, (second + first - both).astype(np.int32))


def _sum_by_pixel(places: NDArray[np.int32], values: NDArray[np.int32], count: int) -> Ints:
    return np.bincount(places, weights=values, minlength=count).astype(np.int64)


def persistent(move: ExpansionMove, free: Mask) -> tuple[Mask, Mask]:
    """Persistency: pixels that stay whatever the others do, and pixels that take the class whatever they do."""
    least = move.gain - _sum_by_pixel(move.first, move.price, len(move.gain))
    most = move.gain + _sum_by_pixel(move.second, move.price, len(move.gain))
    return free & (least >= 0), free & (most < 0)


def connected_to(move: ExpansionMove, changed: Mask) -> Mask:
    """Pixels connected to one that changed."""
    count = len(changed)
    adjacency = coo_array((np.ones(len(move.first), bool), (move.first, move.second)), shape=(count, count))
    parts, part = connected_components(adjacency, directed=False)
    new = np.zeros(parts, bool)
    new[part[changed]] = True
    reached: Mask = new[part]
    return reached


def minimum_cut(move: ExpansionMove, free: Mask) -> Mask:
    """Minimum cut: of the free pixels, in order, those that take the class; the smallest set of all best ones."""
    places = np.flatnonzero(free)
    index = np.zeros(len(free), np.int32)
    index[places] = np.arange(len(places))
    stay, take = len(places), len(places) + 1
    graph = flow_network(move.gain[places], index[move.first], index[move.second], move.price, (stay, take))
    left = csr_array(graph - maximum_flow(graph, take, stay).flow)
    left.eliminate_zeros()
    source_side = np.zeros(len(places) + 2, bool)
    source_side[breadth_first_order(left, take, return_predecessors=False)] = True
    takers: Mask = source_side[: len(places)]
    return takers


def flow_network(
    gain: Ints, first: NDArray[np.int32], second: NDArray[np.int32], price: NDArray[np.int32], ends: tuple[int, int]
) -> csr_array:
    """Flow network of pixels, then source and sink: a cut's capacity is the energy of the move, up to a constant."""
    stay, take = ends
    against, for_it, paid = np.flatnonzero(gain > 0), np.flatnonzero(gain < 0), price > 0
    rows = np.concatenate([second[paid], against, np.full(len(for_it), take)])
    cols = np.concatenate([first[paid], np.full(len(against), stay), for_it])
    capacity = np.concatenate([price[paid], gain[against], -gain[for_it]]).astype(np.int32)
    return coo_array((capacity, (rows, cols)), shape=(len(gain) + 2, len(gain) + 2)).tocsr()
