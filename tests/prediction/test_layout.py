"""Bands, runs and parts cover a tile exactly once, whatever was already done."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.grid import Window
from landcover_orch.prediction.layout import PART, Layout, Run, runs

SHAPES = st.tuples(st.integers(1, 2500), st.integers(1, 2500))


@st.composite
def _layouts(draw: st.DrawFn) -> Layout:
    size = draw(st.integers(16, 300))
    return Layout(draw(SHAPES), size, draw(st.integers(max(1, size // 3), size)))


@given(_layouts(), st.integers(0, 3000))
def test_bands_cover_the_columns_once_and_start_at_block_edges(layout: Layout, width: int) -> None:
    bands = layout.bands(width)
    assert [left for left, _ in bands] == [0, *(right for _, right in bands[:-1])]
    assert bands[-1][1] == layout.shape[1]
    assert all(left % PART == 0 and left < right <= left + max(width, PART) for left, right in bands)


@settings(max_examples=60)
@given(_layouts(), st.integers(0, 3000), st.data())
def test_what_is_left_and_what_is_done_cover_the_tile_once(layout: Layout, width: int, data: st.DataObject) -> None:
    everything = [part for run in runs(layout, width) for part in run.parts]
    done = frozenset(data.draw(st.sets(st.sampled_from(everything))))
    left = [part for run in runs(layout, width, done) for part in run.parts]
    seen = np.zeros(layout.shape, np.uint8)
    for part in [*left, *done]:
        seen[part.slices] += 1
    assert (seen == 1).all()


@settings(max_examples=60)
@given(_layouts(), st.data())
def test_every_row_of_a_run_is_finished_once_after_its_last_window(layout: Layout, data: st.DataObject) -> None:
    top = data.draw(st.integers(0, layout.shape[0] - 1))
    run = Run(layout, top, data.draw(st.integers(top + 1, layout.shape[0])), 0, layout.shape[1])
    finished: list[int] = []
    for index in range(len(run.rows)):
        begin, end = run.finished(index)
        finished += range(begin, end)
        assert all(later >= end for later in run.rows[index + 1 :]) or end == run.bottom or begin >= end
    assert finished == list(range(run.top, run.bottom))


@given(_layouts(), st.data())
def test_a_run_takes_every_window_that_reaches_into_it(layout: Layout, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, layout.shape[1] - 1))
    run = Run(layout, 0, layout.shape[0], left, data.draw(st.integers(left + 1, layout.shape[1])))
    inside = [c for c in layout.cols if Window(0, c, 1, layout.size).slices[1].start < run.right]
    assert run.cols == [c for c in inside if c + layout.size > run.left]
    assert run.reach[0] <= run.left
    assert run.reach[1] >= run.right
