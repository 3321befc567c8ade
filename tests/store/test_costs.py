"""Costs are measured where they can be, and None, never 0, where they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landcover_orch.store import costs


def test_a_block_is_measured(tmp_path: Path) -> None:
    with costs.measured() as meter:
        block = np.ones(40_000_000, np.uint8)
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub/a").write_bytes(bytes(1000))
        (tmp_path / "b").write_bytes(bytes(24))
        cost = meter.result(tmp_path)
    assert (cost.bytes, cost.files) == (1024, 2)
    assert cost.peak_bytes is not None
    assert cost.peak_bytes > block.nbytes
    assert cost.wall_s is not None
    assert cost.wall_s >= 0
    assert cost.cpu_s is not None
    assert cost.cpu_s >= 0


def test_what_nobody_measured_is_none() -> None:
    assert set(costs.Cost.unknown().as_dict().values()) == {None}
    assert list(costs.Cost.unknown().as_dict()) == ["wall_s", "cpu_s", "peak_bytes", "bytes", "files"]
