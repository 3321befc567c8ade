"""`landcover init`: a folder of own files becomes a dataset that passes the check, each guess with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from shapely.geometry import box

from assets.cli import main
from landcover_orch import config
from landcover_orch.checks.dataset import check_dataset
from landcover_orch.config import Dataset
from landcover_orch.drafts import samples, survey, writing
from landcover_orch.drafts.draft import init
from landcover_orch.errors import CatalogueError, ConfigError
from landcover_orch.ground_truth import build as ground_truth
from landcover_orch.tiles import catalogue
from tests import scenes

X, Y = scenes.ORIGIN
SIDE = 128


def pixels(bands: int = 3, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    high = 250 if dtype == "uint8" else 4000
    values = np.random.default_rng(seed).integers(1, high, (bands, SIDE, SIDE))
    return np.asarray(values.astype(dtype))


def image(path: Path, number: int = 0, bands: int = 3, dtype: str = "uint8", **settings: Any) -> Path:
    settings = {"origin": (X + number * SIDE, Y), **settings}
    return scenes.write_geotiff(path, pixels(bands, dtype, number), **settings)


def fields(number: int = 0) -> list[tuple[Any, Any]]:
    """Two halves of a tile, fields and woods in stripes, so that every block holds both."""
    left = X + number * SIDE
    stripes = [box(left, Y - row - 8, left + SIDE, Y - row) for row in range(0, SIDE, 8)]
    return [(stripe, "10" if i % 2 else "20") for i, stripe in enumerate(stripes)]


def polygons(path: Path, number: int = 0, **settings: Any) -> Path:
    return scenes.write_polygons(path, fields(number), **settings)


def passes(name: str = "town") -> Dataset:
    result = check_dataset(name)
    assert result.problems == (), "\n".join(map(str, result.problems))
    return config.load_dataset(name)


def texts(configs: Path, name: str = "town") -> tuple[str, str]:
    return tuple((configs / kind / f"{name}.yaml").read_text() for kind in ("datasets", "legends"))  # type: ignore[return-value]


def unwrapped(text: str) -> str:
    return " ".join(text.replace("\n#  ", "").split())


def tile_names(dataset: Dataset) -> list[str]:
    return [tile.name for tile in catalogue.tiles(dataset) if tile.label]


@pytest.mark.parametrize(
    ("bands", "dtype", "settings", "names"),
    [
        (1, "uint8", {}, ("grey",)),
        (3, "uint8", {"photometric": "rgb"}, ("red", "green", "blue")),
        (4, "uint8", {"photometric": "rgb", "alpha": "no"}, ("red", "green", "blue", "nir")),
        (4, "uint16", {}, ("red", "green", "blue", "nir")),
        (8, "uint16", {}, tuple(f"band_{n}" for n in range(1, 9))),
        (3, "float32", {}, ("red", "green", "blue")),
        (1, "int16", {}, ("grey",)),
    ],
)
def test_images_of_any_bands_and_dtype(
    configs: Path, tmp_path: Path, bands: int, dtype: str, settings: dict[str, Any], names: tuple[str, ...]
) -> None:
    for number, tile in enumerate("ab"):
        image(tmp_path / f"raw/{tile}.tif", number, bands, dtype, **settings)
        polygons(tmp_path / f"raw/{tile}.gpkg", number)
    draft, paths = init("town", tmp_path / "raw")
    dataset = passes()
    assert (dataset.bands, dataset.dtype) == (names, dtype)
    assert {path.parent.name for path in paths} == {"datasets", "legends"}
    assert dataset.experiments == ("random-forest", "small-unet")
    assert any("years" in question for question in draft.questions)
    text, legend = texts(configs)
    assert "# retraining:" in text
    assert "# promotion:" in text
    assert "'10': class 10   # 16 polygons, 1.64 ha" in legend


@pytest.mark.parametrize(
    ("images", "labels", "patterns"),
    [
        ("{}.tif", "{}.gpkg", ("{tile}.tif", "{tile}.gpkg")),
        ("images/{}.tif", "labels/{}.gpkg", ("images/{tile}.tif", "labels/{tile}.gpkg")),
        ("images/{}.tif", "labels/all.gpkg", ("images/{tile}.tif", "labels/all.gpkg")),
        ("{}/ortho.tif", "{}/labels.gpkg", ("{tile}/ortho.tif", "{tile}/labels.gpkg")),
        ("img_{}.tif", "label_{}.gpkg", ("img_{tile}.tif", "label_{tile}.gpkg")),
        ("{}_image.tif", "{}_mask.shp", ("{tile}_image.tif", "{tile}_mask.shp")),
    ],
)
def test_layouts_of_folders(configs: Path, tmp_path: Path, images: str, labels: str, patterns: tuple[str, str]) -> None:
    tiles = ("h01", "h02", "h03")
    for number, tile in enumerate(tiles):
        image(tmp_path / "raw" / images.format(tile), number)
        if "{}" in labels:
            vector(tmp_path / "raw" / labels.format(tile), fields(number))
    if "{}" not in labels:
        vector(tmp_path / "raw" / labels, [shape for number in range(3) for shape in fields(number)])
    init("town", tmp_path / "raw")
    dataset = passes()
    assert (dataset.tiles.image, dataset.tiles.label) == patterns
    assert tile_names(dataset) == list(tiles)
    assert dataset.tiles.names == ()


def vector(path: Path, shapes: list[tuple[Any, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gpkg":
        scenes.write_polygons(path, shapes)
        return
    codes, geometry = [code for _, code in shapes], [shape for shape, _ in shapes]
    geopandas.GeoDataFrame({"code": codes}, geometry=geometry, crs=scenes.CRS).to_file(path, engine="pyogrio")


def stripes(values: tuple[int, int]) -> NDArray[np.uint8]:
    rows = (np.arange(SIDE) // 8) % 2
    return np.where(rows[:, None] == 0, values[0], values[1]).repeat(SIDE, axis=1).astype(np.uint8)


def test_label_rasters_of_codes(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate("ab"):
        image(tmp_path / f"raw/images/{tile}.tif", number)
        scenes.write_geotiff(tmp_path / f"raw/masks/{tile}.tif", stripes((0, 7)), origin=(X + number * SIDE, Y))
    init("town", tmp_path / "raw")
    dataset = passes()
    assert dataset.labels.kind == "raster"
    assert dataset.tiles.label == "masks/{tile}.tif"
    assert config.load_legend("town").codes == {"0": "class 0", "7": "class 7"}
    assert "0 is often what was not looked at" in unwrapped(texts(configs)[0])


def test_colour_coded_label_rasters(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate("ab"):
        image(tmp_path / f"raw/{tile}_image.tif", number)
        rgb = np.stack([stripes((255, 0)), stripes((0, 128)), stripes((0, 0))])
        scenes.write_geotiff(tmp_path / f"raw/{tile}_label.tif", rgb, origin=(X + number * SIDE, Y))
    init("town", tmp_path / "raw")
    dataset = passes()
    assert dataset.labels.kind == "rgb"
    legend = config.load_legend("town")
    assert set(legend.codes) == {"#ff0000", "#008000"}
    assert {c.colour for c in legend.classes} == {"#ff0000", "#008000"}, "each class in its own colour"


def test_names_that_yaml_reads_as_numbers_are_quoted(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate(("22978945_15", "0110")):
        image(tmp_path / f"raw/{tile}.tif", number, dtype="uint16" if number else "uint8")
        polygons(tmp_path / f"raw/{tile}.gpkg", number)
    (tmp_path / "raw/2020_1.tif").write_text("no raster")
    draft, _ = init("town", tmp_path / "raw")
    dataset = passes()
    assert dataset.tiles.names == ("0110", "22978945_15")
    assert "names: ['0110', '22978945_15']" in texts(configs)[0]
    assert [problem.where for problem in draft.problems] == [str(tmp_path / "raw/2020_1.tif")]
    assert "not readable, and left out" in unwrapped(texts(configs)[0])


def test_names_with_dots_and_spaces(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate(("Lake 1.5m north", "Lake 1.5m süd", "x")):
        image(tmp_path / f"raw/{tile}.tif", number)
        polygons(tmp_path / f"raw/{tile}.gpkg", number)
    init("town", tmp_path / "raw")
    assert tile_names(passes()) == ["Lake-1-5m-north", "Lake-1-5m-sud", "x"]


def test_letters_beyond_ascii_are_transliterated_and_names_that_meet_stay_apart(
    configs: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("Müllheim_1", "Mullheim_1", "Mullheim_1-2", "Straße", "Łódź", "東京")
    for number, name in enumerate(files):
        image(tmp_path / "raw" / f"{name}.tif", number)
        polygons(tmp_path / "raw" / f"{name}.gpkg", number)
    assert main(["init", "town", str(tmp_path / "raw")]) == 0
    dataset = passes()
    tiles = {tile.image.stem: tile for tile in catalogue.tiles(dataset)}
    assert {file: tile.name for file, tile in tiles.items()} == {
        "Mullheim_1": "Mullheim_1",
        "Mullheim_1-2": "Mullheim_1-2",
        "Müllheim_1": "Mullheim_1-3",
        "Straße": "Strasse",
        "Łódź": "Lodz",
        "東京": "tile",
    }
    assert all(tile.label == tile.image.with_suffix(".gpkg") for tile in tiles.values())
    built = ground_truth.build(dataset, config.load_legend("town"), tiles["Müllheim_1"], home)
    assert built.path.name.startswith("Mullheim_1-3-")
    capsys.readouterr()
    assert main(["init", "Müllheim", str(tmp_path / "raw")]) == 1
    assert "Fix: name it Mullheim." in capsys.readouterr().err
    text = (configs / "datasets" / "town.yaml").read_text()
    start = text.index("tiles:")
    (configs / "datasets" / "town.yaml").write_text(
        text[:start] + 'tiles: {image: "{tile}.tif", label: "{tile}.gpkg"}\n' + text[text.index("\nbands:", start) :]
    )
    assert main(["check", "town"]) == 1
    assert "rename its files, as Mullheim_1," in capsys.readouterr().out


def test_what_all_names_share_is_left_out_of_names_that_cannot_be_keys(configs: Path, tmp_path: Path) -> None:
    for number in range(2):
        image(tmp_path / f"raw/PNOA 0.25 m {number}.tif", number)
        polygons(tmp_path / f"raw/PNOA 0.25 m {number}.gpkg", number)
    init("town", tmp_path / "raw")
    dataset = passes()
    assert dataset.tiles.image == "PNOA 0.25 m {tile}.tif"
    assert tile_names(dataset) == ["0", "1"]


def test_other_crs_and_resolutions_are_named_with_what_to_do(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    polygons(tmp_path / "raw/a.gpkg")
    image(tmp_path / "raw/b.tif", crs="EPSG:25829", resolution=2.0)
    scenes.write_polygons(
        tmp_path / "raw/b.gpkg", [(box(X, Y - 256, X + 128, Y), "10"), (box(X + 128, Y - 256, X + 256, Y), "20")],
        crs="EPSG:25829",
    )  # fmt: skip
    init("town", tmp_path / "raw")
    (problem,) = check_dataset("town").problems
    assert "pixels of several sizes, 1 m: a; 2 m: b" in str(problem)
    text = unwrapped(texts(configs)[0])
    assert "EPSG:25830 in 1 (a.tif); EPSG:25829 in 1 (b.tif)" in text
    assert "QUESTION: tiles of several CRSs" in text
    assert "a pixel is 1 m in a.tif; 2 m in b.tif" in text
    assert "warp the others once to 1 m or coarser (gdalwarp -tr)" in text


def test_images_without_a_place_need_one_edit(configs: Path, tmp_path: Path) -> None:
    for tile in "ab":
        scenes.write_plain_tiff(tmp_path / f"raw/images/{tile}.tif", pixels())
        scenes.write_plain_tiff(tmp_path / f"raw/labels/{tile}.tif", stripes((1, 2)))
    draft, _ = init("town", tmp_path / "raw")
    dataset = passes()
    assert (dataset.crs, dataset.resolution) == ("none", 1.0)
    assert any("state the side of a pixel in metres" in question for question in draft.questions)


def test_a_large_value_in_one_band_is_no_nodata_and_an_empty_margin_is(configs: Path, tmp_path: Path) -> None:
    data = pixels()
    data[0, 5, :9] = 255
    scenes.write_geotiff(tmp_path / "tagged/a.tif", data, nodata=255)
    polygons(tmp_path / "tagged/a.gpkg")
    init("tagged", tmp_path / "tagged")
    assert passes("tagged").nodata == "none"
    counts = "the tag 255 is the value of a band in 9, of all bands in 0 of 16,384 pixels: an ordinary value"
    assert counts in unwrapped(texts(configs, "tagged")[0])
    data = pixels()
    data[:, :, :16] = 0
    scenes.write_geotiff(tmp_path / "margin/a.tif", data)
    polygons(tmp_path / "margin/a.gpkg")
    init("margin", tmp_path / "margin")
    assert passes("margin").nodata == 0
    assert "2,048 of 16,384 pixels are 0 in all bands, 2 corners" in unwrapped(texts(configs, "margin")[0])
    scenes.write_geotiff(tmp_path / "mask/a.tif", data, nodata=0)
    polygons(tmp_path / "mask/a.gpkg")
    init("mask", tmp_path / "mask")
    assert passes("mask").nodata == "file"


def test_a_file_stored_wider_than_its_values_gets_an_override(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    scenes.write_geotiff(tmp_path / "raw/b.tif", pixels(seed=1).astype(np.uint16), origin=(X + SIDE, Y))
    image(tmp_path / "wide/a.tif")
    image(tmp_path / "wide/b.tif", 1, dtype="uint16")
    for folder in ("raw", "wide"):
        for number, tile in enumerate("ab"):
            polygons(tmp_path / folder / f"{tile}.gpkg", number)
        init(folder, tmp_path / folder)
    narrow, wide = passes("raw"), passes("wide")
    assert (narrow.dtype, narrow.tiles.overrides["b"].dtype) == ("uint8", "uint16")
    assert (wide.dtype, wide.tiles.overrides["a"].dtype) == ("uint16", "uint8")


def test_polygons_of_one_class_make_a_class_of_the_rest(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    houses = [(shape, 1) for shape, code in fields() if code == "10"]
    scenes.write_polygons(tmp_path / "raw/a.gpkg", houses, attribute="building")
    draft, _ = init("town", tmp_path / "raw")
    dataset = passes()
    assert dataset.labels.unlabelled == "rest"
    assert config.load_legend("town").names == ("rest", "class 1")
    assert any("all else, 50.0% of the ground, is taken as 'rest'" in question for question in draft.questions)


def test_what_is_not_covered_is_a_question_with_its_evidence(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    scenes.write_polygons(tmp_path / "raw/a.gpkg", fields()[:8])
    draft, _ = init("town", tmp_path / "raw")
    passes()
    assert any("50.0% of the ground has no label and is ignored" in question for question in draft.questions)


def test_the_column_of_codes_is_told_from_numbers_and_measures(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    shapes = fields()
    table = {
        "id": range(len(shapes)),
        "m2": [shape.area * 1.01 for shape, _ in shapes],
        "LULC_ID": [code for _, code in shapes],
        "LULC_NAME": [{"10": "forest", "20": "water"}[code] for _, code in shapes],
    }
    frame = geopandas.GeoDataFrame(table, geometry=[shape for shape, _ in shapes], crs=scenes.CRS)
    frame.to_file(tmp_path / "raw/a.gpkg", driver="GPKG", engine="pyogrio")
    init("town", tmp_path / "raw")
    assert passes().labels.attribute == "LULC_ID"
    legend = config.load_legend("town")
    assert legend.codes == {"10": "forest", "20": "water"}
    assert {c.name: c.colour for c in legend.classes} == {"forest": "#1b7837", "water": "#2166ac"}
    assert "other columns: LULC_NAME (2 values)" in unwrapped(texts(configs)[0])


def test_years_in_names(configs: Path, tmp_path: Path) -> None:
    for number, year in enumerate((2017, 2020)):
        image(tmp_path / f"raw/ortho_{year}/h{number}.tif", number)
        polygons(tmp_path / f"raw/siose2014/h{number}.gpkg", number)
    init("town", tmp_path / "raw")
    dataset = config.load_dataset("town")
    assert [(t.name, t.year, t.label_year) for t in catalogue.tiles(dataset)] == [
        ("h0", 2017, 2014),
        ("h1", 2020, 2014),
    ]
    (problem,) = check_dataset("town").problems
    assert "6 years apart" in problem.found


def test_images_without_labels_are_mapped_and_asked_about(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate("abc"):
        image(tmp_path / f"raw/{tile}.tif", number)
    for number, tile in enumerate("ab"):
        polygons(tmp_path / f"raw/{tile}.gpkg", number)
    draft, _ = init("town", tmp_path / "raw")
    dataset = passes()
    assert [(tile.name, tile.label is None) for tile in catalogue.tiles(dataset)] == [
        ("a", False),
        ("b", False),
        ("c", True),
    ]
    assert any("1 orthophoto has no labels (c.tif): mapped, not trained on" in question for question in draft.questions)


def test_splits_and_patches_give_enough_to_train_and_to_choose_by(configs: Path, tmp_path: Path) -> None:
    for number in range(9):
        image(tmp_path / f"many/t{number}.tif", number)
        polygons(tmp_path / f"many/t{number}.gpkg", number)
    init("many", tmp_path / "many")
    dataset = passes("many")
    assert dataset.splits.test.tiles
    assert dataset.splits.validation.tiles
    rows = {line.split()[0]: line.split()[1:] for line in check_dataset("many").table if line}
    train, validation, test = (int(count) for count in rows["patches"])
    assert (train >= 50, validation >= 10, test >= 10) == (True, True, True)


def test_ground_that_gives_too_little_says_so(configs: Path, tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(1, 250, (3, 20, 20)).astype(np.uint8)
    scenes.write_geotiff(tmp_path / "raw/a.tif", small)
    scenes.write_polygons(
        tmp_path / "raw/a.gpkg", [(box(X, Y - 20, X + 10, Y), "1"), (box(X + 10, Y - 20, X + 20, Y), "2")]
    )
    draft, _ = init("town", tmp_path / "raw")
    assert any("the ground gives no 50 train, 10 validation" in question for question in draft.questions), draft
    passes()


def test_tiles_on_the_same_ground_are_split_by_blocks(configs: Path, tmp_path: Path) -> None:
    for number in range(9):
        image(tmp_path / f"raw/t{number}.tif", 0)
    polygons(tmp_path / "raw/all.gpkg")
    init("town", tmp_path / "raw")
    dataset = passes()
    assert dataset.splits.on_overlap == "drop"
    assert dataset.splits.test.blocks


def test_a_folder_without_labels_images_or_anything_is_a_sentence(configs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        init("town", tmp_path / "nowhere")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.npy").write_text("")
    with pytest.raises(CatalogueError, match=r"no orthophoto: 0 rasters of labels, 0 vector files, 1 \.npy"):
        init("town", tmp_path / "raw")
    image(tmp_path / "raw/a.tif")
    with pytest.raises(CatalogueError, match="and no labels of them"):
        init("town", tmp_path / "raw")
    (tmp_path / "raw/a.gpkg").write_text("no polygons")
    with pytest.raises(CatalogueError) as error:
        init("town", tmp_path / "raw")
    assert "a.gpkg: it begins with" in str(error.value)
    assert not [*configs.rglob("town*")], "nothing is written"


def test_nothing_is_overwritten_and_nothing_is_written_by_halves(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "raw/a.tif")
    polygons(tmp_path / "raw/a.gpkg")
    mine = configs / "legends" / "town.yaml"
    mine.write_text("mine")
    with pytest.raises(
        ConfigError, match=r"'town' is taken; expected a name that is free\. Fix: choose another one, as town-2;"
    ):
        init("town", tmp_path / "raw")
    assert mine.read_text() == "mine"
    with pytest.raises(ConfigError, match="letters a to z, digits"):
        init("my town", tmp_path / "raw")
    mine.unlink()

    def link(source: Path, target: Path) -> None:
        if target.parent.name == "datasets":
            target.write_text("somebody else's")
            raise FileExistsError(17, "File exists", str(source), None, str(target))
        real_link(source, target)

    real_link = writing.os.link
    monkeypatch.setattr(writing.os, "link", link)
    with pytest.raises(ConfigError, match=r"datasets/town\.yaml: it exists"):
        init("town", tmp_path / "raw")
    assert [path.name for path in configs.rglob("*") if path.is_file()] == ["town.yaml"]
    assert (configs / "datasets/town.yaml").read_text() == "somebody else's"


def test_of_large_and_many_rasters_samples_are_read(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MAX_PIXELS", 1_000)
    monkeypatch.setattr(survey, "MAX_SAMPLED", 2)
    sampled = []

    def counted(raster: Any) -> samples.PixelSample:
        sampled.append(raster.path.name)
        return samples.sample(raster)

    monkeypatch.setattr(survey, "sample", counted)
    for number in range(5):
        image(tmp_path / f"raw/t{number}.tif", number)
        polygons(tmp_path / f"raw/t{number}.gpkg", number)
    init("town", tmp_path / "raw")
    passes()
    assert sampled == ["t0.tif", "t3.tif"]
    assert "pixels of a sample are 0 in all bands" in unwrapped(texts(configs)[0])


@pytest.mark.parametrize("folder", ["nrcan-bakerlake", "nrcan-massbuildings", "eolearn-slovenia"])
def test_real_folders_pass_the_check_without_an_edit(configs: Path, real_data: Path, folder: str) -> None:
    init("real", real_data / folder)
    result = check_dataset("real")
    assert result.problems == ()
    counts = next(line.split()[1:] for line in result.table if line.startswith("patches"))
    assert int(counts[0]) >= 50
    assert int(counts[1]) >= 10


def test_a_band_tagged_as_transparency_is_asked_about(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif", bands=4, photometric="rgb", alpha="yes")
    polygons(tmp_path / "raw/a.gpkg")
    draft, _ = init("town", tmp_path / "raw")
    assert passes().bands == ("red", "green", "blue")
    (question,) = (text for text in draft.questions if "transparency" in text)
    text = (configs / "datasets/town.yaml").read_text()
    text = text.replace("bands: [red, green, blue]", "bands: [red, green, blue, nir]")
    text = text.replace("tiles:\n", "tiles:\n  select: [1, 2, 3, 4]\n")
    (configs / "datasets/town.yaml").write_text(text)
    assert "`tiles.select: [1, 2, 3, 4]`" in question
    assert passes().bands[-1] == "nir"


def test_rasters_of_other_bands_are_named_and_disturb_no_pair(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate("ab"):
        image(tmp_path / f"raw/rgb/{tile}.tif", number)
        image(tmp_path / f"raw/dsm/{tile}.tif", number, bands=1, dtype="float32")
        polygons(tmp_path / f"raw/gt/{tile}.gpkg", number)
    init("town", tmp_path / "raw")
    assert passes().tiles.image == "rgb/{tile}.tif"
    assert "not used: dsm/a.tif, dsm/b.tif (see `tiles.further`)" in unwrapped(texts(configs)[0])


def test_folders_of_train_val_and_test_are_the_splits(configs: Path, tmp_path: Path) -> None:
    for place, split in enumerate(("train", "val", "test")):
        for number, tile in enumerate("ab"):
            image(tmp_path / f"raw/{split}/images/{tile}.tif", 2 * place + number)
            polygons(tmp_path / f"raw/{split}/labels/{tile}.gpkg", 2 * place + number)
    init("town", tmp_path / "raw")
    dataset = passes()
    assert tile_names(dataset) == ["test_a", "test_b", "train_a", "train_b", "val_a", "val_b"]
    assert (dataset.splits.validation.tiles, dataset.splits.test.tiles) == (("val_a", "val_b"), ("test_a", "test_b"))


def test_a_broken_label_and_a_broken_image_leave_the_rest(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate("abc"):
        image(tmp_path / f"raw/{tile}.tif", number)
        polygons(tmp_path / f"raw/{tile}.gpkg", number)
    (tmp_path / "raw/b.gpkg").write_text("broken")
    cut = tmp_path / "raw/c.tif"
    cut.write_bytes(cut.read_bytes()[:30_000])
    draft, _ = init("town", tmp_path / "raw")
    assert tile_names(passes()) == ["a"]
    assert [problem.where.partition(": ")[0] for problem in draft.problems] == [str(tmp_path / "raw/b.gpkg"), str(cut)]


def test_polygons_without_a_code_are_named_and_the_splits_are_drafted_all_the_same(
    configs: Path, tmp_path: Path
) -> None:
    image(tmp_path / "raw/a.tif")
    scenes.write_polygons(tmp_path / "raw/a.gpkg", [*fields(), (box(X, Y - 4, X + 4, Y), None)])
    init("town", tmp_path / "raw")
    assert config.load_dataset("town").patches.size < SIDE
    assert "1 polygon has no code: give each a code, or delete it" in unwrapped(texts(configs)[0])
    (problem,) = check_dataset("town").problems
    assert "no code (NULL) in 1 polygon" in problem.found


def test_a_label_raster_on_another_grid_is_a_sentence(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    scenes.write_geotiff(tmp_path / "raw/a_mask.tif", stripes((1, 2))[:100])
    with pytest.raises(CatalogueError, match=r"a_mask\.tif: 100 x 128 pixels, another grid; expected that of a\.tif"):
        init("town", tmp_path / "raw")


def test_siose_labels_are_told_from_codes(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    shapes = [(shape, "LAE" if code == "10" else "A(60CNFpl_40MTR)") for shape, code in fields()]
    scenes.write_polygons(tmp_path / "raw/a.gpkg", shapes, attribute="SIOSE_CODE")
    draft, _ = init("town", tmp_path / "raw")
    assert any("A(60CNFpl_40MTR) is a SIOSE label" in question for question in draft.questions)


def test_of_several_layers_the_one_with_most_polygons_is_named(configs: Path, tmp_path: Path) -> None:
    image(tmp_path / "raw/a.tif")
    polygons(tmp_path / "raw/a.gpkg", layer="cover")
    frame = geopandas.GeoDataFrame({"sheet": ["1"]}, geometry=[box(X, Y - SIDE, X + SIDE, Y)], crs=scenes.CRS)
    frame.to_file(tmp_path / "raw/a.gpkg", layer="sheets", driver="GPKG", engine="pyogrio", mode="a")
    init("town", tmp_path / "raw")
    assert passes().labels.layer == "cover"


def test_layers_that_differ_by_tile_stand_in_overrides(configs: Path, tmp_path: Path) -> None:
    for number, tile in enumerate("ab"):
        image(tmp_path / f"raw/{tile}.tif", number)
        polygons(tmp_path / f"raw/{tile}.gpkg", number, layer=f"cover_{tile}")
        frame = geopandas.GeoDataFrame({"sheet": ["1"]}, geometry=[box(X, Y - SIDE, X + SIDE, Y)], crs=scenes.CRS)
        frame.to_file(tmp_path / f"raw/{tile}.gpkg", layer="sheets", driver="GPKG", engine="pyogrio", mode="a")
    init("town", tmp_path / "raw")
    assert {name: override.layer for name, override in passes().tiles.overrides.items()} == {
        "a": "cover_a",
        "b": "cover_b",
    }


def test_endings_in_capitals_are_listed_by_tile(configs: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("a.tif", "B.TIF", "c.tiff")):
        image(tmp_path / "raw" / name, number)
        polygons(tmp_path / "raw" / f"{name[0]}.gpkg", number)
    init("town", tmp_path / "raw")
    assert tile_names(passes()) == ["B", "a", "c"]


def test_the_layers_of_a_raster_say_what_they_are(configs: Path, tmp_path: Path) -> None:
    path = image(tmp_path / "raw/a.tif", bands=2, dtype="uint16")
    with rasterio.open(path, "r+") as target:
        target.descriptions = ("B04", "B08")
    polygons(tmp_path / "raw/a.gpkg")
    init("town", tmp_path / "raw")
    assert passes().bands == ("B04", "B08")
