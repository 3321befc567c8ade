"""Random batches of patches from the stores of a dataset, fast enough for training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.patches import splits, store
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, TileEntry
from landcover_orch.patches.shards import Shards

Arrays = tuple[NDArray[Any], NDArray[np.uint8]]


class PatchReader:
    """The patches of one split, in the order of tile names, then of each store.

    Files are opened by the process and at the time they are read, so that a reader can be sent to a spawned process.
    Threads may take at the same time.
    """

    def __init__(
        self,
        stores: list[Path],
        tiles: list[str],
        positions: list[NDArray[np.int64]],
        cell: _Cell,
        all_stores: list[Path],
    ) -> None:
        self._stores, self._tiles, self._positions, self._cell = stores, tiles, positions, cell
        self._all_stores = all_stores
        self._ends = np.cumsum([0, *(found.size for found in positions)])
        self._shards = Shards()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, indices: NDArray[np.int64]) -> Arrays:
        """Image (n, band, y, x) in the dataset's dtype and label (n, y, x) uint8 of patches, in the order asked for.

        Raises:
            IndexError: an index lies outside 0 to len - 1.
            IncompleteError: a store lacks a chunk, or its bytes have the wrong checksum.
        """
        wanted = np.asarray(indices, np.int64)
        image = np.empty((wanted.size, *self._cell.image), self._cell.dtype)
        label = np.empty((wanted.size, *self._cell.label), np.uint8)
        for i, (path, position) in enumerate(self._places(wanted)):
            self._shards.read(path, store.IMAGE, position, image[i])
            self._shards.read(path, store.LABEL, position, label[i])
        return image, label

    def polygon(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n, y, x) The row of `shares` that each pixel's polygon has, 0 where it has none; of patches as in `take`.

        Raises:
            IndexError: an index lies outside 0 to len - 1.
            IncompleteError: a store keeps no polygons, lacks a chunk, or its bytes have the wrong checksum.
        """
        wanted = np.asarray(indices, np.int64)
        found = np.empty((wanted.size, *self._cell.label), np.int32)
        number = np.empty(self._cell.label, np.uint32)
        for i, (path, position) in enumerate(self._places(wanted)):
            self._shards.read(path, store.POLYGON, position, number)
            row_of = self._declared[1][path]
            found[i] = row_of[np.minimum(number, len(row_of) - 1)]
        return found

    def shares(self) -> NDArray[np.float32]:
        """(row, class) Shares of polygons whose pixels have no class, of all tiles whatever the split; row 0 is 0.

        Raises:
            IncompleteError: a store keeps no shares.
        """
        return self._declared[0]

    @property
    def keeps_shares(self) -> bool:
        """Whether every store of the dataset holds polygons and their shares."""
        return all((path / store.SHARE).is_dir() for path in self._all_stores)

    @cached_property
    def _declared(self) -> tuple[NDArray[np.float32], dict[Path, NDArray[np.int32]]]:
        """The shares, and of each store the row of a polygon's number; the last entry, of numbers beyond, is 0."""
        tables, rows, used = [np.zeros((1, self._cell.classes), np.float32)], {}, 1
        for path in self._all_stores:
            share = store.read_shares(path)
            told = share.any(axis=1)
            rows[path] = np.append(np.where(told, told.cumsum() + used - 1, 0), 0).astype(np.int32)
            tables.append(share[told])
            used += int(told.sum())
        return np.concatenate(tables), rows

    def _places(self, wanted: NDArray[np.int64]) -> Iterator[tuple[Path, int]]:
        """The store of each patch, and its position there."""
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"patches {wanted.min()} to {wanted.max()} of a split of {len(self)}")
        tiles = np.searchsorted(self._ends, wanted, side="right") - 1
        for tile, index in zip(tiles.tolist(), wanted.tolist(), strict=True):
            yield self._stores[tile], int(self._positions[tile][index - self._ends[tile]])

    def tile_of(self, index: int) -> str:
        """Name of the tile that a patch was cut from."""
        return self._tiles[int(np.searchsorted(self._ends, index, side="right")) - 1]

    def class_count(self) -> NDArray[np.int64]:
        """Labelled pixels (patch, class) of every patch, in the reader's order.

        Raises:
            IncompleteError: a store has no index, or a damaged one.
        """
        return self._class_count

    @cached_property
    def _class_count(self) -> NDArray[np.int64]:
        both = zip(self._stores, self._positions, strict=True)
        return np.concatenate([store.read_index(path).class_count[positions] for path, positions in both])


class _Cell:
    """Shapes and dtype of one patch, and the number of classes."""

    def __init__(self, manifest: DatasetManifest) -> None:
        size = manifest.dataset.patches.size
        self.image, self.label = (len(manifest.dataset.bands), size, size), (size, size)
        self.dtype = np.dtype(manifest.dataset.dtype)
        self.classes = len(manifest.legend.classes)


def open_split(manifest: DatasetManifest, home: Path, split: str) -> PatchReader:
    """The patches of `train`, `validation` or `test`; nothing is read before they are taken.

    Raises:
        IncompleteError: a patch store of the manifest is not below `home`.
    """
    role = SPLITS.index(split)
    entries = sorted(manifest.tiles, key=lambda entry: entry.name)
    found = [(entry, np.flatnonzero(splits.decode(entry.patch_roles) == role)) for entry in entries]
    used = [(entry, positions) for entry, positions in found if positions.size]
    missing = [entry for entry, _ in used if not _store(home, entry).is_dir()]
    if missing:
        fix = "materialise the asset `patches`, then the manifest"
        raise IncompleteError(*(Problem(str(_store(home, e)), "no such store", f"tile {e.name}", fix) for e in missing))
    stores, names = [_store(home, entry) for entry, _ in used], [entry.name for entry, _ in used]
    cut = [_store(home, entry) for entry in entries if entry.patch_roles]
    return PatchReader(stores, names, [positions for _, positions in used], _Cell(manifest), cut)


def _store(home: Path, entry: TileEntry) -> Path:
    return home / entry.patches / store.STORE
