"""The Inria data set, 155 tiles to train and 25 that are scored, on a miniature in the archive's layout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.config.experiments import Experiment, models
from landcover_orch.grid import coverage, windows
from landcover_orch.patches import manifest
from landcover_orch.store.publish import Product
from landcover_orch.training import product
from tests.datasets import inria_miniature as miniature
from tests.datasets.shipped import codes, prepared, with_patches

TRAIN = {f"{city}{miniature.LABELLED}" for city in miniature.CITIES}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A LANDCOVER_HOME of this file, with the miniature beside it."""
    folder = tmp_path_factory.mktemp("inria")
    miniature.write(folder / "AerialImageDataset")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INRIA", str(folder / "AerialImageDataset"))
        patch.setenv("LANDCOVER_HOME", str(folder / "home"))
        yield folder / "home"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """The shipped dataset with patches of 32 px, as its tiles are 80 px wide."""
    return with_patches(config.load_dataset("inria"), size=32, stride=32)


@pytest.fixture(scope="module")
def described(dataset: Dataset, home: Path) -> Product:
    """The manifest of the miniature."""
    return prepared(dataset, home)


def test_patches_and_steps_are_the_published_ones() -> None:
    """361 patches a tile that cover 94.6 % of it; 1,120 and 181 batches of 50 from 155 and 25 tiles."""
    dataset = config.load_dataset("inria")
    cut = windows((5000, 5000), dataset.patches.size, dataset.patches.stride, dataset.patches.edge)
    assert len(cut) == 361
    assert round(coverage((5000, 5000), cut), 3) == 0.946
    scored = len(dataset.splits.test.tiles)
    assert [math.ceil(tiles * 361 / 50) for tiles in (180 - scored, scored)] == [1120, 181]


def test_from_the_archive_to_the_manifest(dataset: Dataset, described: Product, home: Path) -> None:
    found = manifest.load(described.path)
    assert found.legend.names == ("not building", "building")
    sides = {**dict.fromkeys(dataset.splits.test.tiles, "test"), **dict.fromkeys(TRAIN, "train")}
    roof = math.prod(miniature.ROOF)
    for tile in found.tiles:
        if tile.name not in sides:
            assert tile.name.startswith("bellingham")
            assert not any(map(sum, tile.class_pixels.values()))
            continue
        side = sides.pop(tile.name)
        assert tile.counts[side] == 4
        assert tile.class_pixels[side] == (miniature.SIDE**2 - roof, roof)
        assert codes(dataset, tile.name, home) == {"0": miniature.SIDE**2 - roof, "255": roof}
    assert not sides
    assert {f"EPSG:{tile.grid.crs.epsg}" for tile in found.tiles} == {crs for crs, _ in miniature.CITIES.values()}


def test_the_scored_tiles_choose_the_checkpoint(described: Product, home: Path) -> None:
    """As in the study: no patch is set aside to choose it."""
    assert described.json("summary.json")["patches"].items() >= {"train": 20, "validation": 0, "test": 100}.items()
    quick = Experiment(name="quick", model=models.UNet(width=4, levels=1), epochs=2, batch_size=20, device="cpu")
    model = product.train(described, quick, home)
    roof = math.prod(miniature.ROOF) / miniature.SIDE**2
    assert model.json("summary.json")["majority_share"] == pytest.approx(1 - roof)
