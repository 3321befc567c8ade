"""Class fractions by polygon: the table that a ground truth keeps, read back."""

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
"""Fraction of a polygon that covers which the legend ignores may take, for the rest to say anything of it."""

COLUMNS = ("polygon", "source", "decision", "class", "share")


@dataclass(frozen=True)
class Declared:
    """What is declared of a tile's polygons; all arrays are by polygon number, where 0 is no polygon.

    Attributes:
        source: what the label file calls a polygon; empty where nothing is declared.
        decision: how it was decided.
        fraction: (polygon, class) of the polygon; a row sums to 1 less `ignored`, to 0 where nothing is declared.
        ignored: fraction of covers that the legend ignores.
    """

    source: tuple[str, ...]
    decision: tuple[str, ...]
    fraction: NDArray[np.float64]
    ignored: NDArray[np.float64]

    @cached_property
    def normalised(self) -> NDArray[np.float64]:
        """(polygon, class) Fractions that sum to 1; 0 throughout where nothing is declared or too much is ignored.

        The ignored covers' fraction is spread over the others in proportion, as if they were everywhere the same;
        where it is more than `MOST_IGNORED` nothing is said of the polygon.
        """
        known = self.fraction.sum(axis=1)
        enough = (known > 0) & (self.ignored <= MOST_IGNORED)
        return np.where(enough[:, None], self.fraction / np.where(enough, known, 1)[:, None], 0)

    @cached_property
    def composite(self) -> NDArray[np.bool_]:
        """(polygon) Whether several classes share it, ignored covers counted as one."""
        return np.asarray((self.fraction > 0).sum(axis=1) + (self.ignored > 0) > 1)

    @cached_property
    def undecided(self) -> NDArray[np.bool_]:
        """(polygon) Whether its pixels were given no class, for it has several covers."""
        return np.isin(self.decision, UNDECIDED)


def read(path: Path, classes: Sequence[str]) -> Declared:
    """What a table that `compositions.write_fractions` wrote declares, for these classes in order of their ids."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    columns = [pq.read_table(path).column(key).to_pylist() for key in COLUMNS]
    count = max(columns[0], default=0) + 1
    sources, decisions, fractions = [""] * count, [""] * count, np.zeros((count, len(classes) + 1))
    index = {**{name: i for i, name in enumerate(classes)}, IGNORE_NAME: len(classes)}
    for polygon, source, how, cls, fraction in zip(*columns, strict=True):
        sources[polygon], decisions[polygon] = source, how
        fractions[polygon, index[cls]] += fraction
    return Declared(tuple(sources), tuple(decisions), fractions[:, :-1], fractions[:, -1])
