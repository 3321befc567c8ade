"""Nodata rule: any band of measurements hides a pixel, all bands of colours; of one file as of several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from landcover_orch import raster
from landcover_orch.config.datasets import NodataRule, nodata_rule
from landcover_orch.errors import RasterError
from landcover_orch.grid import Window
from tests import scenes

SIDE = 8
ALL = Window(0, 0, SIDE, SIDE)


def valid(image: raster.Raster, dtype: str) -> np.ndarray:
    """Which pixels hold data, read with the pixels at hand and without them, which must agree."""
    with raster.reader(image, dtype) as source:
        by_data = source.valid(ALL, source.read(ALL))
        assert np.array_equal(by_data, source.valid(ALL))
    return by_data


@given(data=arrays.arrays("int16", (3, SIDE, SIDE), elements=st.sampled_from([-1, 4, 5])))
@pytest.mark.parametrize("rule", ["any", "all"])
def test_one_file_of_many_bands_and_many_files_of_one(
    tmp_path_factory: pytest.TempPathFactory, rule: NodataRule, data: np.ndarray
) -> None:
    folder = tmp_path_factory.mktemp("bands")
    together = raster.inspect(scenes.write_geotiff(folder / "all.tif", data, nodata=-1))
    first, *more = (
        raster.inspect(scenes.write_geotiff(folder / f"{i}.tif", band[None], nodata=-1)) for i, band in enumerate(data)
    )
    nodata = data == -1
    expected = ~(nodata.any(axis=0) if rule == "any" else nodata.all(axis=0))
    assert np.array_equal(valid(replace(together, nodata_rule=rule), "float32"), expected)
    assert np.array_equal(valid(replace(first, further=tuple(more), nodata_rule=rule), "float32"), expected)


def test_the_rule_follows_the_dtype() -> None:
    assert {dtype: nodata_rule(dtype) for dtype in ("uint8", "uint16", "int16", "float32")} == {
        "uint8": "all",
        "uint16": "all",
        "int16": "any",
        "float32": "any",
    }


@pytest.mark.parametrize(("stored", "nodata"), [("int32", -(2**31)), ("float64", -1.7976931348623157e308)])
def test_nodata_that_the_dtype_cannot_hold_is_hidden_and_no_value(tmp_path: Path, stored: str, nodata: float) -> None:
    dtype = "uint16" if stored == "int32" else "float32"
    data = np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE).astype(stored)
    data[0, 2, 3] = nodata
    image = raster.inspect(scenes.write_geotiff(tmp_path / "a.tif", data, nodata=nodata))
    expected = np.ones((SIDE, SIDE), bool)
    expected[2, 3] = False
    assert np.array_equal(valid(image, dtype), expected)
    with raster.reader(image, dtype) as source:
        assert np.array_equal(source.read(ALL)[0], np.where(expected, data[0], 0).astype(dtype))


def test_a_value_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    data = np.full((1, SIDE, SIDE), 0.1)
    data[0, 0, 0] = 1e300
    image = raster.inspect(scenes.write_geotiff(tmp_path / "a.tif", data))
    with raster.reader(image, "float32") as source, pytest.raises(RasterError, match=r"values from 0\.1 to 1e"):
        source.read(ALL)
    data[0, 0, 0] = np.nan
    image = raster.inspect(scenes.write_geotiff(tmp_path / "a.tif", data))
    assert not valid(image, "float32")[0, 0]
