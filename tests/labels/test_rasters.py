"""Code rasters and colour-coded rasters: nothing wraps, nodata is unlabelled, every unknown code is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch.errors import LabelError, UnknownCodeError
from landcover_orch.grid import blocks
from landcover_orch.labels.codes import coding
from landcover_orch.labels.rasters import colour_strips, require_grid, strips
from landcover_orch.legend import LandClass, Legend
from landcover_orch.raster import inspect
from tests.scenes import ORIGIN, write_geotiff

CLASSES = (LandClass(id=0, name="a", colour="#ff0000"), LandClass(id=1, name="b", colour="#00ff00"))


def legend(*codes: str) -> Legend:
    return Legend(name="raster", classes=CLASSES, codes={code: "ab"[i % 2] for i, code in enumerate(codes)})


def numbers(path: Path, known: Legend, height: int = 2, read: Any = strips) -> list[list[int]]:
    raster = inspect(path)
    windows = blocks(raster.shape, height, raster.shape[1])
    result = np.concatenate(list(read(raster, windows, known, coding(known, "ignore"))))
    return [[int(value) for value in row] for row in result]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
def test_codes_become_their_places_in_the_legend(tmp_path: Path, dtype: str) -> None:
    path = write_geotiff(tmp_path / "l.tif", np.array([[7, 0], [255, 7], [0, 0]], dtype))
    assert numbers(path, legend("0", "7", "255")) == [[1, 0], [2, 1], [0, 0]]


@pytest.mark.parametrize(("dtype", "code"), [("int16", -1), ("uint16", 300), ("int32", 65_791), ("int32", -1)])
def test_an_unknown_code_is_an_error_and_never_another_class(tmp_path: Path, dtype: str, code: int) -> None:
    values = np.array([[44, 255, 44], [44, 44, code], [code, 44, 255]], dtype)
    path = write_geotiff(tmp_path / "l.tif", values)
    with pytest.raises(UnknownCodeError, match=f"unknown code '{code}' in 2 pixels, first at row 1, col 2"):
        numbers(path, legend("44", "255"), height=1)


def test_all_unknown_codes_are_in_one_error(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "l.tif", np.array([[3, 1], [4, 4]], np.uint8))
    with pytest.raises(UnknownCodeError) as error:
        numbers(path, legend("1"), height=1)
    assert [problem.found.split(" in ")[0] for problem in error.value.problems] == [
        "unknown code '4'",
        "unknown code '3'",
    ]


def test_nodata_is_unlabelled_unless_the_legend_names_it(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "l.tif", np.array([[1, 255]], np.uint8), nodata=255)
    assert numbers(path, legend("1")) == [[0, 1]]
    assert numbers(path, legend("1", "255")) == [[0, 1]]
    assert coding(legend("1"), "ignore").unlabelled == 1
    assert coding(legend("1", "255"), "ignore").unlabelled == 2


def test_colours_become_their_places(tmp_path: Path) -> None:
    data = np.array([[[255, 0]], [[0, 0]], [[0, 255]]], np.uint8)
    path = write_geotiff(tmp_path / "l.tif", data, photometric="rgb")
    assert numbers(path, legend("#FF0000", "#0000ff"), read=colour_strips) == [[0, 1]]
    with pytest.raises(UnknownCodeError, match="unknown code '#0000ff' in 1 pixel, first at row 0, col 1"):
        numbers(path, legend("#ff0000"), read=colour_strips)


ISPRS = ("#ffffff", "#0000ff", "#00ffff", "#00ff00", "#ffff00", "#ff0000")
"""Impervious surfaces, building, low vegetation, tree, car, clutter."""


def test_the_six_colours_of_the_isprs_contest(tmp_path: Path) -> None:
    classes = tuple(LandClass(id=i, name=f"c{i}", colour=colour) for i, colour in enumerate(ISPRS))
    known = Legend(name="isprs", classes=classes, codes={colour: f"c{i}" for i, colour in enumerate(ISPRS)})
    values = np.random.default_rng(0).integers(0, 6, (40, 50))
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in ISPRS], np.uint8)
    data = np.moveaxis(rgb[values], -1, 0).copy()
    path = write_geotiff(tmp_path / "l.tif", data, photometric="rgb", compress="lzw")
    assert numbers(path, known, read=colour_strips) == values.tolist()
    data[:, 7, 9:12] = 128
    path = write_geotiff(tmp_path / "l.tif", data, photometric="rgb", compress="lzw")
    with pytest.raises(UnknownCodeError, match="unknown code '#808080' in 3 pixels, first at row 7, col 9"):
        numbers(path, known, read=colour_strips)


def test_colours_of_a_lossy_file_are_their_neighbours_within_the_tolerance(tmp_path: Path) -> None:
    """Cars of (252, 255, 0) and a cyan of (9, 222, 221) are in the Potsdam data; a tone further off is unknown."""
    near = np.array([[[252, 9, 0, 40]], [[255, 222, 255, 215]], [[0, 221, 255, 255]]], np.uint8)
    path = write_geotiff(tmp_path / "near.tif", near, photometric="rgb")
    known = legend("#ffff00", "#00ffff").model_copy(update={"colour_tolerance": 40})
    assert numbers(path, known, read=colour_strips) == [[0, 1, 1, 1]]
    with pytest.raises(UnknownCodeError, match="unknown code '#28d7ff' in 1 pixel"):
        numbers(path, known.model_copy(update={"colour_tolerance": 39}), read=colour_strips)


def test_rasters_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "l.tif", np.zeros((2, 2), np.float32))
    with pytest.raises(LabelError, match="1 band of float32; expected one band of integer codes"):
        numbers(path, legend("1"))
    with pytest.raises(LabelError, match="expected red, green and blue as uint8"):
        numbers(path, legend("#ff0000"), read=colour_strips)


def test_codes_that_a_raster_cannot_hold_are_refused(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "l.tif", np.zeros((2, 2), np.uint8))
    with pytest.raises(LabelError, match="wood"):
        numbers(path, legend("wood"))
    rgb = write_geotiff(tmp_path / "c.tif", np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(LabelError, match="expected colours as '#rrggbb'"):
        numbers(rgb, legend("1"), read=colour_strips)


def test_a_label_raster_must_lie_on_its_orthophotos_grid(tmp_path: Path) -> None:
    image = inspect(write_geotiff(tmp_path / "i.tif", np.zeros((4, 4), np.uint8)))
    same = inspect(write_geotiff(tmp_path / "a.tif", np.zeros((4, 4), np.uint8)))
    require_grid(same, image.grid)
    shifted = write_geotiff(tmp_path / "b.tif", np.zeros((4, 4), np.uint8), origin=(ORIGIN[0] + 0.5, ORIGIN[1]))
    with pytest.raises(LabelError, match=r"0\.50 px off"):
        require_grid(inspect(shifted), image.grid)
    other = write_geotiff(tmp_path / "c.tif", np.zeros((4, 4), np.uint8), crs="EPSG:25829")
    with pytest.raises(LabelError, match="CRS EPSG:25829"):
        require_grid(inspect(other), image.grid)


def test_a_beginning_stands_for_all_codes_of_a_level(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "l.tif", np.array([[311, 312], [31, 3199], [511, 311]], np.uint16))
    assert numbers(path, legend("31*", "312", "*")) == [[0, 1], [0, 0], [2, 0]]
    with pytest.raises(UnknownCodeError, match="unknown code '511' in 1 pixel"):
        numbers(path, legend("31*", "312"))
