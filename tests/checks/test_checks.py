"""Every fault of the raw files is found, and one fault never hides another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from shapely.geometry import Point, box

from landcover_orch.checks import dataset as checks
from landcover_orch.config import Dataset
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import CatalogueError
from landcover_orch.legend import Legend
from landcover_orch.tiles import catalogue
from tests import scenes

X, Y = scenes.ORIGIN
SIDE = 64


def legend(*codes: str) -> Legend:
    classes = ({"id": 0, "name": "field", "colour": "#00ff00"}, {"id": 1, "name": "wood", "colour": "#007700"})
    return parse({"name": "cover", "classes": classes, "codes": dict.fromkeys(codes or ("1",), "wood")}, Legend, "test")


def dataset(root: Path, *, tiles: dict[str, Any] | None = None, **changes: Any) -> Dataset:
    plain = {
        "name": "town",
        "root": str(root),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg", "year": 2020, "label_year": 2019, **(tiles or {})},
        "bands": ["red", "green", "blue"],
        "legend": "cover",
        "labels": {"attribute": "code"},
        "experiments": ["small"],
        **changes,
    }
    return parse(plain, Dataset, "test")


def image(path: Path, bands: int = 3, dtype: str = "uint8", **settings: Any) -> Path:
    data = np.random.default_rng(0).integers(1, 250, (bands, SIDE, SIDE)).astype(dtype)
    return scenes.write_geotiff(path, data, **settings)


def polygons(path: Path, **settings: Any) -> Path:
    return scenes.write_polygons(path, [(box(X + 5, Y - 40, X + 40, Y - 5), "1")], **settings)


def look(data: Dataset, marks: Legend | None = None, *, deep: bool = False) -> checks.Issues:
    return checks.check(data, marks or legend(), catalogue.tiles(data), deep=deep)


def only(result: checks.Issues) -> str:
    assert len(result.problems) == 1, result.problems
    return str(result.problems[0])


def test_a_sound_dataset_has_no_findings(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    polygons(tmp_path / "a.gpkg")
    for deep in (False, True):
        assert look(dataset(tmp_path), deep=deep) == checks.Issues()


def test_a_minor_class_that_is_none_of_the_legend_is_told(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    polygons(tmp_path / "a.gpkg")
    assert look(dataset(tmp_path, minor=["wood"])) == checks.Issues()
    assert "minor: sea; expected classes of ['field', 'wood']" in only(look(dataset(tmp_path, minor=["sea"])))


def test_a_band_that_the_file_calls_transparency_is_told_with_its_remedy(tmp_path: Path) -> None:
    image(tmp_path / "a.tif", bands=4, photometric="rgb", alpha="yes")
    polygons(tmp_path / "a.gpkg")
    told = only(look(dataset(tmp_path, bands=["red", "green", "blue", "nir"])))
    assert "3 bands and one tagged as transparency (alpha); expected 4: red, green, blue, nir" in told
    assert "gdal_edit.py -colorinterp_4 undefined" in told


def test_all_faults_of_all_tiles_come_together(tmp_path: Path) -> None:
    image(tmp_path / "a.tif", bands=4, dtype="uint16", crs=None)
    polygons(tmp_path / "a.gpkg", layer="x", attribute="kind")
    (tmp_path / "b.tif").write_text("no raster")
    (tmp_path / "b.gpkg").write_text("no polygons")
    data = dataset(
        tmp_path, tiles={"year": 2009}, labels={"attribute": "code", "unlabelled": "sea"}, limits={"max_pixels": 99}
    )
    result = look(data)
    text = "\n".join(map(str, result.problems))
    for part in (
        "labels.unlabelled: 'sea'; expected one of ['ignore', 'field', 'wood']",
        "a.tif: no CRS",
        "a.tif: 4 bands; expected 3: red, green, blue",
        "a.tif: pixels of uint16; expected uint8",
        "a.tif: 64 x 64 = 4,096 pixels; expected at most 99",
        "a.tif: orthophoto of 2009, labels of 2019: 10 years apart; expected at most 3",
        "a.gpkg: no column 'code'; there are kind",
        "b.tif: not readable as GeoTIFF",
        "b.tif: orthophoto of 2009",
        "b.gpkg: it begins with b'no polygons'",
    ):
        assert part in text, part
    assert len(result.problems) == 10
    with pytest.raises(CatalogueError, match="10 problems"):
        result.raise_problems()


def test_a_stored_dtype_is_respected_and_its_values_must_fit(tmp_path: Path) -> None:
    polygons(tmp_path / "a.gpkg")
    stored = {"overrides": {"a": {"dtype": "uint16"}}}
    image(tmp_path / "a.tif", dtype="uint16")
    assert look(dataset(tmp_path, tiles=stored)).problems == ()
    scenes.write_geotiff(tmp_path / "a.tif", np.full((3, SIDE, SIDE), 256, np.uint16))
    assert "uint16 values from 256 to 256; expected values that fit uint8" in only(
        look(dataset(tmp_path, tiles=stored))
    )


@pytest.mark.parametrize("profile", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": "band"}])
def test_a_truncated_file_is_found_without_reading_it(tmp_path: Path, profile: dict[str, Any]) -> None:
    whole = image(tmp_path / "a.tif", **profile).read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) * 3 // 4])
    polygons(tmp_path / "a.gpkg")
    assert "beyond the file's end, the first at row" in only(look(dataset(tmp_path)))


def test_a_corrupt_block_is_found_by_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path / "a.tif", tiled=True, blockxsize=16, blockysize=16)
    with rasterio.open(path) as source:
        offset = int(source.get_tag_item("BLOCK_OFFSET_1_2", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset : offset + 64] = bytes(64)
    path.write_bytes(data)
    polygons(tmp_path / "a.gpkg")
    assert "unreadable block" in only(look(dataset(tmp_path)))
    monkeypatch.setattr("landcover_orch.checks.rasters.SMALL", 1)  # as if it were large
    assert look(dataset(tmp_path)).problems == ()
    assert "rows 32-47: unreadable block" in only(look(dataset(tmp_path), deep=True))


def test_a_raster_without_place_is_refused(tmp_path: Path) -> None:
    data = np.ones((3, SIDE, SIDE), np.uint8)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        scenes.write_geotiff(tmp_path / "a.tif", data, crs=None, transform=rasterio.Affine.identity())
    polygons(tmp_path / "a.gpkg")
    result = look(dataset(tmp_path)).problems
    assert [problem.found for problem in result] == ["no CRS", "no georeference"]
    assert "the dataset's `crs` (EPSG:n, or none with a `resolution`)" in result[0].fix
    result = look(dataset(tmp_path, crs=scenes.CRS)).problems
    assert [problem.found for problem in result][:1] == ["no georeference"]


@pytest.mark.parametrize(("nodata", "words"), [("file", "of all bands in 1"), ("none", "they count as data")])
def test_a_nodata_tag_that_is_an_ordinary_value_is_told(tmp_path: Path, nodata: str, words: str) -> None:
    data = np.full((3, SIDE, SIDE), 7, np.uint8)
    data[:, 0, 0] = 255
    data[1, 5, 5:8] = 255
    scenes.write_geotiff(tmp_path / "a.tif", data, nodata=255)
    polygons(tmp_path / "a.gpkg")
    (note,) = look(dataset(tmp_path, nodata=nodata)).notes
    assert "nodata tag 255 is the value of a band in 4 pixels" in note
    assert words in note


def test_nodata_that_is_only_nodata_is_no_news(tmp_path: Path) -> None:
    data = np.full((3, SIDE, SIDE), 7, np.uint8)
    data[:, :9] = 0
    scenes.write_geotiff(tmp_path / "a.tif", data, nodata=0)
    polygons(tmp_path / "a.gpkg")
    assert look(dataset(tmp_path)) == checks.Issues()


def test_unstated_years_are_noted_once(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / f"{name}.tif")
        polygons(tmp_path / f"{name}.gpkg")
    (note,) = look(dataset(tmp_path, tiles={"label_year": None})).notes
    assert "the years of a, b are not stated" in note


def test_polygons_in_another_crs_are_noted(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    scenes.write_polygons(tmp_path / "a.gpkg", [(box(-3.01, 42.4, -2.9, 42.46), "1")], crs="EPSG:4326")
    result = look(dataset(tmp_path))
    assert result.problems == ()
    assert "polygons in EPSG:4326 are reprojected" in result.notes[0]


def test_polygons_elsewhere_are_no_labels(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    scenes.write_polygons(tmp_path / "a.gpkg", [(box(X + 900, Y, X + 950, Y + 50), "1")])
    assert "no polygon on" in only(look(dataset(tmp_path)))
    scenes.write_polygons(tmp_path / "a.gpkg", [(box(X + SIDE + 9, Y, X + SIDE + 20, Y + 50), "1")])  # its margin
    result = look(dataset(tmp_path, labels={"attribute": "code", "unlabelled": "field"}))
    assert result.problems == ()
    assert "all of it is 'field'" in result.notes[0]


def test_an_empty_layer_and_points_are_told(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    scenes.write_polygons(tmp_path / "a.gpkg", [(Point(X + 5, Y - 5), "1")])
    assert "geometries of type Point" in only(look(dataset(tmp_path)))


def test_layers_are_listed(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    polygons(tmp_path / "a.gpkg", layer="first")
    polygons(tmp_path / "a.gpkg", layer="second")
    assert "2 layers with geometries; the file has first, second" in only(look(dataset(tmp_path)))
    expected = dataset(tmp_path, labels={"attribute": "code", "layer": "third"})
    assert "no layer 'third'; the file has first, second" in only(look(expected))
    assert look(dataset(tmp_path, labels={"attribute": "code", "layer": "second"})).problems == ()


def test_polygons_without_crs_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match="crs"):
        polygons(tmp_path / "a.gpkg", crs=None)
    assert "a.gpkg: no CRS" in only(look(dataset(tmp_path)))


def test_vector_labels_need_an_attribute(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    polygons(tmp_path / "a.gpkg")
    assert "labels.attribute: nothing" in only(look(dataset(tmp_path, labels={})))


class TestLabelRasters:
    """Labels that arrive as rasters must lie on their orthophoto's grid to a hundredth of a pixel."""

    def data(self, root: Path, kind: str = "raster") -> Dataset:
        return dataset(root, tiles={"label": "{tile}-label.tif"}, labels={"kind": kind})

    def codes(self, path: Path, **settings: Any) -> None:
        scenes.write_geotiff(path / "a-label.tif", np.ones((1, SIDE, SIDE), np.uint8), **settings)
        image(path / "images" / "a.tif")

    def found(self, root: Path, kind: str = "raster") -> checks.Issues:
        plain = dataset(root, tiles={"image": "images/{tile}.tif", "label": "{tile}-label.tif"}, labels={"kind": kind})
        return look(plain, legend("#ff0000") if kind == "rgb" else legend())

    def test_the_same_grid_passes(self, tmp_path: Path) -> None:
        self.codes(tmp_path)
        assert self.found(tmp_path) == checks.Issues()

    @pytest.mark.parametrize(("shift", "told"), [(0.25, "0.25 columns"), (3.0, "3.00 columns")])
    def test_a_shift_is_stated_in_pixels(self, tmp_path: Path, shift: float, told: str) -> None:
        self.codes(tmp_path, origin=(X + shift, Y - 2 * shift))
        assert f"shifted by {told} and {2 * shift:.2f} rows" in only(self.found(tmp_path))

    def test_rounded_coordinates_are_the_same_grid(self, tmp_path: Path) -> None:
        self.codes(tmp_path, origin=(X + 0.004, Y))
        assert self.found(tmp_path) == checks.Issues()

    def test_another_pixel_size_is_misaligned(self, tmp_path: Path) -> None:
        self.codes(tmp_path, resolution=1.01)
        assert "to (64.64, 64.64)" in only(self.found(tmp_path))

    def test_rasters_are_never_reprojected(self, tmp_path: Path) -> None:
        self.codes(tmp_path, crs="EPSG:25831")
        assert "CRS is EPSG:25831" in only(self.found(tmp_path))

    def test_labels_elsewhere(self, tmp_path: Path) -> None:
        self.codes(tmp_path, origin=(X + 5000, Y))
        assert "no pixel on its orthophoto" in only(self.found(tmp_path))

    def test_kind_and_content_must_agree(self, tmp_path: Path) -> None:
        self.codes(tmp_path)
        assert "1 band of uint8; expected 3 bands of uint8" in only(self.found(tmp_path, "rgb"))

    def test_codes_must_be_of_the_kind(self, tmp_path: Path) -> None:
        self.codes(tmp_path)
        plain = dataset(
            tmp_path,
            tiles={"image": "images/{tile}.tif", "label": "{tile}-label.tif"},
            labels={"kind": "raster"},
        )
        assert "codes: FDC; expected whole numbers" in only(look(plain, legend("FDC")))

    def test_truncated_labels_are_found(self, tmp_path: Path) -> None:
        scenes.write_geotiff(
            tmp_path / "a-label.tif", np.random.default_rng(1).integers(0, 9, (1, SIDE, SIDE)).astype(np.uint8)
        )
        whole = (tmp_path / "a-label.tif").read_bytes()
        (tmp_path / "a-label.tif").write_bytes(whole[: len(whole) * 3 // 4])
        image(tmp_path / "images" / "a.tif")
        assert "beyond the file's end" in only(self.found(tmp_path))


def test_a_dataset_may_lie_nowhere(tmp_path: Path) -> None:
    """The files' own places, and those of their labels, are then of no account; their shapes are."""
    place = {"crs": "none", "resolution": 10.0, "labels": {"kind": "raster"}}
    data = dataset(tmp_path, tiles={"label": "{tile}/label.tif"}, **place)
    image(tmp_path / "a.tif", crs=None)
    scenes.write_plain_tiff(tmp_path / "b.tif", np.ones((3, SIDE, SIDE), np.uint8))
    for name, origin in (("a", (X, Y)), ("b", (0.0, 9.0))):
        scenes.write_geotiff(tmp_path / name / "label.tif", np.ones((SIDE, SIDE), np.uint8), origin=origin)
    assert look(data, deep=True) == checks.Issues()
    scenes.write_plain_tiff(tmp_path / "b" / "label.tif", np.ones((SIDE, SIDE - 1), np.uint8))
    assert "64 x 63 pixels" in only(look(data))


def test_silent_labels_lie_on_their_orthophoto_where_the_dataset_states_the_place(tmp_path: Path) -> None:
    data = dataset(tmp_path, tiles={"label": "{tile}/label.tif"}, crs=scenes.CRS, labels={"kind": "raster"})
    image(tmp_path / "a.tif")
    scenes.write_plain_tiff(tmp_path / "a" / "label.tif", np.ones((SIDE, SIDE), np.uint8))
    assert look(data) == checks.Issues()
    told = only(look(data.model_copy(update={"crs": "EPSG:32632"})))
    assert "a.tif: CRS is EPSG:25830; expected EPSG:32632 (`crs`), or none" in told
    assert "no CRS" in str(look(data.model_copy(update={"crs": "file"})).problems)


def test_a_tile_without_labels_is_checked_by_itself(tmp_path: Path) -> None:
    image(tmp_path / "a.tif")
    polygons(tmp_path / "a.gpkg")
    image(tmp_path / "test" / "b.tif")
    data = dataset(tmp_path, tiles={"unlabelled": "test/{tile}.tif", "overrides": {"b": {"year": 1990}}})
    assert look(data) == checks.Issues()
    image(tmp_path / "test" / "b.tif", bands=4, photometric="minisblack", alpha="no")
    assert "test/b.tif: 4 bands; expected 3" in only(look(data))


class TestFurtherFiles:
    """Every file of an image is checked, and whether all lie on one grid."""

    def data(self, root: Path, **changes: Any) -> Dataset:
        image(root / "a.tif")
        polygons(root / "a.gpkg")
        further = {"further": [{"image": "dsm/{tile}.tif", "bands": ["dsm"]}]}
        settings = {"bands": ["red", "green", "blue", "dsm"], "dtype": "float32", **changes}
        return dataset(root, tiles=further, **settings)

    def heights(self, path: Path, side: int = SIDE, bands: int = 1, dtype: str = "float32", **settings: Any) -> None:
        data = np.random.default_rng(0).normal(280, 9, (bands, side, side)).astype(dtype)
        scenes.write_geotiff(path / "dsm" / "a.tif", data, **settings)

    def test_a_photograph_and_its_heights_pass(self, tmp_path: Path) -> None:
        self.heights(tmp_path)
        for deep in (False, True):
            assert look(self.data(tmp_path), deep=deep) == checks.Issues()

    def test_all_their_faults_come_together(self, tmp_path: Path) -> None:
        self.heights(tmp_path, SIDE - 1, bands=2, crs="EPSG:25831")
        told = [str(problem) for problem in look(self.data(tmp_path)).problems]
        assert len(told) == 2
        assert "dsm/a.tif: 63 x 63 px in EPSG:25831" in told[0]
        assert f"expected the grid of {tmp_path}/a.tif: 64 x 64 px in EPSG:25830" in told[0]
        assert "dsm/a.tif: 2 bands; expected 1: dsm" in told[1]

    def test_values_must_fit_the_datasets_dtype(self, tmp_path: Path) -> None:
        self.heights(tmp_path)
        told = only(look(self.data(tmp_path, dtype="uint8")))
        assert "dsm/a.tif: float32 values from" in told
        self.heights(tmp_path, dtype="float64")
        assert look(self.data(tmp_path)).problems == (), "rounded to float32"
        self.heights(tmp_path, dtype="float64")
        with rasterio.open(tmp_path / "dsm" / "a.tif", "r+") as file:
            file.write(np.full((1, 1), 1e300), 1, window=((0, 1), (0, 1)))
        assert "float64 values from" in str(look(self.data(tmp_path)).problems)
        self.heights(tmp_path, dtype="uint16")
        assert "pixels of uint8; expected int16" not in str(look(self.data(tmp_path, dtype="int16")).problems)

    def test_a_broken_one_hides_nothing(self, tmp_path: Path) -> None:
        data = self.data(tmp_path)
        image(tmp_path / "a.tif", bands=1)
        (tmp_path / "dsm").mkdir()
        (tmp_path / "dsm" / "a.tif").write_text("no heights")
        told = [str(problem) for problem in look(data).problems]
        assert len(told) == 2
        assert "a.tif: 1 band; expected 3" in told[0]
        assert "dsm/a.tif: not readable as GeoTIFF" in told[1]


class TestBandNames:
    """What a file says of its bands is held against `bands`, and what it says of its display alone is not."""

    def named(self, root: Path, descriptions: tuple[str, ...], colours: tuple[str, ...], **settings: Any) -> list[str]:
        path = image(root / "a.tif", bands=len(descriptions), photometric="minisblack")
        with rasterio.open(path, "r+") as file:
            file.descriptions = descriptions
            file.colorinterp = [rasterio.enums.ColorInterp[colour] for colour in colours]
        polygons(root / "a.gpkg")
        return [str(problem) for problem in look(dataset(root, **settings)).problems]

    @pytest.mark.parametrize(
        ("bands", "descriptions", "colours"),
        [
            (["nir", "red", "green"], ("", "", ""), ("red", "green", "blue")),  # colour infrared, tagged for display
            (["nir", "red", "green"], ("Band 1", "IRRG", "2"), ("red", "green", "blue")),
            (["red", "green", "blue"], ("Rot", "Band 2 (green)", "b"), ("gray", "undefined", "undefined")),
            (["height", "red", "slope"], ("DSM", "r", "blue-ish"), ("gray", "undefined", "undefined")),
        ],
    )
    def test_what_contradicts_nothing(
        self, tmp_path: Path, bands: list[str], descriptions: tuple[str, ...], colours: tuple[str, ...]
    ) -> None:
        assert self.named(tmp_path, descriptions, colours, bands=bands) == []

    def test_another_order(self, tmp_path: Path) -> None:
        gray = ("gray", "undefined", "undefined")
        (text,) = self.named(tmp_path, ("blue", "green", "red"), gray)
        assert "a.tif: it names its bands blue, green, red; expected red, green, blue (`bands`)" in text
        (text,) = self.named(tmp_path, ("", "", ""), ("red", "green", "blue"), bands=["blue", "green", "red"])
        assert "it tags the colours of its bands red, green, blue; expected blue, green, red" in text
        (text,) = self.named(tmp_path, ("red", "near infrared", "green"), gray, bands=["nir", "red", "green"])
        assert "it names its bands red, nir, green; expected nir, red, green" in text
        assert self.named(tmp_path, ("blue", "green", "red"), gray, band_names="ignore") == []


def test_usual_nodata_values_without_a_tag_are_told(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(280, 9, (1, SIDE, SIDE)).astype("float32")
    data[0, 0, :7] = -9999
    scenes.write_geotiff(tmp_path / "a.tif", data)
    polygons(tmp_path / "a.gpkg")
    settings = {"bands": ["dsm"], "dtype": "float32"}
    (note,) = look(dataset(tmp_path, **settings)).notes
    assert "-9999 in 7 pixels, a usual nodata value that no tag names: if it is one, set `nodata: -9999`" in note
    assert look(dataset(tmp_path, nodata=-9999, **settings)) == checks.Issues()


def test_blocks_that_were_never_written_count_as_nodata_where_there_is_one(tmp_path: Path) -> None:
    polygons(tmp_path / "a.gpkg")
    profile = {"count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8", "tiled": True, "blockxsize": 32}
    place = {"crs": scenes.CRS, "transform": scenes.transform(), "blockysize": 32, "sparse_ok": True}
    part = np.full((3, 32, 32), 9, "uint8")
    for nodata in (None, 0):
        with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", nodata=nodata, **profile, **place) as file:
            file.write(part, window=((0, 32), (0, 32)))
        result = look(dataset(tmp_path))
        if nodata is None:
            assert "a.tif: 3 of 4 blocks were never written" in only(result)
        else:
            assert result.problems == ()
            assert "a.tif: 3 of 4 blocks were never written: they count as nodata" in result.notes[0]


class TestLabelsOfAnotherPlace:
    """Where all else is a class, labels that lie elsewhere would make a whole tile that class."""

    def far(self, path: Path, crs: str = scenes.CRS, shift: float = 50_000) -> None:
        scenes.write_polygons(path, [(box(X + shift, Y - 40, X + shift + 30, Y), "1")], crs=crs)

    def test_a_tiles_own_file(self, tmp_path: Path) -> None:
        image(tmp_path / "a.tif")
        self.far(tmp_path / "a.gpkg")
        for unlabelled in ("ignore", "field"):
            text = only(look(dataset(tmp_path, labels={"attribute": "code", "unlabelled": unlabelled})))
            assert "a.gpkg: no polygon on" in text

    def test_degrees_that_are_called_metres(self, tmp_path: Path) -> None:
        image(tmp_path / "a.tif")
        scenes.write_polygons(tmp_path / "a.gpkg", [(box(-3.01, 42.44, -3.0, 42.45), "1")])
        text = only(look(dataset(tmp_path, labels={"attribute": "code", "unlabelled": "field"})))
        assert "a.gpkg: degrees, (-3.0, 42.4, -3.0, 42.5), in EPSG:25830" in text
        assert "ogr2ogr -a_srs EPSG:4326 out.gpkg a.gpkg" in text

    def test_a_file_that_tiles_share(self, tmp_path: Path) -> None:
        for i, tile in enumerate("ab"):
            image(tmp_path / f"{tile}.tif", origin=(X + SIDE * i, Y))
        labels = {"attribute": "code", "unlabelled": "field"}
        shared = {"image": "{tile}.tif", "label": "all.gpkg"}
        self.far(tmp_path / "all.gpkg")
        result = look(dataset(tmp_path, tiles=shared, labels=labels))
        assert "all.gpkg: no polygon on any of a, b" in only(result)
        polygons(tmp_path / "all.gpkg")
        result = look(dataset(tmp_path, tiles=shared, labels=labels))
        assert result.problems == ()
        assert any("no polygon on tile b; all of it is 'field'" in note for note in result.notes)

    def test_a_file_without_polygons_is_all_the_other_class(self, tmp_path: Path) -> None:
        image(tmp_path / "a.tif")
        scenes.write_polygons(tmp_path / "a.gpkg", [])
        result = look(dataset(tmp_path, labels={"attribute": "code", "unlabelled": "field"}))
        assert result.problems == ()
