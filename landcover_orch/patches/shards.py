"""Single patches out of sharded Zarr arrays: an index a shard, one `pread` a patch, every byte checked.

It reads what `store` writes and nothing else: little-endian chunks of one patch, zstd or no compression, crc32c, the
shard's index at its end (Zarr v3, codec `sharding_indexed`). Where zarr and tensorstore give fill values for a chunk
that is not there, this is an error.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import zstd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from landcover_orch.errors import IncompleteError
from landcover_orch.patches import store

OPEN_FILES = 128
"""Shards that a reader holds open at most."""

MISSING = 2**64 - 1
"""Offset of a chunk that was never written."""

CHECKSUM = 4
"""Bytes of a crc32c."""

INDEX_CODECS = ["bytes little", "crc32c"]
CODECS = {("bytes little", "zstd", "crc32c"): True, ("bytes little", "crc32c"): False}
"""The codecs of a chunk -> whether it is compressed."""


class Shards:
    """Patches of any stores by position; threads may share one, and another process gets it without its open files."""

    def __init__(self) -> None:
        # Only the last user of a file that leaves the cache closes it: nobody reads from a descriptor that is reused.
        self._shard, self._form = lru_cache(OPEN_FILES)(open_shard), lru_cache(None)(read_form)

    def __reduce__(self) -> tuple[type[Shards], tuple[()]]:
        return Shards, ()

    def read(self, path: Path, name: str, position: int, out: NDArray[Any]) -> None:
        """Fills `out` with a patch of the array `name` (`image`, `label`) of the store at `path`.

        Raises:
            IncompleteError: the patch is not there, or its bytes are not what was written.
        """
        form = self._form(path, name)
        if out.shape != form.cell or out.dtype != form.dtype:
            raise store.unreadable(path / name, f"{form.dtype} {form.cell}", f"{out.dtype} {out.shape}")
        number, entry = divmod(position, form.shard)
        self._shard(path, name, number, form.shard).read(entry, form.compressed, out)


@dataclass(frozen=True)
class Form:
    """How an array is stored: patches a shard, shape and dtype of one patch, compressed or not."""

    shard: int
    cell: tuple[int, ...]
    dtype: np.dtype[Any]
    compressed: bool


def read_form(path: Path, name: str) -> Form:
    """The form of the array `name` of the store at `path`.

    Raises:
        IncompleteError: there is no such array, or it is stored in another way than `store` writes.
    """
    file = path / name / "zarr.json"
    try:
        metadata = json.loads(file.read_bytes())
        (outer,) = metadata["codecs"]
        shards, inner = metadata["chunk_grid"]["configuration"]["chunk_shape"], outer["configuration"]
        kinds = [outer["name"], _kinds(inner["index_codecs"]), inner["index_location"], inner["chunk_shape"]]
        keys = metadata["chunk_key_encoding"]["configuration"]["separator"]
        compressed, dtype = CODECS.get(tuple(_kinds(inner["codecs"]))), np.dtype(metadata["data_type"])
    except OSError as error:
        raise store.unreadable(file, error.strerror or "not readable") from error
    except (ValueError, KeyError, TypeError) as error:
        raise store.unreadable(file, f"not an array in shards: {error!r}") from error
    ours = ["sharding_indexed", INDEX_CODECS, "end", [1, *shards[1:]]]
    if kinds != ours or keys != "." or compressed is None or metadata["shape"][1:] != shards[1:]:
        found = f"codecs {_kinds(inner['codecs'])} of chunks {inner['chunk_shape']} in {outer['name']}"
        raise store.unreadable(
            file, found, "little-endian patches with crc32c, zstd or plain, in shards indexed at the end"
        )
    return Form(shards[0], tuple(shards[1:]), dtype, compressed)


def _kinds(codecs: list[dict[str, Any]]) -> list[str]:
    """Names of codecs; `bytes` with its byte order, which single bytes may leave out."""
    return [
        f"bytes {c.get('configuration', {}).get('endian', 'little')}" if c["name"] == "bytes" else c["name"]
        for c in codecs
    ]


class Shard:
    """One open shard: where each of its patches lies."""

    def __init__(self, file: Path, count: int) -> None:
        self.file = file
        try:
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise store.unreadable(file, error.strerror or "cannot be opened") from error
        index = np.empty((count, 2), "<u8")
        self._fill(index, os.fstat(self._descriptor).st_size - index.nbytes - CHECKSUM, "index")
        self._entries: list[list[int]] = index.tolist()

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self, entry: int, compressed: bool, out: NDArray[Any]) -> None:
        """Fills `out` with the patch of an entry.

        Raises:
            IncompleteError: it is not there, or its bytes are not what was written.
        """
        what, (offset, length) = f"patch {entry}", self._entries[entry]
        if offset == MISSING:
            raise store.unreadable(self.file, f"{what} was never written")
        if compressed:
            packed = np.empty(max(length - CHECKSUM, 0), np.uint8)
            self._fill(packed, offset, what)
            self.decompress(packed, out, what)
        elif length == out.nbytes + CHECKSUM:
            self._fill(out, offset, what)
        else:
            raise self._other_size(what, length, out.nbytes + CHECKSUM)
        if sys.byteorder == "big":
            out.byteswap(inplace=True)

    def _fill(self, into: NDArray[Any], offset: int, what: str) -> None:
        """Reads bytes and their checksum."""
        checksum = bytearray(CHECKSUM)
        try:
            got = os.preadv(self._descriptor, [into.data, checksum], offset)
        except (OSError, OverflowError) as error:
            raise store.unreadable(self.file, f"{what}: {error}") from error
        if got != into.nbytes + CHECKSUM:
            raise self._other_size(what, got, into.nbytes + CHECKSUM)
        if google_crc32c.value(into) != int.from_bytes(checksum, "little"):
            raise store.unreadable(self.file, f"{what} has the wrong checksum")

    def decompress(self, packed: NDArray[np.uint8], out: NDArray[Any], what: str) -> None:
        """Fills `out` with what zstd packed; `what` names it in errors."""
        try:
            plain = zstd.decompress(packed)
        except RuntimeError as error:
            raise store.unreadable(self.file, f"{what}: {error}") from error
        if len(plain) != out.nbytes:
            raise self._other_size(what, len(plain), out.nbytes)
        out[...] = np.frombuffer(plain, out.dtype).reshape(out.shape)

    def _other_size(self, what: str, found: int, expected: int) -> IncompleteError:
        return store.unreadable(self.file, f"{what} has {found} bytes", f"{expected}")


def open_shard(path: Path, name: str, number: int, count: int) -> Shard:
    """Opens a shard of an array, which holds `count` patches."""
    return Shard(store.shard_file(path, name, number), count)
