"""The Vaihingen data as the ResNet50-FCN study split it, on a miniature of the archive: from TIFFs to the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.grid import windows
from landcover_orch.patches.manifest import DatasetManifest
from tests.datasets import vaihingen_miniature as miniature
from tests.datasets.shipped import described, with_patches

TRAIN = ("1", "3", "5", "7", "11", "13", "17", "21", "26", "28", "34", "37")


@pytest.fixture
def vaihingen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAIHINGEN", str(tmp_path / "vaihingen"))
    return tmp_path / "vaihingen"


def small(name: str = "vaihingen") -> Dataset:
    """The shipped dataset with patches of 32 px, as its tiles are a sixteenth of the real ones."""
    return with_patches(config.load_dataset(name), size=32, stride=19)


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


def require_truth(found: DatasetManifest, drawn: dict[str, np.ndarray]) -> None:
    """Every pixel of every labelled tile is in its class, on the published side."""
    sides = {**dict.fromkeys(TRAIN, "train"), "30": "validation", "32": "validation", "15": "test", "23": "test"}
    labelled = {tile.name: tile for tile in found.tiles if tile.name in sides}
    assert set(labelled) == set(sides)
    for name, tile in labelled.items():
        pixels = tuple(np.bincount(drawn[name].reshape(-1), minlength=6).tolist())
        assert tile.class_pixels[sides[name]] == pixels
        cut = len(windows(drawn[name].shape, 32, 19, "drop_strict"))
        assert tile.counts[sides[name]] == cut > 0


def test_from_the_archive_to_the_manifest(vaihingen: Path, home: Path) -> None:
    drawn = miniature.write(vaihingen)
    found = described(small(), home)
    require_truth(found, drawn)
    assert [band.name for band in found.bands] == ["nir", "red", "green"]
    assert {c.name: c.colour for c in found.legend.classes} == {
        "impervious surfaces": "#ffffff",
        "building": "#0000ff",
        "low vegetation": "#00ffff",
        "tree": "#00ff00",
        "car": "#ffff00",
        "clutter": "#ff0000",
    }
