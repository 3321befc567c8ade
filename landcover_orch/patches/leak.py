"""Does training see held-out ground: judged from windows and boxes on the ground, not from how splits were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from landcover_orch.errors import Problem
from landcover_orch.patches.footprints import Ground, met, neighbours
from landcover_orch.patches.splits import SEVERAL


def leaks(grounds: Sequence[Ground]) -> list[Problem]:
    """A problem for each pair of tiles whose train windows meet held-out ground; empty where none do."""
    return [
        problem
        for ground, near in zip(grounds, neighbours(grounds), strict=True)
        for other in near
        if (problem := _leak(ground, grounds[other]))
    ]


def _leak(ground: Ground, other: Ground) -> Problem | None:
    hits = met(ground, other)
    if not hits.size:
        return None
    first = ground.windows[int(hits[0])]
    return Problem(
        f"tile {ground.tile}",
        f"{hits.size} train windows on held-out ground of tile {other.tile}, first at row {first.row}, col {first.col}",
        "no shared ground",
        "set `splits.on_overlap: drop`, split by spatial blocks, or put both tiles on one side",
    )


def dropped(grounds: Sequence[Ground]) -> list[Ground]:
    """The tiles with the train windows that meet held-out ground of any tile taken out of training."""
    return [
        replace(ground, roles=_without(ground, [grounds[i] for i in near]))
        for ground, near in zip(grounds, neighbours(grounds), strict=True)
    ]


def _without(ground: Ground, others: Sequence[Ground]) -> NDArray[np.int8]:
    roles = ground.roles.copy()
    for other in others:
        roles[met(ground, other)] = SEVERAL
    return roles
