"""The label doctor's product: what it says of a tile, the line that repairs it, and what its checks refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import yaml
from numpy.typing import NDArray
from shapely import box

from landcover_orch import raster
from landcover_orch.config import Dataset, load_legend
from landcover_orch.grid import Window
from landcover_orch.ground_truth import build as truth
from landcover_orch.ground_truth.quality import build as quality
from landcover_orch.ground_truth.quality.build import Cut, conservation_problems, shift_problems, topology_problems
from landcover_orch.labels.components import open_raster
from landcover_orch.legend import Legend
from landcover_orch.store.publish import Product
from landcover_orch.synthetic import landscape
from landcover_orch.tiles.catalogue import tiles
from landcover_orch.tiles.tile import Component, Tile
from tests.scenes import ORIGIN, write_geotiff, write_polygons

LEGEND = load_legend("landscape")
X, Y = ORIGIN


@pytest.fixture(scope="module")
def scene() -> landscape.Scene:
    return landscape.scene(320, 384)


def described(folder: Path, **changed: Any) -> Dataset:
    plain = {
        "name": "moved",
        "root": str(folder),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
        "bands": ["red", "green", "blue", "nir"],
        "legend": "landscape",
        "labels": {"attribute": "code"},
        "experiments": ["none"],
    }
    return Dataset.model_validate({**plain, **changed})


def written(folder: Path, scene: landscape.Scene, right: int, down: int, extra: Any = ()) -> Dataset:
    """One tile whose polygons lie some pixels beside the image."""
    side = abs(scene.grid.affine.a)
    write_geotiff(folder / "t.tif", scene.image, resolution=side)
    move = (right * side, -down * side)
    shapes = [(shapely.transform(p.shape, lambda xy: xy + move), p.code) for p in scene.land.parcels]
    write_polygons(folder / "t.gpkg", [*shapes, *extra])
    return described(folder)


def counts(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(classes.ravel(), minlength=256)


def examined(dataset: Dataset, home: Path, legend: Legend = LEGEND, lost: int = 0) -> Product:
    """The examination of the one tile, as if patches held every pixel, but for some of the first class."""
    tile = tiles(dataset)[0]
    result = raster.inspect(truth.build(dataset, legend, tile, home).file(truth.CLASS_RASTER))
    with raster.reader(result, nodata="none") as source:
        whole = counts(source.read(Window(0, 0, *result.shape)))
    held = whole.copy()
    held[0] -= lost
    return quality.build(dataset, legend, tile, home, Cut(f"patches-{lost}", lambda: (held, whole, lost)))


def test_the_line_that_it_prints_repairs_the_tile(tmp_path: Path, home: Path, scene: landscape.Scene) -> None:
    dataset = written(tmp_path / "raw", scene, 6, -5)
    product = examined(dataset, home)
    summary = product.json("summary.json")
    assert (summary["shift"]["right"], summary["shift"]["down"]) == pytest.approx((-6, 5), abs=0.5)
    (problem,) = shift_problems(dataset, summary)
    assert "labels lie 7.8 px beside the image" in problem.where
    line = problem.fix.split("`")[1]
    assert yaml.safe_load(line) == {"tiles": {"overrides": {"t": {"shift": [-6, 5]}}}}
    repaired = dataset.model_dump()
    repaired["tiles"].update(yaml.safe_load(line)["tiles"])
    again = Dataset.model_validate(repaired)
    result = examined(again, home).json("summary.json")
    assert result["shift"]["pixels"] < 0.5
    assert (result["advice"], result["moved"], shift_problems(again, result)) == (None, [-6, 5], [])
    page = product.file("index.html").read_text()
    assert "shift: [-6, 5]" in page
    assert page.count("data:image/png") == 3
    assert 0 < len(product.file("preview.png").read_bytes()) <= 75_000


def test_a_shift_within_the_limit_is_advised_but_not_refused(home: Path) -> None:
    dataset = described(home, limits={"max_shift": 2.0})
    summary = {"right": 1.5, "down": 1.0, "pixels": 1.8}
    assert shift_problems(dataset, {"tile": "t", "shift": summary, "advice": "x", "confidence": 9.0}) == []
    assert shift_problems(dataset, {"tile": "t", "shift": None, "advice": None, "confidence": 3.0}) == []


def test_topology_and_areas_are_told(tmp_path: Path, home: Path, scene: landscape.Scene) -> None:
    pond = box(X + 50, Y - 60, X + 70, Y - 50)
    dataset = written(tmp_path / "raw", scene, 0, 0, [(pond, "310")])
    product = examined(dataset, home)
    summary = product.json("summary.json")
    assert summary["overlaps"] >= 1
    assert summary["overlaps_area"] == pytest.approx(200, abs=0.01)
    assert summary["worst"][0]["what"] == "overlap"
    assert "overlaps" in str(topology_problems(summary)[0])
    assert "overlaps (200.0 m²); expected no overlaps" in str(topology_problems(summary)[0])
    page = product.file("index.html").read_text(encoding="utf-8")
    assert "Areas in m²;" in page
    assert "By class, in m²." in page
    assert conservation_problems(summary) == []
    assert sum(row["raster"] for row in summary["classes"]) == pytest.approx(320 * 384 / 4)


def test_pixels_that_patches_lost_are_refused(tmp_path: Path, home: Path, scene: landscape.Scene) -> None:
    summary = examined(written(tmp_path / "raw", scene, 0, 0), home, lost=3).json("summary.json")
    assert any("in the patches" in str(problem) for problem in conservation_problems(summary))


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, home: Path, scene: landscape.Scene) -> None:
    dataset = written(tmp_path / "raw", scene, 2, 0)
    assert examined(dataset, home).files == examined(dataset, home / "other").files


def test_an_ignored_band_hides_no_border(tmp_path: Path, home: Path, scene: landscape.Scene) -> None:
    banded = LEGEND.model_copy(update={"border": 2})
    summary = examined(written(tmp_path / "raw", scene, 4, 0), home, banded).json("summary.json")
    assert summary["shift"]["right"] == pytest.approx(-4, abs=0.5)


def test_rasters_have_no_topology_and_tiles_without_labels_nothing(
    tmp_path: Path, home: Path, scene: landscape.Scene
) -> None:
    raw = tmp_path / "raw"
    write_geotiff(raw / "t.tif", scene.image, resolution=0.5)
    codes = np.array([110, 210, 310, 410, 510], np.uint16)[scene.truth]
    write_geotiff(raw / "codes" / "t.tif", np.roll(codes, 5, axis=1), resolution=0.5)
    files = {"image": "{tile}.tif", "label": "codes/{tile}.tif"}
    dataset = described(raw, tiles=files, labels={"kind": "raster"})
    product = examined(dataset, home)
    summary = product.json("summary.json")
    assert summary["worst"] is None
    assert "topology: labels are no polygons" in summary["notes"]
    assert topology_problems(summary) == conservation_problems(summary) == []
    assert summary["advice"] == "tiles: {overrides: {t: {shift: [-5, 0]}}}"

    write_geotiff(raw / "bare" / "u.tif", scene.image, origin=(X + 1000, Y), resolution=0.5)
    bare = described(raw, tiles={**files, "names": ["t"], "unlabelled": "bare/{tile}.tif"}, labels={"kind": "raster"})
    tile = tiles(bare)[1]
    truth.build(bare, LEGEND, tile, home)
    none = np.zeros(256, np.int64)
    left = quality.build(bare, LEGEND, tile, home, Cut("none", lambda: (none, none, 0)))
    assert left.json("summary.json") == {"tile": "u", "notes": ["no labels: nothing to examine"]}
    assert shift_problems(bare, left.json("summary.json")) == []
    assert topology_problems(left.json("summary.json")) == conservation_problems(left.json("summary.json")) == []
    assert "no labels: nothing to examine" in left.file("index.html").read_text()


def test_component_rasters_are_measured_and_moved(real_data: Path, tmp_path: Path, home: Path) -> None:
    """The inventory's covers against a picture of its own classes, 5 px to the right and 3 px up."""
    folder, legend = real_data / "bc-vri-composite", load_legend("bc-vri")
    parts = [("LAND_COVER", "EST_COVERA"), ("LAND_COV_1", "EST_COVE_1"), ("LAND_COV_2", "EST_COVE_2")]
    components = [{"code": f"{c}.bin", "percent": f"{p}.bin", "table": f"{c}.lut"} for c, p in parts]
    files = {"image": "{tile}.tif", "label": "place.bin"}
    dataset = described(tmp_path, tiles=files, bands=["grey"], labels={"kind": "components", "components": components})
    place = open_raster(folder / "bcgw_WATER.bin")
    whole = Window(0, 0, *place.shape)
    image = tmp_path / "t.tif"
    raster.write_tiled(image, place.grid, "uint8", ("grey",), [(whole, np.ones((1, *place.shape), np.uint8))])
    result = tuple(Component(folder / f"{c}.bin", folder / f"{p}.bin", folder / f"{c}.lut") for c, p in parts)
    tile = Tile("t", image, place.path, None, None, None, None, result)
    classes = raster.inspect(truth.build(dataset, legend, tile, home).file(truth.CLASS_RASTER))
    with raster.reader(classes, nodata="none") as source:
        shade = np.roll(source.read(whole), (-3, 5), (1, 2)) * np.uint8(20)
    image.unlink()
    raster.write_tiled(image, place.grid, "uint8", ("grey",), [(whole, shade)])
    none = np.zeros(256, np.int64)
    cut = Cut("none", lambda: (none, none, 0))
    truth.build(dataset, legend, tile, home)
    assert quality.build(dataset, legend, tile, home, cut).json("summary.json")["advice"].endswith("[5, -3]}}}")
    moved = replace(tile, shift=(5.0, -3.0))
    truth.build(dataset, legend, moved, home)
    summary = quality.build(dataset, legend, moved, home, cut).json("summary.json")
    assert (summary["advice"], summary["worst"]) == (None, None)
    assert summary["shift"]["pixels"] < 0.5
