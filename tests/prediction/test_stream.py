"""Rows of a map in the order they are finished, gathered into parts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.grid import Window
from landcover_orch.prediction.stream import parts


@given(st.data())
def test_rows_are_gathered_without_loss_whatever_their_heights(data: st.DataObject) -> None:
    heights = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    rows_of_all = np.random.default_rng(0).integers(0, 256, (2, sum(heights), 3)).astype(np.uint8)
    cuts = sorted(data.draw(st.lists(st.integers(0, sum(heights)), max_size=12)))
    rows = [rows_of_all[:, a:b] for a, b in zip([0, *cuts], [*cuts, sum(heights)], strict=True)]
    windows = [Window(sum(heights[:i]), 0, height, 3) for i, height in enumerate(heights)]
    pieces = dict(parts(rows, windows))
    assert list(pieces) == windows
    assert np.array_equal(np.concatenate(list(pieces.values()), axis=1), rows_of_all)
