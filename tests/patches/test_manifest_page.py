"""Pictures and tables of the dataset page: tiles of each split, with what is of another split dimmed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landcover_orch.patches import manifest_page
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, load
from tests.patches.fields import SHAPE, Fields, write_fields
from tests.patches.test_dataset import BLOCKS, described


@pytest.fixture
def fields(tmp_path: Path, home: Path) -> Fields:
    """Two tiles with patches, split by blocks."""
    result = write_fields(tmp_path / "raw", home, splits=BLOCKS)
    result.cut(0)
    result.cut(1)
    return result


def labelled(manifest: DatasetManifest, split: str) -> int:
    return sum(sum(tile.class_pixels[split]) for tile in manifest.tiles)


def test_what_is_of_another_split_is_dimmed(fields: Fields) -> None:
    manifest = load(described(fields).path)
    entry = manifest.tiles[0]
    masks = {split: manifest_page.split_mask(manifest, entry, split, SHAPE) for split in SPLITS}
    assert np.array_equal(sum(mask.astype(int) for mask in masks.values()), np.ones(SHAPE))
    full = np.stack([manifest_page.draw_tile(manifest, entry, split, fields.home) for split in SPLITS])
    bright = full.min(axis=0)
    for split, drawn in zip(SPLITS, full, strict=True):
        photo, classes = drawn[:, : SHAPE[1]], drawn[:, -SHAPE[1] :]
        inside = masks[split]
        assert np.array_equal(photo[inside], bright[:, : SHAPE[1]][inside])
        assert (classes[~inside] >= 191).all(), "a quarter of the colour on white"


def test_the_picture_of_the_splits_is_a_file_and_stands_on_the_page(fields: Fields) -> None:
    product = described(fields)
    picture = Image.open(io.BytesIO(product.file("tiles.png").read_bytes()))
    assert picture.width > 1000
    text = product.file("index.html").read_text(encoding="utf-8")
    assert text.index("Train, validation and test tiles</h2>") < text.index("Classes</h2>") < text.index("Tiles</h2>")


def test_every_split_has_its_pixels_and_hectares(fields: Fields) -> None:
    product = described(fields)
    manifest, summary = load(product.path), product.json("summary.json")
    assert summary["warnings"] == []
    for split in SPLITS:
        ground = summary["ground"][split]
        assert ground["pixels"] == labelled(manifest, split)
        assert ground["hectares"] == pytest.approx(ground["pixels"] / 10_000), "of pixels of a square metre"


@pytest.mark.parametrize(("tiles", "drawn"), [(1, "0"), (4, "0123"), (7, "0246")])
def test_of_many_tiles_an_even_choice_is_drawn(fields: Fields, tiles: int, drawn: str) -> None:
    manifest = load(described(fields).path)
    entries = tuple(manifest.tiles[0].model_copy(update={"name": f"t{i}"}) for i in range(tiles))
    chosen = manifest_page.drawn_tiles(manifest.model_copy(update={"tiles": entries}), "train")
    assert [entry.name for entry in chosen] == [f"t{i}" for i in drawn]
