"""The table of shares that a ground truth keeps, read back: which class takes how much of each polygon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landcover_orch.labels.composites import UNDECIDED
from landcover_orch.legend import IGNORE_NAME

MOST_IGNORED = 0.1
"""Share of a polygon that covers which the legend ignores may take, for the rest to tell anything of it."""

COLUMNS = ("polygon", "source", "decision", "class", "share")


@dataclass(frozen=True)
class Declared:
    """What is declared of a tile's polygons; all arrays are by polygon number, where 0 is no polygon.

    Attributes:
        source: what the label file calls a polygon; empty where nothing is declared.
        decision: how it was decided.
        share: (polygon, class) of the whole polygon; a row sums to 1 less `ignored`, to 0 where nothing is declared.
        ignored: share of covers that the legend ignores.
    """

    source: tuple[str, ...]
    decision: tuple[str, ...]
    share: NDArray[np.float64]
    ignored: NDArray[np.float64]

    @cached_property
    def told(self) -> NDArray[np.float64]:
        """(polygon, class) Shares that sum to 1; 0 throughout where nothing is declared or too much is ignored.

        The ignored covers' share is spread over the others in proportion, as if they were everywhere alike; where it
        is more than `MOST_IGNORED` nothing is told of the polygon.
        """
        known = self.share.sum(axis=1)
        enough = (known > 0) & (self.ignored <= MOST_IGNORED)
        return np.where(enough[:, None], self.share / np.where(enough, known, 1)[:, None], 0)

    @cached_property
    def composite(self) -> NDArray[np.bool_]:
        """(polygon) Whether several classes share it, ignored covers counted as one."""
        return np.asarray((self.share > 0).sum(axis=1) + (self.ignored > 0) > 1)

    @cached_property
    def undecided(self) -> NDArray[np.bool_]:
        """(polygon) Whether its pixels were given no class, for it has several covers."""
        return np.isin(self.decision, UNDECIDED)


def read(path: Path, classes: Sequence[str]) -> Declared:
    """What a table that `compositions.write_shares` wrote declares, for these classes in order of their ids."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    number, source, decision, name, share = (pq.read_table(path).column(key).to_pylist() for key in COLUMNS)
    count = max(number, default=0) + 1
    sources, decisions, shares = [""] * count, [""] * count, np.zeros((count, len(classes) + 1))
    column = {**{known: i for i, known in enumerate(classes)}, IGNORE_NAME: len(classes)}
    for polygon, called, how, cls, part in zip(number, source, decision, name, share, strict=True):
        sources[polygon], decisions[polygon] = called, how
        shares[polygon, column[cls]] += part
    return Declared(tuple(sources), tuple(decisions), shares[:, :-1], shares[:, -1])
