"""The manifest: whole, current, without leaks, and enough for all that comes after."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from landcover_orch.errors import CatalogueError, LeakError
from landcover_orch.patches import dataset, manifest
from landcover_orch.publish import Product
from tests.patches.fields import LEGEND, SHAPE, Fields, write_fields

BLOCKS = {"validation": {"blocks": 0.2}, "test": {"blocks": 0.3}, "block": 40}


def described(fields: Fields) -> Product:
    return dataset.build(fields.dataset, LEGEND, fields.tiles, fields.home)


@pytest.fixture
def fields(tmp_path: Path, home: Path) -> Fields:
    """Two tiles with patches, split by blocks."""
    found = write_fields(tmp_path / "raw", home, splits=BLOCKS)
    found.cut(0)
    found.cut(1)
    return found


def test_every_labelled_pixel_is_counted_once(fields: Fields) -> None:
    found = manifest.load(described(fields).path)
    for tile in found.tiles:
        pixels = np.sum([tile.class_pixels[split] for split in manifest.SPLITS], axis=0)
        assert pixels.tolist() == [50 * SHAPE[1], 30 * SHAPE[1]]
        assert sum(tile.counts.values()) == 8 * 9
        assert (fields.home / tile.patches).is_dir()
        assert (fields.home / tile.ground_truth / "classes.tif").is_file()
        assert tile.grid.shape == SHAPE
    assert len(found.bands) == 2
    assert np.mean(found.class_weights) == pytest.approx(1)


def test_the_page_and_pictures_stand_alone(fields: Fields) -> None:
    product = described(fields)
    page = product.file("index.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page
    for word in ("field", "wood", "red", "nir", "EPSG:25830", found_digest(product)):
        assert word in page
    assert 0 < len(product.file("preview.png").read_bytes()) <= 75_000


def found_digest(product: Product) -> str:
    return manifest.load(product.path).digest


def test_what_no_pixel_depends_on_leaves_it_as_it_is(fields: Fields) -> None:
    first = described(fields)
    other = described(
        fields.changed(experiments=["other"], floors=["x"], description="y", automation={"retrain": "0 4 * * *"})
    )
    assert other.path == first.path
    assert described(fields.changed(splits={**BLOCKS, "seed": 3})).path != first.path


def test_the_same_again_elsewhere_has_the_same_bytes(fields: Fields, tmp_path: Path) -> None:
    first = described(fields)
    again = Fields(fields.dataset, tmp_path / "again")
    again.cut(0)
    again.cut(1)
    assert described(again).files == first.files


def test_missing_and_outdated_tiles_are_all_named(fields: Fields) -> None:
    (fields.home / "fields" / "patches" / "a").unlink()
    image = fields.tiles[1].image
    shutil.copy(fields.tiles[0].image, image)
    with pytest.raises(CatalogueError) as error:
        described(fields)
    assert "patches/a: nothing published" in str(error.value)
    assert "tile b: `ground_truth` was made of other files or another configuration" in str(error.value)
    assert "tile b: `patches` was made of other files" in str(error.value)


def overlapping(folder: Path, home: Path, rule: str) -> Fields:
    """Two tiles that share 60 of their 110 columns; one is test."""
    found = write_fields(folder, home, apart=50, splits={"test": {"tiles": ["b"]}, "on_overlap": rule})
    found.cut(0)
    found.cut(1)
    return found


def test_tiles_that_overlap_on_the_ground_are_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(LeakError, match="tile a: 48 train windows on held-out ground of tile b"):
        described(overlapping(tmp_path / "raw", home, "refuse"))
    assert not (home / "fields" / "dataset_manifest" / "dataset").exists()


def test_or_their_windows_are_dropped_and_counted(tmp_path: Path, home: Path) -> None:
    product = described(overlapping(tmp_path / "raw", home, "drop"))
    assert product.json("summary.json")["patches"] == {
        "train": 24,
        "validation": 0,
        "test": 72,
        "excluded": 0,
        "dropped": 48,
    }


def test_nothing_to_train_on_is_an_error(fields: Fields) -> None:
    with pytest.raises(CatalogueError, match="no train pixel with data"):
        described(fields.changed(splits={"test": {"tiles": ["a", "b"]}}))
