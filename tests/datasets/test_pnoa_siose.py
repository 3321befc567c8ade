"""PNOA orthophotos with SIOSE's labels, as polygons and as rasters, on a miniature of sheets and years."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.grid import windows
from landcover_orch.patches.manifest import SPLITS, DatasetManifest
from landcover_orch.store.publish import current
from tests.datasets import pnoa_miniature as miniature
from tests.datasets.shipped import codes, described, with_patches

TILES = len(miniature.tiles())


@pytest.fixture(autouse=True)
def pnoa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNOA", str(tmp_path / "pnoa-siose"))
    miniature.write(tmp_path / "pnoa-siose")


def small(name: str) -> Dataset:
    """The shipped dataset with blocks of 16 m instead of 4 km and patches of 16 px, as its sheets are 54 m wide."""
    dataset = with_patches(config.load_dataset(name), size=16, stride=16)
    return dataset.model_copy(update={"splits": dataset.splits.model_copy(update={"block": 16.0})})


def pooled(found: DatasetManifest) -> list[int]:
    """Labelled pixels of each class over all tiles and sides."""
    pixels = (tile.class_pixels[side] for tile in found.tiles for side in SPLITS)
    return [sum(column) for column in zip(*pixels, strict=True)]


def test_a_sheet_has_the_patches_that_filled_the_file_system() -> None:
    """42 sheets of 256-px patches were 1.31 million files."""
    patches = config.load_dataset("pnoa-siose").patches
    assert round(42 * len(windows((38_000, 54_000), patches.size, patches.stride, "drop")) / 1e6, 2) == 1.31


def test_polygons_of_several_covers(home: Path) -> None:
    dataset = small("pnoa-siose")
    found = described(dataset, home)
    assert found.legend.names == ("forest", "rest")
    assert pooled(found) == [TILES * miniature.pixels("forest"), TILES * miniature.pixels("rest")]
    summary = current(home / dataset.name / "ground_truth", miniature.tiles()[0]).json("summary.json")
    interpreted = miniature.HEIGHT * miniature.STRIP * len(miniature.COVERS)
    assert summary["ignore"]["unlabelled"] == miniature.HEIGHT * miniature.WIDTH - interpreted
    assert summary["ignore"]["composite"] == miniature.HEIGHT * miniature.STRIP


def test_both_years_of_a_sheet_are_on_the_same_sides(home: Path) -> None:
    """Blocks are places on the ground: what one year trains on, the other never scores."""
    found = {tile.name: tile for tile in described(small("pnoa-siose"), home).tiles}
    sides = np.sum([list(tile.counts.values()) for tile in found.values()], axis=0)
    assert all(sides[:3] > 0)
    for sheet in miniature.SHEETS:
        assert found[f"{sheet}-2005"].patch_roles == found[f"{sheet}-2010"].patch_roles


def test_rasters_of_cover_numbers(home: Path) -> None:
    dataset = small("pnoa-siose-rasters")
    found = described(dataset, home)
    told = [cover for cover in miniature.COVERS if cover[1]]
    per_cover = miniature.HEIGHT * miniature.STRIP
    classes = [TILES * per_cover * sum(kind == name for _, _, kind in told) for name in ("forest", "rest")]
    assert pooled(found) == classes
    counted = codes(dataset, miniature.tiles()[0], home)
    assert {code: n for code, n in counted.items() if n and code != "0"} == {str(n): per_cover for _, n, _ in told}
