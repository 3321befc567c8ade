"""Mean and spread of a number over repetitions."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from landcover_orch.metrics.confusion import Value

Spread = dict[str, Any]
"""mean, sd (n - 1), n, min, max; `sd` is None of fewer than two values, all but n of none."""


def spread(values: Iterable[Value]) -> Spread:
    """Mean, sample standard deviation (n - 1), number, least and largest of the values that are defined."""
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
        "n": len(known),
        "min": min(known, default=None),
        "max": max(known, default=None),
    }


def spreads(rows: Sequence[Mapping[str, Value]]) -> dict[str, Spread]:
    """Metric -> its spread over the rows, a repetition each."""
    return {name: spread(row[name] for row in rows) for name in rows[0]} if rows else {}
