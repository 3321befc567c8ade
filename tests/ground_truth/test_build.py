"""The published ground truth: every decision counted, the same bytes again, and the published counts of real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shapely import box

from landcover_orch import raster
from landcover_orch.config import Dataset, Labels, Tiles
from landcover_orch.errors import UnknownCodeError
from landcover_orch.grid import Window
from landcover_orch.ground_truth import build as truth
from landcover_orch.legend import IGNORE, LandClass, Legend
from landcover_orch.store.publish import Product
from landcover_orch.tiles import imagery
from landcover_orch.tiles.catalogue import tiles
from landcover_orch.tiles.tile import Tile
from tests.scenes import ORIGIN, write_geotiff, write_plain_tiff, write_polygons

X, Y = ORIGIN
LEGEND = Legend(
    name="small",
    classes=(LandClass(id=0, name="field", colour="#ffff00"), LandClass(id=1, name="wood", colour="#006600")),
    codes={"1": "field", "2": "wood", "3": "ignore"},
)


def dataset(root: Path, **changed: object) -> Dataset:
    plain: dict[str, object] = {
        "name": "small",
        "root": str(root),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
        "bands": ["grey"],
        "legend": "small",
        "labels": {"attribute": "code"},
        "experiments": ["none"],
    }
    return Dataset.model_validate({**plain, **changed})


@pytest.fixture
def scene(tmp_path: Path) -> Dataset:
    """A tile of 20 x 30 px: field left, wood right, an ignored square between, nothing below, no image in a corner."""
    image = np.full((20, 30), 9, np.uint8)
    image[:3, :2] = 0
    write_geotiff(tmp_path / "raw" / "t.tif", image, nodata=0)
    shapes = [
        (box(X, Y - 15, X + 14, Y), "1"),
        (box(X + 14, Y - 15, X + 30, Y), "2"),
        (box(X + 9, Y - 9, X + 12, Y - 6), "3"),
    ]
    write_polygons(tmp_path / "raw" / "t.gpkg", shapes)
    return dataset(tmp_path / "raw")


def built(scene: Dataset, home: Path, legend: Legend = LEGEND) -> Product:
    return truth.build(scene, legend, tiles(scene)[0], home)


def classes(product: Product) -> np.ndarray:  # type: ignore[type-arg]
    result = raster.inspect(product.file("classes.tif"))
    with raster.reader(result, nodata="none") as source:
        return source.read(Window(0, 0, *result.shape))[0]


def test_every_decision_is_counted_once(scene: Dataset, home: Path) -> None:
    summary = built(scene, home, LEGEND.model_copy(update={"border": 1})).json("summary.json")
    assert summary["ignore"] == {
        "code ignored by the legend": 9,
        "unlabelled": 5 * 30,
        "image without data": 6,
        "border between classes": 2 * 15,
    }
    result = {row["class"]: row["pixels"] for row in summary["classes"]}
    assert result == {"field": 14 * 15 - 9 - 6 - 15, "wood": 16 * 15 - 15}
    assert summary["labelled_pixels"] + sum(summary["ignore"].values()) == summary["pixels"] == 600
    assert summary["areas_agree"]
    assert summary["borders"] == [{"between": "field and wood", "width": 1, "pixels": 30, "hectares": 0.003}]
    assert "borders" not in built(scene, home).json("summary.json")


def test_a_pair_of_classes_may_have_a_wider_border_in_metres(scene: Dataset, home: Path) -> None:
    for width, pairs in ((0, [{"between": ["wood", "field"], "width": 1.5}]), (1.5, [])):
        border = {"width": width, "pairs": pairs, "unit": "metres"}
        legend = Legend.model_validate({**LEGEND.model_dump(), "border": border})
        assert built(scene, home, legend).json("summary.json")["ignore"]["border between classes"] == 2 * 2 * 15


def test_the_raster_lies_on_the_orthophotos_grid_with_colours_and_names(scene: Dataset, home: Path) -> None:
    product = built(scene, home)
    result = raster.inspect(product.file("classes.tif"))
    assert result.grid == raster.inspect(tiles(scene)[0].image).grid
    assert result.dtype == "uint8"
    assert result.nodata == IGNORE
    assert raster.class_names(result.path) == ("field", "wood")
    assert result.palette[1] == (0, 0x66, 0)
    pixels = classes(product)
    assert pixels[4, 2] == 0
    assert pixels[4, 20] == 1
    assert pixels[7, 10] == pixels[0, 0] == pixels[19, 29] == IGNORE
    assert 0 < len(product.file("preview.png").read_bytes()) < 75_000


def test_unlabelled_may_be_a_class(scene: Dataset, home: Path) -> None:
    labels = Labels(attribute="code", unlabelled="wood")
    summary = built(scene.model_copy(update={"labels": labels}), home).json("summary.json")
    assert summary["ignore"]["unlabelled"] == 0
    assert {row["class"]: row["pixels"] for row in summary["classes"]}["wood"] == 16 * 15 + 150


def test_strips_do_not_change_a_byte(scene: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    legend = LEGEND.model_copy(update={"border": 2})
    whole = built(scene, home, legend)
    monkeypatch.setattr(truth, "STRIP_ROWS", 3)
    again = built(scene, home.parent / "other", legend)
    assert again.files == whole.files


def test_the_legend_decides_the_fingerprint(scene: Dataset, home: Path) -> None:
    first = built(scene, home)
    assert built(scene, home, LEGEND.model_copy(update={"description": "other words"})).fingerprint == first.fingerprint
    assert built(scene, home, LEGEND.model_copy(update={"all_touched": True})).fingerprint != first.fingerprint


def test_class_rasters_and_colours_give_the_same_classes(tmp_path: Path, home: Path) -> None:
    raw, codes = tmp_path / "raw", np.array([[1, 2], [3, 2]], np.uint16)
    write_geotiff(raw / "t.tif", np.ones((2, 2), np.uint8))
    write_geotiff(raw / "codes.tif", codes)
    colour = {1: (255, 0, 0), 2: (0, 0, 9), 3: (4, 5, 6)}
    write_geotiff(
        raw / "colours.tif",
        np.moveaxis(np.array([[colour[c] for c in row] for row in codes.tolist()], np.uint8), -1, 0),
    )
    colours = LEGEND.model_copy(update={"codes": {"#ff0000": "field", "#000009": "wood", "#040506": "ignore"}})
    for kind, legend in (("raster", LEGEND), ("rgb", colours)):
        label = {"raster": "codes.tif", "rgb": "colours.tif"}[kind]
        result = Tiles(image="{tile}.tif", label=label, names=("t",))
        product = built(dataset(raw, labels={"kind": kind}).model_copy(update={"tiles": result}), home, legend)
        assert classes(product).tolist() == [[0, 1], [IGNORE, 1]]
        assert product.json("summary.json")["areas_agree"]


def test_an_unknown_code_publishes_nothing(scene: Dataset, home: Path) -> None:
    few = LEGEND.model_copy(update={"codes": {"1": "field", "2": "wood"}})
    with pytest.raises(UnknownCodeError, match="unknown code '3' in 1 polygon"):
        built(scene, home, few)
    assert not (home / "small" / "ground_truth" / "t").exists()


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize(("attribute", "corridor"), [("Quatreclasses", "255"), ("Cinqclasses", "5")])
def test_baker_lake_gives_the_published_counts(
    real_data: Path, home: Path, all_touched: bool, attribute: str, corridor: str
) -> None:
    folder = real_data / "nrcan-bakerlake"
    published = json.loads((folder / "expected_rasterized_counts.json").read_text())
    codes = ["1", "2", "3", "4", corridor]
    shades = tuple(LandClass(id=i, name=f"class {code}", colour="#000000") for i, code in enumerate(codes))
    legend = Legend(name="lake", classes=shades, codes={c: f"class {c}" for c in codes}, all_touched=all_touched)
    lake = dataset(folder, bands=["r", "g", "b"], labels={"attribute": attribute})
    for name in ("1of2", "2of2"):
        image = folder / f"23322E759967N_clipped_1m_{name}.tif"
        tile = Tile(name, image, folder / "BakerLake_2017_clipped.gpkg", None, None, None, None)
        product = truth.build(lake, legend, tile, home)
        expected = published[f"{name}_all_touched={all_touched}"]
        counts = np.bincount(classes(product).ravel(), minlength=256)
        assert counts[[*range(5), IGNORE]].tolist() == [expected.get(str(i), 0) for i in (1, 2, 3, 4, 5, 0)]
        assert product.json("summary.json")["areas_agree"]


def test_slovenia_equals_the_published_raster(real_data: Path, home: Path) -> None:
    folder = real_data / "eolearn-slovenia"
    lulc = np.load(folder / "LULC.npy")[..., 0]
    codes = {"1100": 1, "1300": 3, "1410": 4, "1500": 4, "1600": 0, "2000": 2, "3000": 8}
    names = {value: f"lulc {value}" for value in (1, 2, 3, 4, 8)}
    legend = Legend(
        name="raba",
        classes=tuple(LandClass(id=i, name=name, colour="#000000") for i, name in enumerate(names.values())),
        codes={code: names.get(value, "ignore") for code, value in codes.items()},
    )
    tile = Tile("s", folder / "derived_s2_scene2.tif", folder / "LULC.gpkg", None, None, None, None)
    product = truth.build(dataset(folder, dtype="uint16", labels={"attribute": "RABA_ID"}), legend, tile, home)
    published = np.full(256, 0, np.uint16)
    published[: len(names)] = list(names)
    np.testing.assert_array_equal(published[classes(product)], lulc)
    assert lulc.size == 10_100


def test_a_tile_without_labels_is_all_ignored_and_counted_as_such(scene: Dataset, home: Path) -> None:
    """Even where a pixel without a label means a class: nobody has looked at this tile."""
    raw = Path(scene.root)
    write_geotiff(raw / "test" / "u.tif", np.full((20, 30), 9, np.uint8), origin=(X + 1000, Y))
    changed = scene.model_copy(
        update={
            "tiles": Tiles(image="{tile}.tif", label="{tile}.gpkg", unlabelled="test/{tile}.tif"),
            "labels": Labels(attribute="code", unlabelled="wood"),
        }
    )
    bare = next(tile for tile in tiles(changed) if tile.label is None)
    product = truth.build(changed, LEGEND, bare, home)
    assert (classes(product) == IGNORE).all()
    summary = product.json("summary.json")
    assert (summary["labelled"], summary["unlabelled_pixels"], summary["ignore"]["unlabelled"]) == (0.0, 600, 600)
    assert summary["areas_agree"]
    assert truth.recipe(changed, LEGEND, bare, home).inputs["label"] is None


@pytest.mark.parametrize("resolution", [1.0, 10.0])
def test_a_tile_without_a_place_keeps_its_areas(tmp_path: Path, home: Path, resolution: float) -> None:
    raw, codes = tmp_path / "raw", np.array([[1, 2, 2], [3, 2, 1]], np.uint8)
    write_plain_tiff(raw / "t.tif", np.ones((2, 3), np.uint8))
    write_plain_tiff(raw / "codes" / "t.tif", codes)
    nowhere = dataset(
        raw,
        tiles={"image": "{tile}.tif", "label": "codes/{tile}.tif"},
        labels={"kind": "raster"},
        crs="none",
        resolution=resolution,
    )
    product = built(nowhere, home)
    result = raster.inspect(product.file("classes.tif"))
    assert result.crs is None
    assert result.grid == imagery.inspect(nowhere, [raw / "t.tif"]).grid
    assert tuple(result.grid.affine)[:6] == (resolution, 0, 0, 0, -resolution, 2 * resolution)
    areas = {row["class"]: row["area"] for row in product.json("summary.json")["classes"]}
    assert areas == {"field": 2 * resolution**2, "wood": 3 * resolution**2}
    assert classes(product).tolist() == [[0, 1, 1], [IGNORE, 1, 0]]


def test_further_bands_mask_what_they_lack(scene: Dataset, home: Path) -> None:
    """A pixel without a height is no pixel to learn from."""
    raw = Path(scene.root)
    heights = np.full((20, 30), 5, np.float32)
    heights[5, 20:25] = -9999
    write_geotiff(raw / "dsm" / "t.tif", heights, nodata=-9999)
    further = {
        "image": "{tile}.tif",
        "label": "{tile}.gpkg",
        "further": [{"image": "dsm/{tile}.tif", "bands": ["dsm"]}],
    }
    stacked = dataset(raw, tiles=further, bands=["grey", "dsm"], dtype="float32")
    assert built(stacked, home).json("summary.json")["ignore"]["image without data"] == 6 + 5
