"""The store's format: plain Zarr v3 for zarr, xarray and tensorstore, whole shards, nothing missing unnoticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from landcover_orch.errors import IncompleteError
from landcover_orch.patches import store

LAYOUT = store.Layout(patches=5, bands=2, size=4, dtype="uint16", shard=2)
INDEX = store.Index(np.arange(5), np.arange(5) * 2, np.linspace(0, 1, 5, dtype=np.float32), np.arange(10).reshape(5, 2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store whose first two shards are zeros, as fill values are, and whose last counts up."""
    result = tmp_path / store.STORE
    store.create(result, LAYOUT, INDEX, {"bands": ["r", "g"], "classes": ["a", "b"]})
    image = store.open_array(result, store.IMAGE)
    for first, last in LAYOUT.shards:
        values = np.full((last - first, 2, 4, 4), first, np.uint16) * (first == 4)
        image[first:last].write(values).result()
    label = store.open_array(result, store.LABEL)
    for first, last in LAYOUT.shards:
        label[first:last].write(np.full((last - first, 4, 4), 255, np.uint8)).result()
    return result


def test_zarr_and_xarray_read_it(path: Path) -> None:
    group = zarr.open_group(path, mode="r")
    assert group.attrs["bands"] == ["r", "g"]
    np.testing.assert_array_equal(group["image"][4], np.full((2, 4, 4), 4))
    with xarray.open_zarr(path, consolidated=False) as result:
        assert dict(result.sizes) == {"patch": 5, "band": 2, "y": 4, "x": 4, "class": 2}
        assert result["image"].dims == ("patch", "band", "y", "x")
        assert result["label"].dims == ("patch", "y", "x")
        assert result["row"].values.tolist() == [0, 1, 2, 3, 4]


def test_one_file_a_shard_and_chunks_equal_to_the_fill_value_are_written(path: Path) -> None:
    for name in (store.IMAGE, store.LABEL):
        files = {file for file in (path / name).iterdir() if file.name != "zarr.json"}
        assert files == {store.shard_file(path, name, shard) for shard in range(3)}
    assert np.asarray(store.open_array(path, store.IMAGE)[0].read().result()).max() == 0


def test_a_missing_shard_is_an_error_and_never_zeros(path: Path) -> None:
    store.shard_file(path, store.IMAGE, 1).unlink()
    image = store.open_array(path, store.IMAGE)
    image[0].read().result()
    with pytest.raises(ValueError, match="missing"):
        image[2].read().result()


def test_the_index_comes_back(path: Path) -> None:
    result = store.read_index(path)
    assert len(result) == 5
    np.testing.assert_array_equal(result.class_count, INDEX.class_count)
    np.testing.assert_array_equal(result.labelled, INDEX.labelled)
    assert result.windows(4)[2] == (2, 4, 4, 4)


def test_a_damaged_index_names_the_store(path: Path) -> None:
    (path / "row" / "c.0").write_bytes(b"nonsense")
    with pytest.raises(IncompleteError, match=r"patches\.zarr/row: unreadable patches"):
        store.read_index(path)
    with pytest.raises(IncompleteError, match="nowhere"):
        store.open_array(path.parent / "nowhere", store.IMAGE)


def test_a_store_without_patches_is_a_store(tmp_path: Path) -> None:
    nothing = store.Index(*(np.empty(0, np.int64),) * 2, np.empty(0, np.float32), np.empty((0, 2), np.int64))
    store.create(tmp_path / "s", store.Layout(0, 2, 4, "uint8", 1), nothing, {})
    assert len(store.read_index(tmp_path / "s")) == 0


@pytest.mark.parametrize(
    ("wanted", "patches", "patch_bytes", "expected"),
    [
        (128, 1000, 3 * 256 * 256, 128),
        (128, 30, 3 * 256 * 256, 30),
        (128, 31_439, 3 * 256 * 256, 252),
        (128, 1000, 2**21, 64),
        (128, 0, 1, 1),
        (1, 3, 2**30, 1),
    ],
)
def test_patches_a_shard(wanted: int, patches: int, patch_bytes: int, expected: int) -> None:
    assert store.shard_size(wanted, patches, patch_bytes) == expected


def test_a_single_patch_at_the_origin_without_labels_is_a_patch(tmp_path: Path) -> None:
    zero = np.zeros(1, np.int64)
    index = store.Index(zero, zero, np.zeros(1, np.float32), np.zeros((1, 2), np.int64))
    store.create(tmp_path / "s", store.Layout(1, 2, 4, "uint8", 1), index, {})
    assert store.read_index(tmp_path / "s").windows(4) == [(0, 0, 4, 4)]
