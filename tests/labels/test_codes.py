"""Codes as text, and look-up tables that never wrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landcover_orch.labels.codes import (
    Stray,
    as_code,
    coding,
    escaped,
    look_up,
    lookup_table,
    to_classes,
    unknown_codes,
)
from landcover_orch.legend import IGNORE, LandClass, Legend

OUTSIDE = 999


def legend(codes: dict[str, str] | None = None) -> Legend:
    classes = (LandClass(id=0, name="land", colour="#00ff00"), LandClass(id=1, name="water", colour="#0000ff"))
    return Legend(name="two", classes=classes, codes=codes or {"255": "land", "7": "water", "9": "ignore"})


@pytest.mark.parametrize("value", [255, "255", 255.0, np.int16(255), np.float64(255), " 255 "])
def test_a_number_and_its_text_are_one_code(value: object) -> None:
    assert as_code(value) == "255"


@pytest.mark.parametrize("value", [None, float("nan"), "", "  "])
def test_an_absent_value_is_no_code(value: object) -> None:
    assert as_code(value) is None


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.int64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements={"allow_nan": False},
    )
)
def test_every_integer_is_looked_up_by_its_own_value(values: np.ndarray) -> None:  # type: ignore[type-arg]
    table = lookup_table({255: 3, 300: 4, 0: 5}, OUTSIDE)
    expected = [[{255: 3, 300: 4, 0: 5}.get(int(value), OUTSIDE) for value in row] for row in values]
    assert look_up(values, table, OUTSIDE).tolist() == expected


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32])
def test_no_code_wraps(dtype: type) -> None:
    """-1 must not take the last entry, 300 not that of 44, 65,791 not that of 255."""
    values = np.array([[-1, 255, 300, 65_791]]).astype(np.int32)
    values = np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    result = look_up(values, lookup_table({255: 1, 44: 2, 65_535: 3}, OUTSIDE), OUTSIDE)
    expected = [{255: 1, 44: 2, 65_535: 3}.get(int(v), OUTSIDE) for v in values[0]]
    assert result[0].tolist() == expected


def test_classes_of_numbers() -> None:
    codes = coding(legend(), "water")
    strip = np.array([[0, 1, 2, codes.unlabelled]], np.uint16)
    assert to_classes(strip, codes).tolist() == [[0, 1, IGNORE, 1]]
    with pytest.raises(ValueError, match="unknown codes"):
        to_classes(np.array([[codes.unknown]], np.uint16), codes)


def test_unknown_codes_are_named_most_frequent_first() -> None:
    strays = [Stray(str(i), i, f"polygon {i}") for i in range(30)]
    error = unknown_codes("labels.gpkg", "polygon", strays, legend())
    assert len(error.problems) == 21
    assert "unknown code '29' in 29 polygons, first at polygon 29" in str(error.problems[0])
    assert "10 more unknown codes" in str(error.problems[-1])


def test_a_code_that_looks_like_another_is_shown_with_escapes() -> None:
    assert escaped("Viñedo") == "Viñedo"
    assert escaped("wo\u200bod") == "wo\\u200bod"
    assert escaped("w\u043e\u043ed") == "w\\u043e\\u043ed", "two letters are Cyrillic"
    assert escaped("лес") == "лес"
