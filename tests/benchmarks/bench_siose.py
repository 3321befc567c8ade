"""SIOSE's labels: seconds of a million nested ones, all different, against splitting the same texts at their marks."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np

from landcover_orch.labels.siose import fractions, parse
from landcover_orch.labels.siose_covers import SIMPLE

SAMPLE = 100_000


def main(count: int = 1_000_000) -> dict[str, Any]:
    """Prints and gives the CPU seconds of parsing `count` labels, of shares besides, and of the split alone."""
    labels = _labels(count)
    start = time.process_time()
    for label in labels:  # none is kept, as in the reading of a file: a million trees would be the garbage collector's
        parse(label)
    parsed = time.process_time()
    for label in labels[:SAMPLE]:
        fractions(parse(label))
    shared = time.process_time()
    marks = re.compile(r"[()_]")
    for label in labels:
        marks.split(label)
    split = time.process_time()
    found = {
        "parse s": parsed - start,
        "parse + shares of 100,000 s": shared - parsed,
        "limit, split s": split - shared,
    }
    found["ratio"] = found["limit, split s"] / found["parse s"]
    print(f"SIOSE labels, {count:,} different ones with three covers on two levels")
    for name, value in found.items():
        print(f"  {name}: {value:.2f}")
    return found


def _labels(count: int) -> list[str]:
    """Labels as A(60FDCpl_40R(30PST_70MTR))."""
    rng, covers = np.random.default_rng(0), np.array(sorted(SIMPLE))
    outer, inner = rng.integers(1, 100, (2, count)).tolist()
    names = covers[rng.integers(0, covers.size, (3, count))].tolist()
    return [
        f"A({a}{one}pl_{100 - a}R({b}{two}_{100 - b}{three}))"
        for a, b, one, two, three in zip(outer, inner, *names, strict=True)
    ]


if __name__ == "__main__":
    main()
