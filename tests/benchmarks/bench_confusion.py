"""The confusion matrix: Mpx/s against a bare bincount of ready codes, and against the naive way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from landcover_orch.metrics import confusion

CLASSES = 10
REPEATS = 5


def main(shape: tuple[int, int] = (4096, 4096)) -> dict[str, Any]:
    """Prints and gives Mpx/s of `confusion.count`, of the bare bincount, their ratio, and of the naive way."""
    side = (min(shape[0], 4096), min(shape[1], 8192))
    rng = np.random.default_rng(0)
    actual, predicted = (rng.integers(0, CLASSES, side, dtype=np.uint8) for _ in range(2))
    code = actual.astype(np.uint16).reshape(-1) << 8 | predicted.reshape(-1)
    limit = _speed(lambda: _bare(code), actual.size)
    ours = _speed(lambda: confusion.count(actual, predicted, CLASSES), actual.size)
    naive = _speed(lambda: _naive(actual, predicted), actual.size, repeats=1)
    found = {"Mpx/s": ours, "bare bincount Mpx/s": limit, "ratio": ours / limit, "naive Mpx/s": naive}
    print(f"confusion matrix, {side[0]} x {side[1]} px, {CLASSES} classes")
    for name, value in found.items():
        print(f"  {name}: {value:.2f}")
    return found


def _speed(work: Callable[[], Any], pixels: int, repeats: int = REPEATS) -> float:
    """Mpx/s of the fastest of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return pixels / min(times) / 1e6


def _bare(code: np.ndarray[Any, Any]) -> None:
    for start in range(0, code.size, confusion.BLOCK):
        np.bincount(code[start : start + confusion.BLOCK], minlength=65_536)


def _naive(actual: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any]) -> None:
    """As sklearn counts: labels to positions, valid pairs, a sparse matrix of ones."""
    from scipy.sparse import coo_matrix

    order = {value: i for i, value in enumerate(np.unique(np.concatenate([actual, predicted])).tolist())}
    table = np.array([order.get(value, -1) for value in range(256)])
    rows, cols = table[actual.reshape(-1)], table[predicted.reshape(-1)]
    valid = (rows >= 0) & (cols >= 0)
    ones = np.ones(rows.size, np.int64)
    coo_matrix((ones[valid], (rows[valid], cols[valid])), shape=(CLASSES, CLASSES)).toarray()


if __name__ == "__main__":
    main()
