"""The manifest: whole, current, without leaks, and enough for all that comes after."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box as rectangle

from landcover_orch import raster
from landcover_orch.config.experiments import Folds
from landcover_orch.errors import CatalogueError, LeakError
from landcover_orch.grid import Window
from landcover_orch.patches import dataset, folds, manifest, store
from landcover_orch.store.publish import Product
from tests.patches.fields import LEGEND, SHAPE, Fields, write_fields
from tests.scenes import ORIGIN, write_geotiff, write_polygons

BLOCKS = {"validation": {"blocks": 0.2}, "test": {"blocks": 0.3}, "block": 40}


def described(fields: Fields) -> Product:
    return dataset.build(fields.dataset, LEGEND, fields.tiles, fields.home)


@pytest.fixture
def fields(tmp_path: Path, home: Path) -> Fields:
    """Two tiles with patches, split by blocks."""
    result = write_fields(tmp_path / "raw", home, splits=BLOCKS)
    result.cut(0)
    result.cut(1)
    return result


def test_every_labelled_pixel_is_counted_once(fields: Fields) -> None:
    result = manifest.load(described(fields).path)
    for tile in result.tiles:
        pixels = np.sum([tile.class_pixels[split] for split in manifest.SPLITS], axis=0)
        assert pixels.tolist() == [50 * SHAPE[1], 30 * SHAPE[1]]
        assert sum(tile.counts.values()) == 8 * 9
        assert (fields.home / tile.patches).is_dir()
        assert (fields.home / tile.ground_truth / "classes.tif").is_file()
        assert tile.grid.shape == SHAPE
    assert len(result.bands) == 2
    assert np.mean(result.class_weights) == pytest.approx(1)


def test_the_page_and_pictures_stand_alone(fields: Fields) -> None:
    product = described(fields)
    page = product.file("index.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page
    for word in ("field", "wood", "red", "nir", "EPSG:25830", found_digest(product)):
        assert word in page
    assert 0 < len(product.file("preview.png").read_bytes()) <= 75_000


def test_bands_of_one_value_and_copies_of_a_tile_are_told(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home, names=("a", "b", "c"), splits=BLOCKS)
    pixels = np.random.default_rng(0).integers(0, 255, (2, *SHAPE), dtype=np.uint8)
    for i, tile in enumerate(fields.tiles):
        shown = pixels if i < 2 else np.stack([pixels[1], np.full(SHAPE, 77, np.uint8)])
        write_geotiff(tile.image, shown, origin=(ORIGIN[0] + 500 * i, ORIGIN[1]))
    for index in range(3):
        fields.cut(index)
    product = described(fields)
    warnings = [
        "Tile c holds one value alone (nir 77). Fix: replace its orthophoto, or take the tile out.",
        "Tiles a and b hold the same pixels. Fix: replace the copies, or take them out.",
    ]
    assert product.json("summary.json")["suspects"] == warnings
    assert product.json("summary.json")["warnings"][-2:] == warnings
    page = product.file("index.html").read_text()
    assert all(warning in page for warning in warnings)


def test_the_page_shows_what_matching_made_of_a_tile(fields: Fields) -> None:
    assert "before and after" not in described(fields).file("index.html").read_text()
    matched = fields.changed(radiometry={"match": "moments", "reference": "a"})
    for i in range(2):
        matched.cut(i)
    product = described(matched)
    page = product.file("index.html").read_text()
    rows = {row["tile"]: row for row in product.json("summary.json")["drift"]}
    assert rows["a"]["delivered"] is None
    assert 0 < rows["b"]["delivered"] < 0.1, "both are of one distribution"
    assert "matched to tile a by moments" in page
    assert "<th>as delivered</th>" in page
    assert page.count("before and after") == 1
    assert 'alt="tile b before and after"' in page


def test_years_and_their_gap_are_told_tile_by_tile(fields: Fields) -> None:
    overrides = {"b": {"label_year": 2021}}
    dated = fields.changed(tiles={**fields.dataset.tiles.model_dump(), "year": 2024, "overrides": overrides})
    plain, product = described(fields), described(dated)
    assert product.json("summary.json")["years"] == [
        {"tile": "a", "image": 2024, "labels": None, "gap": None, "limit": 3},
        {"tile": "b", "image": 2024, "labels": 2021, "gap": 3, "limit": 3},
    ]
    assert "<td>2024</td><td>2021</td><td>3</td>" in product.file("index.html").read_text()
    assert found_digest(product) == found_digest(plain), "no pixel is another for it"
    assert dated.dataset.years != fields.dataset.years


def found_digest(product: Product) -> str:
    return manifest.load(product.path).digest


def test_what_no_pixel_depends_on_leaves_it_as_it_is(fields: Fields) -> None:
    first = described(fields)
    other = described(
        fields.changed(
            experiments=["other"],
            baselines=["x"],
            description="y",
            retraining={"when": "never"},
            promotion={"by": "hand"},
        )
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
    result = write_fields(folder, home, apart=50, splits={"test": {"tiles": ["b"]}, "on_overlap": rule})
    result.cut(0)
    result.cut(1)
    return result


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


def test_blocks_that_no_patch_fits_into_are_an_error(fields: Fields) -> None:
    """Of random blocks of 3 m, each window of 16 m lies in several splits."""
    with pytest.raises(CatalogueError, match=r"no patch lies in one split.*a larger `splits.block`"):
        described(fields.changed(splits={**BLOCKS, "block": 3}))


def test_nothing_to_train_on_is_an_error(fields: Fields) -> None:
    with pytest.raises(CatalogueError, match="no train pixel with data"):
        described(fields.changed(splits={"test": {"tiles": ["a", "b"]}}))


def test_labels_of_one_class_with_all_else_ignored_are_refused_with_a_fix_that_works(
    tmp_path: Path, home: Path
) -> None:
    fields = write_fields(tmp_path / "raw", home, splits=BLOCKS)
    for i, name in enumerate("ab"):
        x, y = ORIGIN[0] + i * 500, ORIGIN[1]
        write_polygons(tmp_path / "raw" / f"{name}.gpkg", [(rectangle(x, y - 50, x + 110, y), "1")])
        fields.cut(i)
    with pytest.raises(CatalogueError) as error:
        described(fields)
    assert "labels.unlabelled: 'ignore', while all labels are 'field' (11,000 of 19,800 pixels)" in str(error.value)
    assert "set `labels.unlabelled: wood`" in str(error.value)
    mended = fields.changed(labels={"attribute": "code", "unlabelled": "wood"})
    mended.cut(0)
    mended.cut(1)
    assert described(mended).json("summary.json")["labelled"] == 1


def test_a_tile_without_labels_is_there_and_counts_nowhere(tmp_path: Path, home: Path) -> None:
    """It lies on the ground of a train tile, which is no leak; its bright pixels are in no statistics."""
    plain = write_fields(tmp_path / "raw", home, splits=BLOCKS)
    write_geotiff(tmp_path / "raw" / "more" / "u.tif", np.full((2, *SHAPE), 255, np.uint8))
    tiles = {**plain.dataset.tiles.model_dump(), "unlabelled": "more/{tile}.tif"}
    fields = plain.changed(tiles=tiles)
    products = [fields.cut(i) for i in range(3)]
    summary = products[2].json("summary.json")
    assert (summary["windows"], summary["patches"], summary["labelled"]) == (0, 0, None)
    product = described(fields)
    result = manifest.load(product.path)
    entry = result.tiles[2]
    assert (entry.name, entry.label_fingerprint, entry.pixels, sum(entry.counts.values())) == ("u", None, 0, 0)
    assert not any(sum(pixels) for pixels in entry.class_pixels.values())
    assert product.json("summary.json")["unlabelled_tiles"] == 1
    fewer = manifest.load(described(plain).path)
    assert result.bands == fewer.bands
    assert result.class_weights == fewer.class_weights
    assert product.json("summary.json")["coverage"] == described(plain).json("summary.json")["coverage"]
    assert "unlabelled" in product.file("index.html").read_text()


def test_a_fold_by_tiles_leaves_tiles_without_labels_out(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home, names=("a", "b", "c", "d"))
    write_geotiff(tmp_path / "raw" / "more" / "u.tif", np.ones((2, *SHAPE), np.uint8))
    fields = fields.changed(tiles={**fields.dataset.tiles.model_dump(), "unlabelled": "more/{tile}.tif"})
    for i in range(5):
        fields.cut(i)
    product = described(fields)
    assert folds.non_test_tiles(manifest.load(product.path)) == ("a", "b", "c", "d")
    fold = manifest.load(folds.build(product, Folds(by="tiles", count=4), 1, fields.home).path)
    assert [sum(tile.counts.values()) > 0 for tile in fold.tiles] == [True] * 4 + [False]


def test_every_reader_sees_the_bands_of_all_files(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home, names=("a",), splits=BLOCKS)
    heights = np.random.default_rng(3).normal(280, 20, SHAPE).astype(np.float32)
    write_geotiff(tmp_path / "raw" / "dsm" / "a.tif", heights)
    tiles = {"image": "{tile}.tif", "label": "{tile}.gpkg", "further": [{"image": "dsm/{tile}.tif", "bands": ["dsm"]}]}
    stacked = fields.changed(tiles=tiles, bands=["red", "nir", "dsm"], dtype="float32")
    product = stacked.cut(0)
    path = product.file(store.STORE)
    index, size = store.read_index(path), stacked.dataset.patches.size
    images = np.asarray(store.open_array(path, store.IMAGE).read().result())
    with raster.reader(raster.inspect(fields.tiles[0].image)) as source:
        expected = np.concatenate([source.read(Window(0, 0, *SHAPE)), heights[None]])
    assert images.dtype == np.float32
    for image, box in zip(images, index.windows(size), strict=True):
        np.testing.assert_array_equal(image, expected[(slice(None), *box.slices)])
    result = manifest.load(described(stacked).path)
    assert [band.name for band in result.bands] == ["red", "nir", "dsm"]
    assert 230 < result.bands[2].mean < 330
    assert result.tiles[0].images == stacked.tiles[0].images
