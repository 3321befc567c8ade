"""The image of a tile: files behind one another as numpy would stack them, at the place that the dataset states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import RasterError
from landcover_orch.grid import Window, resolution
from landcover_orch.tiles import catalogue, imagery
from tests import scenes

HEIGHT, WIDTH = 50, 40
DSM = [{"image": "dsm/{tile}.tif", "bands": ["dsm"]}]


def dataset(root: Path, tiles: dict[str, Any] | None = None, **changes: Any) -> Dataset:
    plain = {
        "name": "town",
        "root": str(root),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.tif", **(tiles or {})},
        "bands": ["nir", "red", "green"],
        "legend": "cover",
        "labels": {"kind": "raster"},
        "experiments": ["small"],
        **changes,
    }
    return parse(plain, Dataset, "test")


def stacked(root: Path, **changes: Any) -> Dataset:
    return dataset(root, {"further": DSM}, bands=["nir", "red", "green", "dsm"], dtype="float32", **changes)


def photo(path: Path, bands: int = 3, **profile: Any) -> np.ndarray[Any, Any]:
    data = np.random.default_rng(bands).integers(1, 250, (bands, HEIGHT, WIDTH), dtype=np.uint8)
    scenes.write_geotiff(path, data, **profile)
    return data


def heights(path: Path, shape: tuple[int, int] = (HEIGHT, WIDTH), **profile: Any) -> np.ndarray[Any, Any]:
    data = np.random.default_rng(1).normal(280, 20, shape).astype(np.float32)
    scenes.write_geotiff(path, data, **profile)
    return data


def image_of(data: Dataset) -> raster.Raster:
    (tile,) = catalogue.tiles(data)
    return imagery.inspect(data, tile.images)


def everything(result: raster.Raster, dtype: str | None = None) -> np.ndarray[Any, Any]:
    with raster.reader(result, dtype) as source:
        return source.read(Window(0, 0, *result.shape))


@st.composite
def boxes(draw: st.DrawFn) -> Window:
    row, col = draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))
    return Window(row, col, draw(st.integers(1, HEIGHT - row)), draw(st.integers(1, WIDTH - col)))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes(), st.permutations([1, 2, 3, 4]), st.integers(1, 4), st.sampled_from(["float32", None]))
def test_any_window_is_what_numpy_stacks(
    tmp_path: Path, box: Window, order: list[int], count: int, dtype: str | None
) -> None:
    photograph, dsm = (
        photo(tmp_path / "t.tif", 4),
        heights(tmp_path / "dsm/t.tif", tiled=True, blockxsize=16, blockysize=16),
    )
    select = order[:count]
    bands = [*map(str, select), "dsm"]
    data = dataset(tmp_path, {"select": select, "further": DSM}, bands=bands, dtype="float32")
    expected = np.concatenate([photograph[np.array(select) - 1], dsm[None]])
    result = image_of(data)
    assert (result.count, result.shape) == (count + 1, (HEIGHT, WIDTH))
    with raster.reader(result, dtype) as source:
        assert source.dtype == np.float32
        pixels = source.read(box)
        np.testing.assert_array_equal(pixels, expected[(slice(None), *box.slices)])
        assert pixels.dtype == np.float32
        np.testing.assert_array_equal(source.valid(box), source.valid(box, pixels))


def test_a_stack_of_one_is_the_file(tmp_path: Path) -> None:
    data = photo(tmp_path / "t.tif")
    result = image_of(dataset(tmp_path))
    assert result == raster.inspect(tmp_path / "t.tif")
    np.testing.assert_array_equal(everything(result), data)
    assert everything(result).dtype == np.uint8


def test_a_pixel_is_data_where_every_file_says_so(tmp_path: Path) -> None:
    photograph, dsm = photo(tmp_path / "t.tif"), heights(tmp_path / "dsm/t.tif")
    photograph[:, 0, 0], dsm[1, 1], dsm[2, 2], dsm[3, 3] = 0, -9999, np.nan, 0
    scenes.write_geotiff(tmp_path / "t.tif", photograph, nodata=0)
    scenes.write_geotiff(tmp_path / "dsm/t.tif", dsm, nodata=-9999)
    with raster.reader(image_of(stacked(tmp_path)), "float32") as source:
        assert np.argwhere(~source.valid(Window(0, 0, 9, 9))).tolist() == [[0, 0], [1, 1], [2, 2]]
    with raster.reader(image_of(stacked(tmp_path)), "float32", "none") as source:
        assert np.argwhere(~source.valid(Window(0, 0, 9, 9))).tolist() == [[1, 1], [2, 2]]


@pytest.mark.parametrize(("nodata", "lost"), [("file", [[1, 1]]), ("none", []), (250.0, [[4, 4]])])
def test_nodata_of_further_files_is_stated_apart(tmp_path: Path, nodata: Any, lost: list[list[int]]) -> None:
    photo(tmp_path / "t.tif")
    dsm = np.full((HEIGHT, WIDTH), 7, np.float32)
    dsm[1, 1], dsm[4, 4] = -9999, 250
    scenes.write_geotiff(tmp_path / "dsm/t.tif", dsm, nodata=-9999)
    further = [{**DSM[0], "nodata": nodata}]
    data = dataset(tmp_path, {"further": further}, bands=["nir", "red", "green", "dsm"], dtype="float32")
    with raster.reader(image_of(data), "float32") as source:
        assert np.argwhere(~source.valid(Window(0, 0, HEIGHT, WIDTH))).tolist() == lost


def test_values_that_do_not_fit_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    photo(tmp_path / "t.tif")
    heights(tmp_path / "dsm/t.tif")
    with (
        raster.reader(image_of(stacked(tmp_path)), "uint8") as source,
        pytest.raises(RasterError, match=r"dsm/t\.tif: float32 values"),
    ):
        source.read(Window(0, 0, 5, 5))


def test_a_band_that_is_asked_for_is_data_whatever_its_tag(tmp_path: Path) -> None:
    data = photo(tmp_path / "t.tif", 4, photometric="rgb", alpha="yes")
    data[3, 5, 5] = 0
    scenes.write_geotiff(tmp_path / "t.tif", data, photometric="rgb", alpha="yes")
    result = image_of(dataset(tmp_path, {"select": [4, 1, 2]}))
    np.testing.assert_array_equal(everything(result), data[[3, 0, 1]])
    with raster.reader(result) as source:
        assert source.valid(Window(0, 0, HEIGHT, WIDTH)).all()
    with pytest.raises(RasterError, match=r"4 bands; expected band 5, which is to be read"):
        image_of(dataset(tmp_path, {"select": [5, 1, 2]}))


def test_thumbnails_show_all_files(tmp_path: Path) -> None:
    data, dsm = photo(tmp_path / "t.tif"), heights(tmp_path / "dsm/t.tif")
    small = raster.thumbnail(image_of(stacked(tmp_path)), 500)
    np.testing.assert_array_equal(small, np.concatenate([data, dsm[None]]))


class TestPlace:
    """Where pixels lie: what the file says, what the dataset says where the file is silent, or nowhere."""

    def test_the_file_says_it(self, tmp_path: Path) -> None:
        photo(tmp_path / "t.tif", crs=scenes.CRS)
        assert image_of(dataset(tmp_path)).crs == scenes.CRS
        assert image_of(dataset(tmp_path, crs=scenes.CRS)).crs == scenes.CRS

    def test_the_dataset_says_it_where_the_file_is_silent(self, tmp_path: Path) -> None:
        photo(tmp_path / "t.tif", crs=None)
        result = image_of(dataset(tmp_path, crs="EPSG:32632"))
        assert (result.crs, result.grid.affine) == ("EPSG:32632", scenes.transform())

    def test_a_file_that_says_another_is_an_error(self, tmp_path: Path) -> None:
        photo(tmp_path / "t.tif")
        with pytest.raises(RasterError, match=r"CRS is EPSG:25830; expected EPSG:32632 \(`crs`\), or none"):
            image_of(dataset(tmp_path, crs="EPSG:32632"))

    def test_a_world_file_beside_it_is_read_and_counted(self, tmp_path: Path) -> None:
        scenes.write_plain_tiff(tmp_path / "t.tif", np.ones((3, HEIGHT, WIDTH), np.uint8))
        data = dataset(tmp_path, crs="EPSG:32632")
        (tile,) = catalogue.tiles(data)
        before = catalogue.image_fingerprint(tile, tmp_path / "memory")
        (tmp_path / "t.tfw").write_text("0.09\n0\n0\n-0.09\n496864.045\n5419200.955\n")
        result = image_of(data)
        assert tuple(result.grid.affine)[:6] == pytest.approx((0.09, 0, 496864.0, 0, -0.09, 5419201.0))
        assert result.crs == "EPSG:32632"
        assert catalogue.image_fingerprint(tile, tmp_path / "memory") != before

    def test_nowhere_the_pixel_size_is_the_datasets(self, tmp_path: Path) -> None:
        scenes.write_plain_tiff(tmp_path / "t.tif", np.ones((3, HEIGHT, WIDTH), np.uint8))
        result = image_of(dataset(tmp_path, crs="none", resolution=10.0))
        assert (result.crs, resolution(result.grid)) == (None, 10.0)
        photo(tmp_path / "t.tif")  # whatever the file says of its place
        assert image_of(dataset(tmp_path, crs="none", resolution=10.0)).grid == result.grid

    def test_a_silent_file_of_the_same_shape_lies_on_the_orthophoto(self, tmp_path: Path) -> None:
        photo(tmp_path / "t.tif", crs=None)
        scenes.write_plain_tiff(tmp_path / "dsm/t.tif", np.ones((HEIGHT, WIDTH), np.float32))
        result = image_of(stacked(tmp_path, crs="EPSG:32632"))
        assert result.further[0].grid == result.grid
        assert result.further[0].crs == "EPSG:32632"


class TestMisfits:
    """Further files that do not lie on their orthophoto's grid are errors that name both."""

    def problems(self, data: Dataset) -> str:
        with pytest.raises(RasterError) as error:
            image_of(data)
        return str(error.value)

    def test_another_shape(self, tmp_path: Path) -> None:
        """As some normalised heights of Potsdam, which lack a column."""
        photo(tmp_path / "t.tif")
        heights(tmp_path / "dsm/t.tif", (HEIGHT, WIDTH - 1))
        message = self.problems(stacked(tmp_path))
        assert f"{tmp_path}/dsm/t.tif: 50 x 39 px in EPSG:25830, corners up to 1.00 px off" in message
        assert f"the grid of {tmp_path}/t.tif: 50 x 40 px in EPSG:25830" in message
        assert f"gdal_translate -srcwin 0 0 {WIDTH} {HEIGHT} fills it up" in message
        assert "corners up to 1.00 px off" in self.problems(stacked(tmp_path, crs="none", resolution=1))

    @pytest.mark.parametrize(
        ("profile", "words"),
        [
            ({"origin": (scenes.ORIGIN[0] + 2.5, scenes.ORIGIN[1])}, "corners up to 2.50 px off"),
            ({"resolution": 1.1}, "corners up to 5.00 px off"),
            ({"crs": "EPSG:25831"}, "50 x 40 px in EPSG:25831"),
            ({"crs": None}, "50 x 40 px in no CRS"),
        ],
    )
    def test_another_place(self, tmp_path: Path, profile: dict[str, Any], words: str) -> None:
        photo(tmp_path / "t.tif")
        heights(tmp_path / "dsm/t.tif", **profile)
        assert words in self.problems(stacked(tmp_path))

    def test_rounded_coordinates_are_the_same_grid(self, tmp_path: Path) -> None:
        photo(tmp_path / "t.tif")
        heights(tmp_path / "dsm/t.tif", origin=(scenes.ORIGIN[0] + 0.004, scenes.ORIGIN[1]))
        assert image_of(stacked(tmp_path)).count == 4


def test_what_is_read_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Maps are made anew where other bands of the same bytes are read, or the same bands elsewhere."""
    photo(tmp_path / "t.tif", 4)
    ways = [
        image_of(dataset(tmp_path, {"select": select}, **place))
        for select in ([1, 2, 3], [3, 2, 1])
        for place in ({}, {"crs": "none", "resolution": 1.0}, {"crs": "none", "resolution": 2.0})
    ]
    ways.append(replace(ways[0], grid=GeoBox(ways[0].shape, ways[0].grid.affine, "EPSG:25831")))
    assert len({str(way.read_options) for way in ways}) == len(ways)
