"""Rasters: only GeoTIFFs, every kind of nodata, exact casts or errors, reproducible bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from shapely.geometry import box

from landcover_orch import raster
from landcover_orch.errors import RasterError
from landcover_orch.grid import Window, blocks
from tests import scenes

X, Y = scenes.ORIGIN
WHOLE = Window(0, 0, 20, 30)


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


def valid(path: Path, nodata: raster.Nodata = "file") -> np.ndarray:
    with raster.reader(raster.inspect(path), nodata=nodata) as source:
        mask = source.valid(WHOLE)
        np.testing.assert_array_equal(mask, source.valid(WHOLE, source.read(WHOLE)))
        return mask


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    path = scenes.write_geotiff(
        tmp_path / "a.tif", noise(3, 40, 64), resolution=0.5, tiled=True, blockxsize=32, blockysize=16
    )
    result = raster.inspect(path)
    assert (result.shape, result.count, result.dtype, result.crs) == ((40, 64), 3, "uint8", "EPSG:25830")
    assert (result.block, result.nodata, result.mask, result.palette) == ((16, 32), None, "none", {})


def test_a_vrt_in_disguise_is_refused(tmp_path: Path) -> None:
    """It could read any file of the machine."""
    secret = scenes.write_geotiff(tmp_path / "secret.tif", noise(20, 30))
    rasterio.shutil.copy(secret, tmp_path / "plain.vrt", driver="VRT")
    shutil.move(tmp_path / "plain.vrt", tmp_path / "nice.tif")
    with pytest.raises(RasterError, match="not readable as GeoTIFF"):
        raster.inspect(tmp_path / "nice.tif")


def test_missing_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="no such file"):
        raster.inspect(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(RasterError, match="gdal_translate -of GTiff"):
        raster.inspect(tmp_path / "text.tif")


class TestNodata:
    """A pixel is nodata where every band is, whatever way the file has of saying so."""

    def test_by_value_in_every_band(self, tmp_path: Path) -> None:
        data = noise(3, 20, 30)
        data[:, 4, 5], data[1, 6, 7] = 255, 255
        path = scenes.write_geotiff(tmp_path / "a.tif", data, nodata=255)
        assert raster.inspect(path).mask == "nodata"
        assert np.argwhere(~valid(path)).tolist() == [[4, 5]]
        assert valid(path, "none").all()
        assert (
            np.argwhere(~valid(path, int(data[0, 0, 0]))).tolist()
            == np.argwhere((data == data[0, 0, 0]).all(0)).tolist()
        )

    def test_by_nan(self, tmp_path: Path) -> None:
        data = noise(2, 20, 30, dtype="float32")
        data[:, 4, 5], data[1, 6, 7] = np.nan, np.nan
        for nodata in (None, np.nan):
            path = scenes.write_geotiff(tmp_path / "a.tif", data, nodata=nodata)
            assert np.argwhere(~valid(path)).tolist() == [[4, 5], [6, 7]]

    def test_by_mask_band(self, tmp_path: Path) -> None:
        path = scenes.write_geotiff(tmp_path / "a.tif", noise(3, 20, 30))
        mask = np.full((20, 30), 255, np.uint8)
        mask[3:5, 8] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
            target.write_mask(mask)
        assert raster.inspect(path).mask == "mask band"
        np.testing.assert_array_equal(valid(path), mask > 0)

    def test_by_alpha(self, tmp_path: Path) -> None:
        data = noise(4, 20, 30)
        data[3] = 255
        data[3, 2, 9:11] = 0
        path = scenes.write_geotiff(tmp_path / "a.tif", data, photometric="rgb", alpha="yes")
        result = raster.inspect(path)
        assert (result.count, result.mask) == (3, "alpha")
        np.testing.assert_array_equal(valid(path), data[3] > 0)
        with raster.reader(result) as source:
            np.testing.assert_array_equal(source.read(WHOLE), data[:3])

    def test_near_infrared_is_not_alpha(self, tmp_path: Path) -> None:
        grid = GeoBox((20, 30), Affine(1, 0, X, 0, -1, Y), scenes.CRS)
        raster.write_tiled(tmp_path / "a.tif", grid, "uint8", ("r", "g", "b", "nir"), [(WHOLE, noise(4, 20, 30))])
        result = raster.inspect(tmp_path / "a.tif")
        assert (result.count, result.mask, result.descriptions) == (4, "none", ("r", "g", "b", "nir"))
        with rasterio.open(tmp_path / "a.tif") as source:
            assert source.colorinterp[3] is ColorInterp.undefined


def test_casts_are_exact_or_errors(tmp_path: Path) -> None:
    data = noise(2, 20, 30, dtype="uint16")
    path = scenes.write_geotiff(tmp_path / "a.tif", data)
    with raster.reader(raster.inspect(path), "uint8") as source:
        cast = source.read(WHOLE)
        assert cast.dtype == np.uint8
        np.testing.assert_array_equal(cast, data)
    data[1, 19, 29] = 256
    scenes.write_geotiff(path, data)
    with raster.reader(raster.inspect(path), "uint8") as source:
        np.testing.assert_array_equal(source.read(Window(0, 0, 19, 30)), data[:, :19])
        with pytest.raises(RasterError, match="uint16 values from 1 to 256"):
            source.read(WHOLE)


@pytest.mark.parametrize(("value", "dtype"), [(0.5, "uint8"), (-1.0, "uint8"), (3e9, "int16")])
def test_floats_that_are_no_whole_numbers_are_errors(tmp_path: Path, value: float, dtype: str) -> None:
    path = scenes.write_geotiff(tmp_path / "a.tif", np.full((20, 30), value, np.float32))
    with raster.reader(raster.inspect(path), dtype) as source, pytest.raises(RasterError, match=f"fit {dtype}"):
        source.read(WHOLE)


def test_a_truncated_block_names_its_rows(tmp_path: Path) -> None:
    path = scenes.write_geotiff(tmp_path / "a.tif", noise(3, 200, 30), blockysize=10)
    whole = raster.inspect(path)
    assert raster.truncated_blocks(whole) == []
    path.write_bytes(path.read_bytes()[:-4000])
    cut = raster.truncated_blocks(whole)
    assert 0 < len(cut) < 20
    assert cut[-1] == Window(190, 0, 10, 30)
    with raster.reader(whole) as source:
        source.read(Window(0, 0, 10, 30))
        with pytest.raises(RasterError, match="rows 190-199: unreadable block"):
            source.read(cut[-1])


def test_a_sparse_file_is_not_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 1, "dtype": "uint8", "sparse_ok": True}
    settings = {"crs": scenes.CRS, "transform": scenes.transform(), "tiled": True, "blockxsize": 32, "blockysize": 32}
    with rasterio.open(path, "w", **profile, **settings) as target:
        target.write(noise(1, 32, 32), window=rasterio.windows.Window(0, 0, 32, 32))
    assert raster.truncated_blocks(raster.inspect(path)) == []


def test_class_maps_have_reproducible_bytes_names_and_colours(tmp_path: Path) -> None:
    grid = GeoBox((700, 600), Affine(1, 0, X, 0, -1, Y), scenes.CRS)
    data = noise(700, 600) % 3
    palette = {0: (1, 2, 3), 1: (4, 5, 6), 2: (7, 8, 9), 255: (0, 0, 0)}
    for name, size in (("a", 512), ("b", 512), ("c", 700)):
        pieces = [(piece, data[piece.slices]) for piece in blocks(grid.shape, size, 600)]
        raster.write_cog(
            tmp_path / f"{name}.tif", grid, pieces, band="cover", palette=palette, names=("x", "y", "z"), nodata=255
        )
    a, b, c = ((tmp_path / f"{name}.tif").read_bytes() for name in "abc")
    assert a == b == c
    result = raster.inspect(tmp_path / "a.tif")
    assert {k: result.palette[k] for k in palette} == palette
    assert (result.nodata, result.descriptions, result.block) == (255, ("cover",), (512, 512))
    assert raster.class_names(tmp_path / "a.tif") == ("x", "y", "z")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "c.tif"]
    with raster.reader(result) as source:
        np.testing.assert_array_equal(source.read(Window(0, 0, 700, 600))[0], data)
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.overviews(1)
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_an_overview_of_classes_holds_classes_that_are_there(tmp_path: Path) -> None:
    grid = GeoBox((600, 700), Affine(1, 0, X, 0, -1, Y), scenes.CRS)
    data = np.where(np.indices((600, 700)).sum(axis=0) % 3 == 0, 4, 0).astype(np.uint8)
    path = tmp_path / "classes.tif"
    raster.write_cog(path, grid, [(Window(0, 0, 600, 700), data)], band="cover", palette={0: (0, 0, 0), 4: (4, 4, 4)})
    with rasterio.open(path, overview_level=0) as source:
        reduced = source.read(1)
    assert reduced.shape == (300, 350)
    assert set(np.unique(reduced)) == {0, 4}


def test_thumbnails(tmp_path: Path) -> None:
    path = scenes.write_geotiff(
        tmp_path / "a.tif", np.repeat([[[10, 30]]], 50, axis=1).repeat(50, axis=2).astype(np.uint8)
    )
    small = raster.thumbnail(raster.inspect(path), 10)
    assert small.shape == (1, 5, 10)
    assert small[0, 0].tolist() == [10] * 5 + [30] * 5


def test_later_polygons_cover_earlier_ones() -> None:
    grid = GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 4), scenes.CRS)
    shapes = [(box(0, 0, 4, 2), 300), (box(0, 0, 1.4, 4), 7)]
    rasterised = raster.burn(shapes, grid, all_touched=False, fill=65_535)
    assert rasterised.tolist() == [[7, 65_535, 65_535, 65_535]] * 2 + [[7, 300, 300, 300]] * 2
    assert raster.burn(shapes, grid, all_touched=True, fill=9)[0].tolist() == [7, 7, 9, 9]
    assert (raster.burn([], grid, all_touched=False, fill=9) == 9).all()
