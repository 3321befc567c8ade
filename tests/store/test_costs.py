"""Costs are measured where they can be, and None, never 0, where they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than a second"),
        (1, "1 s"),
        (119, "119 s"),
        (130, "2 min"),
        (7_300, "2.0 h"),
        (10**7, "2,777.8 h"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert costs.format_duration(seconds) == text
