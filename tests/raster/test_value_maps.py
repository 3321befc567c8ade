"""What values become: tables for integers of any sign, knots for floats, and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch.raster.value_maps import Knots, Tables, load

NONE = float("nan")


def test_a_table_finds_values_below_zero_at_its_end() -> None:
    table = np.roll(np.arange(-(2**15), 2**15) // 2, -(2**15)).astype(np.int16)
    data = np.array([[[-32768, -3, -1], [0, 1, 32767]]], np.int16)
    result = Tables(table[None])(data)
    assert result.tolist() == [[[-16384, -2, -1], [0, 0, 16383]]]
    assert result.dtype == np.int16


def knots(added: list[float], nodata: float = NONE, ends: tuple[float, float] = (10, 20)) -> Knots:
    return Knots(np.array([ends], np.float64), np.array([added], np.float64), nodata)


def test_what_is_added_changes_along_straight_lines_and_not_beyond() -> None:
    """10 becomes 110 and 20 becomes 140: 15 becomes 125; beyond, 100 and 120 are added."""
    result = knots([100, 120])(np.array([[[0, 10, 15, 20, 30]]], np.float32))
    assert result.tolist() == [[[100, 110, 125, 140, 150]]]
    assert result.dtype == np.float32


def test_knots_lie_evenly() -> None:
    """At 10, 12, ..., 20; only what lies between 12 and 16 is moved."""
    result = knots([0, 0, 7, 0, 0, 0])(np.array([[[11, 12, 13, 14, 15, 16, 19]]], np.float32))
    assert result.tolist() == [[[11, 12, 16.5, 21, 18.5, 16, 19]]]


def test_each_band_has_its_own() -> None:
    two = Knots(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [2.0, 2.0]]))
    assert two(np.zeros((2, 1, 2), np.float32)).tolist() == [[[1, 1]], [[2, 2]]]


def test_what_is_no_number_stays() -> None:
    strange = np.array([[[np.nan, np.inf, -np.inf, 1]]], np.float32)
    np.testing.assert_array_equal(knots([5, 5])(strange), [[[np.nan, np.inf, -np.inf, 6]]])


@pytest.mark.parametrize(
    "nodata", [-9999.0, 0.0, 7.5, float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)]
)
def test_nodata_stays_and_nothing_becomes_it(nodata: float) -> None:
    one = float(np.float32(nodata))
    data = np.array([[[one, 1.0, 2.0]]], np.float32)
    result = knots([nodata - 1, nodata - 1], nodata)(data)
    assert result[0, 0, 0] == one
    assert result[0, 0, 1] != one
    assert result[0, 0, 1] == pytest.approx(nodata, rel=1e-6, abs=1e-30)
    assert np.isfinite(result).all()


def test_values_end_where_floats_end() -> None:
    largest = float(np.finfo(np.float32).max)
    assert knots([largest, largest])(np.array([[[largest]]], np.float32)).tolist() == [[[largest]]]


def test_integers_come_out_as_floats() -> None:
    assert knots([0.5, 0.5])(np.array([[[1, 2]]], np.uint8)).tolist() == [[[1.5, 2.5]]]


def test_a_map_comes_back_from_its_file_and_the_same_map_has_the_same_bytes(tmp_path: Path) -> None:
    two = Knots(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 7.0], [6.0, 8.0]]), -1.0)
    for name in ("a", "b"):
        two.save(tmp_path / f"{name}.npz")
    result = load(tmp_path / "a.npz")
    assert isinstance(result, Knots)
    assert result.nodata == -1
    assert result.ends.tolist() == [[1, 2], [3, 4]]
    assert result.added.tolist() == [[5, 7], [6, 8]]
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    Tables(np.arange(4)[None]).save(tmp_path / "c.npy")
    assert isinstance(load(tmp_path / "c.npy"), Tables)
