"""The ignored band along class borders, by pair and in metres, against a dumb oracle, and strip by strip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.errors import LabelError
from landcover_orch.ground_truth.borders import band, bands, pair_rows, widths
from landcover_orch.legend import IGNORE, Border, LandClass, Legend, Pair

NAMES = ("field", "shrub", "wood")
CLASSES = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 2, IGNORE]),
)
WIDTHS = st.tuples(*[st.integers(0, 3)] * 3) | st.integers(0, 3).map(lambda width: (width,) * 3)


def table(pairs: tuple[int, ...]) -> NDArray[np.int64]:
    """Widths of the pairs (0, 1), (0, 2), (1, 2)."""
    result = np.zeros((3, 3), np.int64)
    result[np.triu_indices(3, 1)] = pairs
    return result + result.T


def legend(border: Any) -> Legend:
    classes = tuple(LandClass(id=i, name=name, colour="#000000") for i, name in enumerate(NAMES))
    return Legend(name="small", classes=classes, codes={name: name for name in NAMES}, border=border)


def grid(resolution: float = 1.0, crs: str | None = "EPSG:25830") -> GeoBox:
    return GeoBox((4, 4), Affine(resolution, 0, 0, 0, -resolution, 0), crs)


def oracle(classes: NDArray[np.uint8], width: NDArray[np.int64], row: int, col: int) -> int:
    """The class that a pixel is ignored for: of those near enough the lowest below it, else the highest above."""
    own, result = int(classes[row, col]), set()
    for (y, x), other in np.ndenumerate(classes):
        if IGNORE not in (own, other) and max(abs(y - row), abs(x - col)) <= width[own, other] and own != other:
            result.add(int(other))
    below = [other for other in result if other < own]
    return min(below) if below else max(result, default=IGNORE)


@given(CLASSES, WIDTHS)
def test_a_pixel_is_on_the_border_where_another_class_is_near(
    classes: NDArray[np.uint8], pairs: tuple[int, ...]
) -> None:
    width = table(pairs)
    result = band(classes, width)
    for row, col in np.ndindex(*classes.shape):
        assert result[row, col] == oracle(classes, width, row, col)


@given(CLASSES, WIDTHS, st.integers(3, 6))
def test_strips_give_the_band_of_the_whole(classes: NDArray[np.uint8], pairs: tuple[int, ...], height: int) -> None:
    strips = [classes[row : row + height] for row in range(0, classes.shape[0], height)]
    result = list(bands(iter(strips), table(pairs)))
    np.testing.assert_array_equal(np.concatenate([strip for strip, _ in result]), classes)
    np.testing.assert_array_equal(np.concatenate([border for _, border in result]), band(classes, table(pairs)))


def test_a_number_is_pixels_for_all_pairs() -> None:
    assert widths(legend(2), grid(0.5)).tolist() == table((2, 2, 2)).tolist()
    assert not widths(legend(0), grid()).any()


def test_metres_make_whole_pixels_rounded_up() -> None:
    pairs = (Pair(between=("wood", "shrub"), width=5),)
    border = Border(width=2, pairs=pairs, unit="metres")
    assert widths(legend(border), grid(0.25)).tolist() == table((8, 8, 20)).tolist()
    assert widths(legend(border), grid(0.3)).tolist() == table((7, 7, 17)).tolist()
    assert widths(legend(border), grid(10)).tolist() == table((1, 1, 1)).tolist()
    assert widths(legend(border), grid(2, None)).tolist() == table((1, 1, 3)).tolist()


def test_metres_need_a_crs_that_has_them_and_a_band_has_its_limit() -> None:
    metres = Border(width=2, unit="metres")
    with pytest.raises(LabelError, match="metres, on an orthophoto in EPSG:4326"):
        widths(legend(metres), grid(crs="EPSG:4326"))
    with pytest.raises(LabelError, match=r"200 pixels of 0\.01 m; expected at most 64"):
        widths(legend(metres), grid(0.01))


@pytest.mark.parametrize(
    ("border", "expected"),
    [
        ({"pairs": [{"between": ["wood", "lake"], "width": 1}]}, "names 'lake', which is no class"),
        ({"pairs": [{"between": ["wood", "wood"], "width": 1}]}, "a class beside itself"),
        ({"pairs": [{"between": p, "width": 1} for p in (["wood", "shrub"], ["shrub", "wood"])]}, "twice"),
        (65, "less than or equal to 64"),
        ({"width": 1, "unit": "feet"}, "'pixels' or 'metres'"),
    ],
)
def test_what_a_legend_may_not_say(border: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        legend(border)


def test_the_cost_is_told_by_pair_each_pixel_once() -> None:
    pixels = np.array([[0, 3, 0], [5, 0, 10], [0, 20, 0]])
    assert pair_rows(pixels, table((1, 1, 2)), NAMES, grid(10)) == [
        {"between": "shrub and wood", "width": 2, "pixels": 30, "hectares": 0.3},
        {"between": "field and shrub", "width": 1, "pixels": 8, "hectares": 0.08},
    ]
