"""The generated landscape: seeded, whole, and its labels related to the truth as they claim."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest

from landcover_orch.config import load_legend
from landcover_orch.errors import ConfigError
from landcover_orch.grid import Window
from landcover_orch.legend import IGNORE
from landcover_orch.metrics.confusion import count, iou
from landcover_orch.raster import Raster, burn, inspect, reader
from landcover_orch.store.publish import load
from landcover_orch.synthetic import labelling, landscape

SMALL = {"rows": 1, "cols": 2, "size": 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("generated") / "landscape"
    assert landscape.write(place, **SMALL) == ["r0c0", "r0c1"]
    return place


def pixels(path: Path) -> np.ndarray:
    raster = inspect(path)
    with reader(raster) as source:
        return source.read(Window(0, 0, *raster.shape))


def drawn(folder: Path, version: str, tile: str, raster: Raster) -> np.ndarray:
    """A version of the labels burnt in the legend's order."""
    legend = load_legend("landscape")
    frame = geopandas.read_file(folder / f"labels/{version}/{tile}.gpkg", layer="cover")
    assert {"id", "code"} <= set(frame.columns)
    rows = sorted(zip(frame.code, frame.geometry, strict=True), key=lambda row: legend.burn_order.index(row[0]))
    shapes = [(shape, legend.class_of_code[code]) for code, shape in rows]
    return burn(shapes, raster.grid, all_touched=False, fill=IGNORE)


def test_classes_are_those_of_the_legend() -> None:
    assert load_legend("landscape").class_of_code == landscape.CLASSES


@pytest.mark.parametrize("tile", ["r0c0", "r0c1"])
def test_complete_labels_burn_to_exactly_the_truth(folder: Path, tile: str) -> None:
    truth = pixels(folder / f"truth/{tile}.tif")[0]
    assert truth.max() < IGNORE  # nothing is left open
    rasterised = drawn(folder, "complete", tile, inspect(folder / f"images/{tile}.tif"))
    np.testing.assert_array_equal(rasterised, truth)


def test_every_class_occurs(folder: Path) -> None:
    result = np.unique([pixels(path) for path in sorted((folder / "truth").iterdir())])
    assert result.tolist() == [0, 1, 2, 3, 4]


def test_tiles_are_neighbours_that_do_not_overlap(folder: Path) -> None:
    left, right = (inspect(folder / f"images/{tile}.tif") for tile in ("r0c0", "r0c1"))
    assert left.grid.boundingbox.right == right.grid.boundingbox.left
    assert left.descriptions == ("red", "green", "blue", "nir")
    assert (left.count, left.dtype, left.mask, left.crs) == (4, "uint8", "none", "EPSG:25830")


def test_incomplete_labels_are_true_where_they_are(tmp_path: Path) -> None:
    landscape.write(tmp_path / "wide", rows=2, cols=2, size=320)
    shares = []
    for tile in ("r0c0", "r0c1", "r1c0", "r1c1"):
        raster = inspect(tmp_path / f"wide/images/{tile}.tif")
        truth, rasterised = (
            pixels(tmp_path / f"wide/truth/{tile}.tif")[0],
            drawn(tmp_path / "wide", "incomplete", tile, raster),
        )
        assert (rasterised == truth)[rasterised != IGNORE].mean() > 0.999
        shares.append((rasterised == IGNORE).mean())
    assert 0.30 < np.mean(shares) < 0.40


def test_inexact_labels_move_borders_and_mistake_polygons() -> None:
    settings = landscape.Settings(rows=1, cols=1, size=512)
    ground = landscape.scene(512, 512)
    versions = landscape.label_versions(ground, settings)
    right, wrong = versions["complete"], versions["inexact"]
    assert len(right) == len(wrong)
    mistaken = np.mean([a.code != b.code for a, b in zip(right, wrong, strict=True)])
    assert 0.05 <= mistaken <= 0.08
    corners = [
        np.hypot(*(np.array(a.shape.exterior.coords[0]) - b.shape.exterior.coords[0]))
        for a, b in zip(right, wrong, strict=True)
    ]
    assert 0.5 < np.sqrt(np.mean(np.square(corners))) / settings.resolution < 5  # pixels


def test_older_labels_have_the_same_polygons_and_some_other_codes() -> None:
    ground = landscape.scene(512, 512)
    versions = landscape.label_versions(ground, landscape.Settings(rows=1, cols=1, size=512))
    now, before = versions["complete"], versions["older"]
    assert [label.shape for label in now] == [label.shape for label in before]
    changed = [(a, b) for a, b in zip(now, before, strict=True) if a.code != b.code]
    assert 0.02 < len(changed) / len(now) < 0.1
    assert all(a.shape.area >= labelling.CHANGED_M2 for a, _ in changed)
    assert all(landscape.CLASSES[a.code] != landscape.CLASSES[b.code] for a, b in changed)
    assert {b.code for _, b in changed} <= {*labelling.FORMER}


def test_the_same_settings_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    landscape.write(tmp_path / "landscape", **SMALL)
    assert load((tmp_path / "landscape").resolve(), deep=True).files == load(folder.resolve(), deep=True).files


def test_another_seed_is_another_country() -> None:
    first, second = (landscape.scene(128, 128, seed=seed).image for seed in (0, 1))
    assert (first != second).mean() > 0.5


def test_a_second_call_finds_the_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(landscape, "_build", never)
    assert landscape.write(folder, **SMALL) == ["r0c0", "r0c1"]
    assert landscape.write(folder.resolve(), **SMALL) == ["r0c0", "r0c1"]


def test_the_link_moves_to_the_newest_settings(tmp_path: Path) -> None:
    for seed in (0, 1):
        landscape.write(tmp_path / "land", rows=1, cols=1, size=64, seed=seed)
        assert f'"seed": {seed}' in (tmp_path / "land/settings.json").read_text()


def test_what_is_not_a_landscape_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="no generated landscape"):
        landscape.write(tmp_path / "mine")
    with pytest.raises(ConfigError, match="2 problems"):
        landscape.write(tmp_path / "land", rows=0, size=8)


def test_a_pixel_alone_does_not_tell_its_class() -> None:
    """The best rule on single pixels, learnt on one half of a scene, misses roads and roofs on the other half."""
    ground = landscape.scene(512, 1024)
    bins = np.ravel_multi_index(tuple((ground.image // 16).astype(np.int64)), (16, 16, 16, 16))
    votes = np.zeros((16**4, 5), np.int64)
    np.add.at(votes, (bins[:, :512].reshape(-1), ground.truth[:, :512].reshape(-1)), 1)
    rule = votes.argmax(axis=1).astype(np.uint8)
    result = iou(count(np.ascontiguousarray(ground.truth[:, 512:]), rule[bins[:, 512:]], 5))
    assert all(value is not None and value < 0.65 for value in result[3:])


def test_vegetation_is_bright_and_water_dark_in_the_infrared() -> None:
    ground = landscape.scene(512, 512)
    nir = ground.image[3].astype(float)
    forest, water = nir[ground.truth == 1].mean(), nir[ground.truth == 2].mean()
    assert forest > 2 * water
