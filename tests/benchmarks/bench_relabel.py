"""Relabelling: Mpx a CPU-second of the table look-up, against copying and widening the same pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from landcover_orch.labels.codes import UNKNOWN, look_up, lookup_table

CODES = 20
REPEATS = 5


def main(shape: tuple[int, int] = (4096, 4096)) -> dict[str, Any]:
    """Prints and gives Mpx a CPU-second of `look_up` for uint8, uint16 and int32, and the limit: one widening copy."""
    side = (min(shape[0], 8192), min(shape[1], 8192))
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for dtype, spacing in (("uint8", 12), ("uint16", 300), ("int32", 300)):
        values = rng.integers(0, CODES, side).astype(dtype) * np.array(spacing, dtype)
        table = lookup_table({i * spacing: i for i in range(CODES)})
        found[f"{dtype} Mpx/CPU-s"] = _speed(lambda v=values, t=table: look_up(v, t, UNKNOWN), values.size)  # type: ignore[misc]
    positions = rng.integers(0, CODES, side).astype(np.uint16)
    found["limit, copy to 8 bytes Mpx/CPU-s"] = _speed(lambda: positions.astype(np.intp), positions.size)
    found["ratio"] = found["uint16 Mpx/CPU-s"] / found["limit, copy to 8 bytes Mpx/CPU-s"]
    print(f"relabelling, {side[0]} x {side[1]} px, {CODES} codes")
    for name, value in found.items():
        print(f"  {name}: {value:.2f}")
    return found


def _speed(work: Callable[[], Any], pixels: int) -> float:
    """Mpx a CPU-second of the fastest of several runs."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return pixels / min(times) / 1e6


if __name__ == "__main__":
    main()
