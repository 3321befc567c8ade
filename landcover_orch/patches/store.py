"""Patch store: a sharded Zarr v3 group a tile, readable by zarr, xarray and tensorstore.

    image        (patch, band, y, x)  the raster's dtype; 0 where the image has no data
    label        (patch, y, x)        uint8 class ids, 255 ignored
    polygon      (patch, y, x)        uint32 number of the polygon in the tile, 0 none; where fractions are kept
    share        (number, class)      class fractions of the polygons without a class; where fractions are kept
    row, col     (patch)              upper left pixel of the patch in the tile
    labelled     (patch)              labelled fraction of the patch
    class_count  (patch, class)       labelled pixels of each class

One inner chunk a patch, many patches a shard (one file), zstd level 1 or plain, crc32c. Names of bands and classes are
attributes of the group: Zarr v3 has no stable string type yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.grid import Window
from landcover_orch.legend import IGNORE

STORE = "patches.zarr"
IMAGE, LABEL, POLYGON, SHARE = "image", "label", "polygon", "share"
DIMENSIONS = {
    IMAGE: ("patch", "band", "y", "x"),
    LABEL: ("patch", "y", "x"),
    POLYGON: ("patch", "y", "x"),
    SHARE: ("number", "class"),
    "row": ("patch",),
    "col": ("patch",),
    "labelled": ("patch",),
    "class_count": ("patch", "class"),
}
MAX_SHARDS = 125
"""Shards of one array at most, so that the largest tile stays under 300 files."""

SHARD_BYTES = 128 * 2**20
"""Bytes of one image shard, uncompressed, where the number of shards allows."""


@dataclass(frozen=True)
class Index:
    """Where the patches of a store lie and what they hold; all arrays in store order."""

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    labelled: NDArray[np.float32]
    class_count: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.row.size)

    def windows(self, size: int) -> list[Window]:
        """The patches' windows in the tile."""
        return [Window(row, col, size, size) for row, col in zip(self.row.tolist(), self.col.tolist(), strict=True)]


@dataclass(frozen=True)
class Layout:
    """Shape of a store's arrays."""

    patches: int
    bands: int
    size: int
    dtype: str
    shard: int
    compression: Literal["zstd", "none"] = "zstd"

    @property
    def shards(self) -> list[tuple[int, int]]:
        """First and past-the-last patch of each shard."""
        return [(first, min(first + self.shard, self.patches)) for first in range(0, self.patches, self.shard)]


def shard_size(preferred: int, patches: int, patch_bytes: int) -> int:
    """Patches a shard: as preferred, fewer where they are large, more where the tile would have too many files."""
    fitting = min(preferred, max(1, SHARD_BYTES // patch_bytes))
    return max(1, min(patches, max(fitting, -(-patches // MAX_SHARDS))))


def create(
    path: Path, layout: Layout, index: Index, attributes: dict[str, Any], fractions: NDArray[np.float32] | None = None
) -> None:
    """Writes a store's metadata and small arrays; what was at `path` is removed.

    Args:
        path: of the store.
        layout: shape of its arrays.
        index: of its patches.
        attributes: of the group.
        fractions: (number, class) of polygons, where the store has an array of their numbers.
    """
    import zarr

    group = zarr.create_group(path, zarr_format=3, overwrite=True, attributes=attributes)
    side = (layout.size, layout.size)
    _patches(group, IMAGE, layout, (layout.bands, *side), layout.dtype, 0)
    _patches(group, LABEL, layout, side, "uint8", IGNORE)
    for name in ("row", "col", "labelled", "class_count"):
        _small_array(group, name, getattr(index, name))
    if fractions is not None:
        _patches(group, POLYGON, layout, side, "uint32", 0)
        _small_array(group, SHARE, fractions)


def _small_array(group: Any, name: str, values: NDArray[Any]) -> None:
    """A small array, in one chunk."""
    chunk = tuple(max(1, length) for length in values.shape)
    array = _array(group, name, values.shape, chunk, None, values.dtype, 0, "zstd")
    if values.size:
        array[...] = values


def _patches(group: Any, name: str, layout: Layout, cell: tuple[int, ...], dtype: DTypeLike, fill: int) -> None:
    shape, shard = (layout.patches, *cell), (layout.shard, *cell)
    _array(group, name, shape, (1, *cell), shard, dtype, fill, layout.compression)


def _array(
    group: Any,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    dtype: DTypeLike,
    fill: int,
    compression: str,
) -> Any:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        shards=shards,
        dtype=dtype,
        fill_value=fill,
        compressors=[ZstdCodec(level=1), Crc32cCodec()] if compression == "zstd" else [Crc32cCodec()],
        dimension_names=DIMENSIONS[name],
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )


def shard_file(path: Path, name: str, shard: int) -> Path:
    """The file that holds a shard of `image`, `label` or `polygon`."""
    return path / name / ".".join(["c", str(shard), *["0"] * (len(DIMENSIONS[name]) - 1)])


def open_array(path: Path, name: str, *, context: Any = None) -> Any:
    """A store's array as a tensorstore, for the process that calls; a missing chunk is an error, never zeros.

    Raises:
        IncompleteError: there is no such array.
    """
    import tensorstore

    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path / name}/"},
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
    }
    try:
        return tensorstore.open(spec, open=True, context=context).result()
    except ValueError as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> IncompleteError:
    """The error for a store that tensorstore cannot read, in tensorstore's words."""
    return unreadable(path, " ".join(str(error).split()).split(" [")[0][:300])


def unreadable(where: Path, found: str, expected: str = "a whole store") -> IncompleteError:
    """The error for a file of a store that is not what was written."""
    product = next((path.parent for path in where.parents if path.name == STORE), where.parent)
    return IncompleteError(
        Problem(str(where), f"unreadable patches ({found})", expected, f"delete {product}, materialise again")
    )


def read_index(path: Path) -> Index:
    """The positions and class counts of a store's patches.

    Raises:
        IncompleteError: an array is missing or damaged.
    """
    return Index(**{name: _read(path, name) for name in ("row", "col", "labelled", "class_count")})


def read_fractions(path: Path) -> NDArray[np.float32]:
    """(number, class) Class fractions of the polygons whose pixels have no class; rows of 0 for all others.

    Raises:
        IncompleteError: the store has no such array, or a damaged one.
    """
    return _read(path, SHARE)


def _read(path: Path, name: str) -> NDArray[Any]:
    import tensorstore

    array = open_array(path, name, context=tensorstore.Context())
    try:
        return np.asarray(array.read().result()) if array.size else np.zeros(array.shape, array.dtype.name)
    except ValueError as error:
        raise damaged(path / name, error) from error


def summarise(boxes: Sequence[Window], patches: int) -> dict[str, int]:
    """Windows of a tile, and what became of them."""
    return {"windows": len(boxes), "patches": patches, "left_out": len(boxes) - patches}
