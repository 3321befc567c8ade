"""The Potsdam data, 24 tiles to train and 14 to score, on a miniature of the delivery with its blemishes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch import config
from landcover_orch.checks import dataset as checks
from landcover_orch.config import Dataset
from landcover_orch.grid import coverage, windows
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.tiles import catalogue
from tests.datasets import potsdam_miniature as miniature
from tests.datasets.isprs_scenes import HEIGHTS, LOOKS
from tests.datasets.shipped import described, with_patches

TRAIN = ("2_10", miniature.LOSSY, miniature.CARS)
"""The train tiles of the miniature: with a tidy one the two whose labels are off the palette."""
VARIANTS = {"potsdam-irrg": "3_Ortho_IRRG", "potsdam-irrgb": "4_Ortho_RGBIR"}


@pytest.fixture
def potsdam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POTSDAM", str(tmp_path / "Potsdam"))
    return tmp_path / "Potsdam"


def small(name: str) -> Dataset:
    """The shipped dataset with patches of 32 px, as its tiles are 80 px wide."""
    return with_patches(config.load_dataset(name), size=32, stride=32)


@pytest.mark.parametrize("name", VARIANTS)
def test_patches_are_the_published_ones(name: str) -> None:
    """529 patches a tile that cover 96.3 % of it; 24 tiles to train and 14 that are scored."""
    dataset = config.load_dataset(name)
    cut = windows((6000, 6000), dataset.patches.size, dataset.patches.stride, dataset.patches.edge)
    assert len(cut) == 529
    assert round(coverage((6000, 6000), cut), 3) == 0.963
    assert len(dataset.splits.test.tiles) == 14
    assert len(set(miniature.tiles()) - set(dataset.splits.test.tiles)) == 24


@pytest.mark.parametrize(("name", "part"), VARIANTS.items())
def test_from_the_delivery_to_the_manifest(potsdam: Path, home: Path, name: str, part: str) -> None:
    dataset = small(name)
    drawn = miniature.write(potsdam, part, names=(*TRAIN, *dataset.splits.test.tiles))
    found = described(dataset, home)
    assert require_truth(found, drawn) == {"train": 3, "test": 14}
    assert all(tile.grid.crs.epsg == 32633 for tile in found.tiles)
    assert [band.name for band in found.bands] == list(miniature.BANDS[part])
    pixels = np.concatenate([drawn[name].reshape(-1) for name in TRAIN])
    for band in found.bands:
        assert band.mean == pytest.approx(np.array(LOOKS[band.name])[pixels].mean(), abs=1)


def test_heights_are_further_bands_of_the_same_pixels(potsdam: Path, home: Path) -> None:
    shipped = small("potsdam-irrgb-dsm")
    assert set(shipped.tiles.names) == {*miniature.tiles()} - {miniature.SHORT}
    names = (*TRAIN, *shipped.splits.test.tiles)
    drawn = miniature.write(potsdam, "4_Ortho_RGBIR", names=names, heights=True)
    found = described(shipped.model_copy(update={"tiles": shipped.tiles.model_copy(update={"names": names})}), home)
    assert require_truth(found, drawn) == {"train": 3, "test": 13}
    heights = np.array(HEIGHTS)[np.concatenate([drawn[name].reshape(-1) for name in TRAIN])]
    dsm, ndsm = found.bands[-2:]
    assert [band.name for band in found.bands] == [*miniature.BANDS["4_Ortho_RGBIR"], "dsm", "ndsm"]
    assert dsm.mean == pytest.approx(miniature.GROUND + heights.mean())
    assert ndsm.mean == pytest.approx(10 * heights.mean(), abs=1), "decimetres, but for what JPEG loses"


def test_a_surface_that_lacks_a_column_is_refused(potsdam: Path) -> None:
    """Why 3_13 is no tile of the dataset with heights."""
    shipped = small("potsdam-irrgb-dsm")
    names = (miniature.SHORT, *shipped.splits.test.tiles)
    miniature.write(potsdam, "4_Ortho_RGBIR", names=names, heights=True)
    dataset = shipped.model_copy(update={"tiles": shipped.tiles.model_copy(update={"names": names})})
    problems = checks.check(dataset, config.load_legend(dataset.legend), catalogue.tiles(dataset)).problems
    assert {Path(problem.where).name for problem in problems} == {
        "dsm_potsdam_03_13.tif",
        "dsm_potsdam_03_13_normalized_lastools.jpg",
    }


def require_truth(found: DatasetManifest, drawn: dict[str, np.ndarray]) -> dict[str, int]:
    """How many tiles lie on each side, after every pixel of every tile was found in its class, blemished or not."""
    sides: dict[str, int] = {}
    for tile in found.tiles:
        side = "test" if tile.name in found.dataset.splits.test.tiles else "train"
        assert tile.class_pixels[side] == tuple(np.bincount(drawn[tile.name].reshape(-1), minlength=6).tolist())
        assert tile.counts[side] == 4
        sides[side] = sides.get(side, 0) + 1
    return sides
