"""Random batches: the patches asked for, from any thread or spawned process, and never silently wrong."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from landcover_orch.errors import IncompleteError
from landcover_orch.patches import dataset, manifest, splits, store
from landcover_orch.patches.read import PatchReader, open_split
from tests.patches.fields import LEGEND, Fields, write_fields


@pytest.fixture
def fields(tmp_path: Path, home: Path) -> Fields:
    """Three tiles, of which one is test, split by blocks otherwise."""
    sides = {"validation": {"blocks": 0.2}, "test": {"tiles": ["b"]}, "block": 40}
    return write_fields(tmp_path / "raw", home, names=("a", "b", "c"), splits=sides)


@pytest.fixture
def described(fields: Fields) -> manifest.DatasetManifest:
    """Its manifest."""
    for i in range(3):
        fields.cut(i)
    return manifest.load(dataset.build(fields.dataset, LEGEND, fields.tiles, fields.home).path)


def everything(
    fields: Fields, described: manifest.DatasetManifest, split: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:  # type: ignore[type-arg]
    """All patches of a split in order, read plainly."""
    images, labels, names = [], [], []
    for entry in described.tiles:
        path = fields.home / entry.patches / store.STORE
        chosen = splits.decode(entry.patch_roles) == manifest.SPLITS.index(split)
        images.append(np.asarray(store.open_array(path, store.IMAGE).read().result())[chosen])
        labels.append(np.asarray(store.open_array(path, store.LABEL).read().result())[chosen])
        names += [entry.name] * int(chosen.sum())
    return np.concatenate(images), np.concatenate(labels), names


@pytest.mark.parametrize("split", manifest.SPLITS)
def test_patches_come_as_asked_for(fields: Fields, described: manifest.DatasetManifest, split: str) -> None:
    images, labels, names = everything(fields, described, split)
    reader = open_split(described, fields.home, split)
    assert len(reader) == len(images) > 0
    order = np.random.default_rng(0).integers(0, len(images), 50)
    image, label = reader.take(order)
    np.testing.assert_array_equal(image, images[order])
    np.testing.assert_array_equal(label, labels[order])
    assert (image.dtype, label.dtype) == (np.uint8, np.uint8)
    assert [reader.tile_of(i) for i in range(len(reader))] == names


def test_threads_get_what_one_gets(fields: Fields, described: manifest.DatasetManifest) -> None:
    reader = open_split(described, fields.home, "train")
    batches = [np.random.default_rng(seed).integers(0, len(reader), 16) for seed in range(40)]
    alone = [open_split(described, fields.home, "train").take(batch)[0] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = [image for image, _ in pool.map(reader.take, batches)]
    np.testing.assert_array_equal(together, alone)


def test_a_used_reader_can_be_sent_to_a_spawned_process(fields: Fields, described: manifest.DatasetManifest) -> None:
    reader = open_split(described, fields.home, "train")
    here = reader.take(np.arange(3))[0]
    assert isinstance(pickle.loads(pickle.dumps(reader)), PatchReader)  # noqa: S301
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(reader.take, (np.arange(3),))[0]
    np.testing.assert_array_equal(there, here)


def test_no_patches_is_an_empty_batch(fields: Fields, described: manifest.DatasetManifest) -> None:
    image, label = open_split(described, fields.home, "test").take(np.array([], np.int64))
    assert (image.shape, label.shape) == ((0, 2, 16, 16), (0, 16, 16))


@pytest.mark.parametrize("index", [-1, 10**6])
def test_indices_do_not_wrap(fields: Fields, described: manifest.DatasetManifest, index: int) -> None:
    with pytest.raises(IndexError):
        open_split(described, fields.home, "test").take(np.array([index]))


def _first_shard(fields: Fields, described: manifest.DatasetManifest) -> Path:
    return store.shard_file(fields.home / described.tiles[1].patches / store.STORE, store.IMAGE, 0)


def test_a_missing_shard_is_an_error_that_names_the_store(fields: Fields, described: manifest.DatasetManifest) -> None:
    _first_shard(fields, described).unlink()
    with pytest.raises(IncompleteError, match=r"patches\.zarr/image/c\.0\.0\.0\.0: unreadable patches"):
        open_split(described, fields.home, "test").take(np.arange(4))


def test_a_flipped_bit_is_an_error(fields: Fields, described: manifest.DatasetManifest) -> None:
    shard = _first_shard(fields, described)
    data = bytearray(shard.read_bytes())
    data[200] ^= 1
    shard.write_bytes(data)
    with pytest.raises(IncompleteError, match="unreadable patches"):
        open_split(described, fields.home, "test").take(np.arange(16))


def test_an_absent_store_is_named_at_once(fields: Fields, described: manifest.DatasetManifest, tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="tile b"):
        open_split(described, tmp_path / "elsewhere", "test")


def test_labelled_pixels_of_each_class_are_known_without_reading_patches(
    fields: Fields, described: manifest.DatasetManifest
) -> None:
    reader = open_split(described, fields.home, "train")
    label = reader.take(np.arange(len(reader)))[1]
    expected = np.stack([(label == c).sum(axis=(1, 2)) for c in (0, 1)], axis=1)
    np.testing.assert_array_equal(reader.class_count(), expected)
