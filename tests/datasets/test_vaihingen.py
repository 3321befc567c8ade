"""The Vaihingen data as the ResNet50-FCN study split it, on a miniature of the archive: from TIFFs to the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.config.experiments import Experiment, models
from landcover_orch.config.experiments.optimisation import Adam
from landcover_orch.config.experiments.prediction import Prediction
from landcover_orch.evaluation import build as report
from landcover_orch.evaluation.evaluate import tiles_to_predict
from landcover_orch.evaluation.repetition import Repetition
from landcover_orch.grid import windows
from landcover_orch.patches import manifest
from landcover_orch.prediction import build as prediction
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue
from landcover_orch.training import product
from tests.datasets import vaihingen_miniature as miniature
from tests.datasets.isprs_scenes import HEIGHTS
from tests.datasets.shipped import prepared, with_patches

TRAIN = ("1", "3", "5", "7", "11", "13", "17", "21", "26", "28", "34", "37")


SIDES = {**dict.fromkeys(TRAIN, "train"), "30": "validation", "32": "validation", "15": "test", "23": "test"}
RECIPE = Experiment(
    name="two-steps",
    model=models.ResNetFCN(trunk=models.Trunk(width=16)),
    optimiser=Adam(lr=0.01),
    epochs=1,
    steps_per_epoch=2,
    batch_size=8,
    precision="float32",
    device="cpu",
    prediction=Prediction(window=64, stride=64),
)
"""The study's network, a quarter as wide and as good as untrained."""


@dataclass(frozen=True)
class Archive:
    """The miniature, where its products go, and what was drawn on its tiles: classes (y, x)."""

    home: Path
    drawn: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("vaihingen")
    drawn = miniature.write(folder / "ISPRS_semantic_labeling_Vaihingen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAIHINGEN", str(folder / "ISPRS_semantic_labeling_Vaihingen"))
        patch.setenv("LANDCOVER_HOME", str(folder / "home"))
        yield Archive(folder / "home", drawn)


def small(name: str) -> Dataset:
    """The shipped dataset with patches of 32 px, as its tiles are a sixteenth of the real ones."""
    return with_patches(config.load_dataset(name), size=32, stride=19)


@pytest.fixture(scope="module")
def described(archive: Archive) -> Product:
    """The manifest of the miniature."""
    return prepared(small("vaihingen"), archive.home)


@pytest.mark.parametrize("name", ["vaihingen", "vaihingen-dsm"])
def test_patches_are_the_published_ones(name: str) -> None:
    """2,083 to train and 368 to validate, at the published sizes of the tiles."""
    dataset = config.load_dataset(name)
    patches, sides = dataset.patches, dataset.splits
    held = {*sides.validation.tiles, *sides.test.tiles}
    cut = {
        name: len(windows(size, patches.size, patches.stride, patches.edge)) for name, size in miniature.SIZES.items()
    }
    assert sum(number for tile, number in cut.items() if tile not in held) == 2083
    assert sum(cut[tile] for tile in sides.validation.tiles) == 368
    assert tuple(tile for tile in dataset.tiles.names if tile not in held) == TRAIN


def test_from_the_archive_to_the_manifest(described: Product, archive: Archive) -> None:
    found = manifest.load(described.path)
    assert {tile.name for tile in found.tiles} == {*SIDES, *miniature.UNLABELLED}
    for tile in found.tiles:
        if tile.name not in SIDES:
            assert not any(map(sum, tile.class_pixels.values()))
            continue
        side, classes = SIDES[tile.name], archive.drawn[tile.name]
        assert tile.class_pixels[side] == tuple(np.bincount(classes.reshape(-1), minlength=6).tolist())
        assert tile.counts[side] == len(windows(classes.shape, 32, 19, "drop_strict")) > 0
    assert [band.name for band in found.bands] == ["nir", "red", "green"]
    assert {c.name: c.colour for c in found.legend.classes} == {
        "impervious surfaces": "#ffffff",
        "building": "#0000ff",
        "low vegetation": "#00ffff",
        "tree": "#00ff00",
        "car": "#ffff00",
        "clutter": "#ff0000",
    }


def test_from_the_manifest_to_the_report(described: Product, archive: Archive) -> None:
    """Every pixel of the two test tiles is in the matrices; means stand beside those without clutter."""
    found, home = manifest.load(described.path), archive.home
    model = product.train(described, RECIPE, home)
    maps = {entry.name: prediction.build(found, entry, model, RECIPE, home) for entry in tiles_to_predict(found)}
    one = Repetition(RECIPE, found, model, maps)
    told = report.build(found, RECIPE, [one], RECIPE.name, home).json("report.json")
    assert set(maps) == {"15", "23"}
    actual = sum(np.bincount(archive.drawn[name].reshape(-1), minlength=6) for name in maps)
    assert np.array(told["matrix"]).sum(axis=1).tolist() == np.asarray(actual).tolist()
    assert {"mean_iou", "mean_iou without clutter"} <= told["metrics"].keys()


def test_a_tile_without_labels_is_mapped(described: Product, archive: Archive) -> None:
    dataset, home = small("vaihingen"), archive.home
    model = product.train(described, RECIPE, home)
    bare = next(tile for tile in catalogue.tiles(dataset) if tile.label is None)
    mapped = prediction.build_map(dataset, bare, model, RECIPE, home).json("summary.json")
    height, width = (length // miniature.SCALE for length in miniature.UNLABELLED[bare.name])
    assert mapped["predicted_pixels"] == height * width


def test_heights_are_further_bands(archive: Archive) -> None:
    """Of five tiles, one a side and a spare each."""
    shipped, names = small("vaihingen-dsm"), ("1", "30", "32", "15", "23")
    fewer = shipped.tiles.model_copy(update={"names": names, "unlabelled": None})
    found = manifest.load(prepared(shipped.model_copy(update={"tiles": fewer}), archive.home).path)
    heights = np.array(HEIGHTS)[archive.drawn["1"]]
    dsm, ndsm = found.bands[-2:]
    assert [band.name for band in found.bands] == ["nir", "red", "green", "dsm", "ndsm"]
    assert dsm.mean == pytest.approx(miniature.GROUND + heights.mean())
    assert ndsm.mean == pytest.approx(10 * heights.mean())
