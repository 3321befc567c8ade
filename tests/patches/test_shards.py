"""Patches read by index and `pread` are what zarr reads, or an error: never fill values, never other bytes."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.errors import IncompleteError
from landcover_orch.patches import shards, store
from landcover_orch.patches.shards import Shards

DTYPES = ("uint8", "uint16", "int16", "float32")


def write(path: Path, layout: store.Layout, seed: int = 0) -> None:
    """A store of random patches, of which the first equals the fill value, written as the project writes them."""
    n, random = layout.patches, np.random.default_rng(seed)
    index = store.Index(np.arange(n), np.arange(n), np.ones(n, np.float32), np.ones((n, 2), np.int64))
    store.create(path, layout, index, {})
    for name, low in ((store.IMAGE, 0), (store.LABEL, 255)):
        array = store.open_array(path, name)
        values = random.integers(0, 200, array.shape).astype(array.dtype.numpy_dtype)
        values[:1] = low
        array.write(values).result()


def read(path: Path, name: str, position: int) -> np.ndarray:  # type: ignore[type-arg]
    """One patch."""
    array = zarr.open_array(path / name, mode="r")
    out = np.full(array.shape[1:], 7, array.dtype)
    Shards().read(path, name, position, out)
    return out


@pytest.fixture(params=["zstd", "none"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store of 5 patches in shards of 2."""
    result = tmp_path / "product" / store.STORE
    write(result, store.Layout(5, 2, 8, "uint16", 2, request.param))
    return result


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 3), st.sampled_from(DTYPES), st.integers(1, 5), st.sampled_from(["zstd", "none"])
)
def test_it_reads_what_zarr_reads(
    tmp_path_factory: pytest.TempPathFactory, patches: int, bands: int, dtype: str, shard: int, compression: Any
) -> None:
    path = tmp_path_factory.mktemp("s") / store.STORE
    write(path, store.Layout(patches, bands, 4, dtype, min(shard, patches), compression), seed=patches)
    for name in (store.IMAGE, store.LABEL):
        expected = zarr.open_array(path / name, mode="r")[...]
        np.testing.assert_array_equal([read(path, name, i) for i in range(patches)], expected)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_it_reads_what_zarr_writes(tmp_path: Path, compression: Any) -> None:
    path, values = tmp_path / store.STORE, np.random.default_rng(0).integers(-9, 9, (3, 1, 4, 4)).astype(np.int16)
    write(path, store.Layout(3, 1, 4, "int16", 3, compression))
    zarr.open_array(path / store.IMAGE)[...] = values
    np.testing.assert_array_equal([read(path, store.IMAGE, i) for i in range(3)], values)


def test_a_store_without_compression_is_larger_and_has_a_checksum_all_the_same(tmp_path: Path) -> None:
    for compression in ("zstd", "none"):
        write(tmp_path / compression / store.STORE, store.Layout(4, 1, 16, "uint8", 4, compression))
    plain, packed = (store.shard_file(tmp_path / c / store.STORE, store.LABEL, 0) for c in ("none", "zstd"))
    assert plain.stat().st_size == 4 * (16 * 16 + 4) + 4 * 16 + 4 > packed.stat().st_size


def test_every_flipped_bit_of_a_shard_is_an_error(path: Path) -> None:
    file = store.shard_file(path, store.LABEL, 1)
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(IncompleteError, match=r"label/c\.1\.0\.0: unreadable patches"):
            [read(path, store.LABEL, position) for position in (2, 3)]


def test_every_cut_of_a_shard_is_an_error(path: Path) -> None:
    file = store.shard_file(path, store.LABEL, 0)
    whole = file.read_bytes()
    for length in range(0, len(whole), 5):
        file.write_bytes(whole[:length])
        with pytest.raises(IncompleteError, match="unreadable patches"):
            read(path, store.LABEL, 0)


def test_a_patch_that_was_never_written_is_an_error_and_not_the_fill_value(path: Path) -> None:
    zarr.open_array(path / store.IMAGE)[2] = 0  # zarr leaves out what equals the fill value
    assert zarr.open_array(path / store.IMAGE, mode="r")[2].max() == 0
    with pytest.raises(IncompleteError, match="patch 0 was never written"):
        read(path, store.IMAGE, 2)


def test_an_absent_shard_names_itself_and_the_product_to_delete(path: Path) -> None:
    store.shard_file(path, store.IMAGE, 1).unlink()
    read(path, store.IMAGE, 0)
    with pytest.raises(IncompleteError, match=r"image/c\.1\.0\.0\.0: .* delete \S+/product, materialise again"):
        read(path, store.IMAGE, 2)


def test_a_patch_of_another_size_is_an_error(path: Path) -> None:
    with pytest.raises(IncompleteError, match=r"uint16 \(2, 8, 8\)\); expected uint8 \(2, 8, 8\)"):
        Shards().read(path, store.IMAGE, 0, np.empty((2, 8, 8), np.uint8))


def _big_endian(text: Any) -> None:
    text["codecs"][0]["configuration"]["codecs"][0]["configuration"] = {"endian": "big"}


def _gzip(text: Any) -> None:
    text["codecs"][0]["configuration"]["codecs"].insert(1, {"name": "gzip", "configuration": {"level": 1}})


def _no_checksum(text: Any) -> None:
    text["codecs"][0]["configuration"]["codecs"].pop()


def _index_first(text: Any) -> None:
    text["codecs"][0]["configuration"]["index_location"] = "start"


def _no_shards(text: Any) -> None:
    text["codecs"] = [{"name": "bytes"}, {"name": "crc32c"}]


@pytest.mark.parametrize("change", [_big_endian, _gzip, _no_checksum, _index_first, _no_shards])
def test_another_way_of_storing_is_refused(path: Path, change: Callable[[Any], None]) -> None:
    file = path / store.IMAGE / "zarr.json"
    text = json.loads(file.read_text())
    change(text)
    file.write_text(json.dumps(text))
    with pytest.raises(IncompleteError, match=r"image/zarr\.json: unreadable patches"):
        read(path, store.IMAGE, 0)


def test_open_files_are_bounded_and_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN_FILES", 1)
    before, reader, out = len(os.listdir("/proc/self/fd")), Shards(), np.empty((2, 8, 8), np.uint16)  # noqa: PTH208
    for position in (0, 2, 4, 0):
        reader.read(path, store.IMAGE, position, out)
        assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
    del reader
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_forked_process_reads_on(path: Path) -> None:
    reader, here, there = Shards(), np.empty((2, 8, 8), np.uint16), multiprocessing.get_context("fork").Array("H", 128)
    reader.read(path, store.IMAGE, 1, here)

    def child() -> None:
        out = np.frombuffer(there.get_obj(), np.uint16).reshape(2, 8, 8)
        reader.read(path, store.IMAGE, 1, out)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0
    np.testing.assert_array_equal(np.frombuffer(there.get_obj(), np.uint16).reshape(2, 8, 8), here)
