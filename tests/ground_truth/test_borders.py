"""The ignored band along class borders, against a dumb oracle, and strip by strip."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landcover_orch.ground_truth.borders import band, bands
from landcover_orch.legend import IGNORE

CLASSES = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 2, 254, IGNORE]),
)


@given(CLASSES, st.integers(0, 3))
def test_a_pixel_is_on_the_border_where_another_class_is_near(classes: np.ndarray, width: int) -> None:  # type: ignore[type-arg]
    height, across = classes.shape
    for row in range(height):
        for col in range(across):
            near = classes[max(row - width, 0) : row + width + 1, max(col - width, 0) : col + width + 1]
            others = {*near.ravel().tolist()} - {IGNORE, int(classes[row, col])}
            assert band(classes, width)[row, col] == bool(others and classes[row, col] != IGNORE)


@given(CLASSES, st.integers(0, 3), st.integers(3, 6))
def test_strips_give_the_band_of_the_whole(classes: np.ndarray, width: int, height: int) -> None:  # type: ignore[type-arg]
    strips = [classes[row : row + height] for row in range(0, classes.shape[0], height)]
    found = list(bands(iter(strips), width))
    np.testing.assert_array_equal(np.concatenate([strip for strip, _ in found]), classes)
    np.testing.assert_array_equal(np.concatenate([border for _, border in found]), band(classes, width))
