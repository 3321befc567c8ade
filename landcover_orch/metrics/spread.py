"""Sample mean and standard deviation of a metric over repetitions."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from landcover_orch.metrics.metric import Value


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (n - 1), number, minimum and maximum of the values that are defined.

    `sd` is None of fewer than two values, all but `n` of none.
    """

    mean: Value
    sd: Value
    n: int
    min: Value
    max: Value


def spread(values: Iterable[Value]) -> Spread:
    """Sample statistics of values; those that are undefined (None) are left out."""
    known = [value for value in values if value is not None]
    return Spread(
        mean=statistics.fmean(known) if known else None,
        sd=statistics.stdev(known) if len(known) > 1 else None,
        n=len(known),
        min=min(known, default=None),
        max=max(known, default=None),
    )


def spreads(rows: Sequence[Mapping[str, Value]]) -> dict[str, Spread]:
    """Sample statistics of each metric of the first row over all rows, a repetition each."""
    return {name: spread(row.get(name) for row in rows) for name in rows[0]} if rows else {}
