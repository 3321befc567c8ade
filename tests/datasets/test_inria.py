"""The Inria data set, 155 tiles to train and 25 to validate, on a miniature in the archive's layout."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.experiment import Experiment, models
from landcover_orch.grid import coverage, windows
from landcover_orch.training import product
from tests.datasets import inria_miniature as miniature
from tests.datasets.shipped import codes, described, prepared, with_patches


@pytest.fixture
def inria(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("INRIA", str(tmp_path / "AerialImageDataset"))
    miniature.write(tmp_path / "AerialImageDataset", labelled=6)
    return config.load_dataset("inria")


def test_patches_and_steps_are_the_published_ones() -> None:
    """361 patches a tile that cover 94.6 % of it; 1,120 and 181 batches of 50 from 155 and 25 tiles."""
    dataset = config.load_dataset("inria")
    cut = windows((5000, 5000), dataset.patches.size, dataset.patches.stride, dataset.patches.edge)
    assert len(cut) == 361
    assert round(coverage((5000, 5000), cut), 3) == 0.946
    scored = len(dataset.splits.test.tiles)
    assert [math.ceil(tiles * 361 / 50) for tiles in (180 - scored, scored)] == [1120, 181]


def test_from_the_archive_to_the_manifest(inria: Dataset, home: Path) -> None:
    dataset = with_patches(inria, size=32, stride=32)  # a tile of the miniature is smaller than 256 px
    found = described(dataset, home)
    sides = {tile.name: max(tile.counts, key=lambda side: tile.counts[side]) for tile in found.tiles}
    assert {name for name, side in sides.items() if side == "train"} == {f"{city}6" for city in miniature.CITIES}
    assert set(found.dataset.splits.test.tiles) == {name for name, side in sides.items() if side == "test"}
    roof = math.prod(miniature.ROOF)
    for tile in found.tiles:
        assert tile.counts[sides[tile.name]] == 4
        assert tile.class_pixels[sides[tile.name]] == (miniature.SIDE**2 - roof, roof)
        assert codes(dataset, tile.name, home) == {"0": miniature.SIDE**2 - roof, "255": roof}
    assert found.legend.names == ("not building", "building")
    assert {f"EPSG:{tile.grid.crs.epsg}" for tile in found.tiles} == {crs for crs, _ in miniature.CITIES.values()}


def test_the_scored_tiles_choose_the_checkpoint(inria: Dataset, home: Path) -> None:
    small = Experiment(name="quick", model=models.UNet(width=4, levels=1), epochs=2, batch_size=20, device="cpu")
    manifest = prepared(with_patches(inria, size=32, stride=32), home)
    model = product.run(manifest, small, home)
    roof = math.prod(miniature.ROOF) / miniature.SIDE**2
    assert model.json("summary.json")["majority_share"] == pytest.approx(1 - roof)
    assert set(manifest.json("summary.json")["patches"].items()) >= {("train", 20), ("validation", 0), ("test", 100)}
