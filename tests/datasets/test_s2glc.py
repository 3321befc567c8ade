"""The Sentinel-2 challenge on land-cover proportions, on a miniature of its archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.patches.splits import TEST, TRAIN, VALIDATION, split_of
from tests.datasets import s2glc_miniature as miniature
from tests.datasets.shipped import codes, described, with_patches

IGNORED = 2
"""The first classes, no_data and clouds, have outputs and no pixels."""


@pytest.fixture
def s2glc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("S2GLC", str(tmp_path / "dataset_UNZIPPED"))
    return tmp_path / "dataset_UNZIPPED"


def small() -> Dataset:
    """The shipped dataset with patches of 32 px, the size of the miniature's pictures."""
    return with_patches(config.load_dataset("s2glc"), size=miniature.SIDE, stride=miniature.SIDE)


def test_a_tenth_of_the_pictures_validates_and_another_is_scored() -> None:
    splits = config.load_dataset("s2glc").splits
    sides = [split_of(splits, str(miniature.FIRST + i)) for i in range(18_491)]
    shares = [sides.count(side) / len(sides) for side in (TRAIN, VALIDATION, TEST)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_from_the_archive_to_the_manifest(s2glc: Path, home: Path) -> None:
    """Masks pixel by pixel on the drawn sides; clouds counted, though not trained; test pictures without labels."""
    masks = miniature.write(s2glc)
    dataset = small()
    found = described(dataset, home)
    assert [c.id for c in found.legend.classes] == list(range(10))
    assert [band.name for band in found.bands] == ["red", "green", "blue", "nir"]
    sides = {name: ("train", "validation", "test")[split_of(dataset.splits, name) or TRAIN] for name in masks}
    assert set(sides.values()) == {"train", "validation", "test"}
    for tile in found.tiles:
        pixels = np.bincount(masks.get(tile.name, np.zeros(0, np.uint8)).reshape(-1), minlength=10)
        pixels[:IGNORED] = 0
        assert np.sum(list(tile.class_pixels.values()), axis=0).tolist() == pixels.tolist()
        assert tile.class_pixels[sides.get(tile.name, "test")] == tuple(pixels.tolist())
        assert [side for side in ("train", "validation", "test") if tile.counts[side]] == [
            side for name, side in sides.items() if name == tile.name
        ]
    assert len(found.tiles) - len(masks) == miniature.TESTED
    clouds = sum(codes(dataset, name, home)["1"] for name in masks)
    assert clouds == sum(int((mask == 1).sum()) for mask in masks.values()) > 0
