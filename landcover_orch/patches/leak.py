"""Leak check: does training see held-out pixels? By footprints of windows, not from how splits were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from landcover_orch.errors import Problem, pluralise
from landcover_orch.patches.footprints import TileFootprints, neighbours, overlapping_train
from landcover_orch.patches.splits import MIXED


def leaks(tiles: Sequence[TileFootprints]) -> list[Problem]:
    """A problem for each pair of tiles whose train windows overlap held-out pixels; empty where none do."""
    problems = []
    for tile, near in zip(tiles, neighbours(tiles), strict=True):
        for other in (tiles[i] for i in near):
            hits = overlapping_train(tile, other)
            if hits.size:
                first = tile.windows[int(hits[0])]
                at = f"first at row {first.row}, col {first.col}"
                problems.append(
                    Problem(
                        f"tile {tile.tile}",
                        f"{pluralise(hits.size, 'train window')} on held-out ground of tile {other.tile}, {at}",
                        "no shared ground",
                        "set `splits.on_overlap: drop`, split by spatial blocks, or put both tiles in one split",
                    )
                )
    return problems


def dropped(tiles: Sequence[TileFootprints]) -> list[TileFootprints]:
    """The tiles with the train windows that overlap held-out pixels of any tile taken out of training."""
    remaining = []
    for tile, near in zip(tiles, neighbours(tiles), strict=True):
        roles = tile.roles.copy()
        for other in near:
            roles[overlapping_train(tile, tiles[other])] = MIXED
        remaining.append(replace(tile, roles=roles))
    return remaining
