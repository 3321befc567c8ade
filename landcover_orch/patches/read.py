"""Patch reader: random batches of patches from the stores of a dataset, fast enough for training."""

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
        cell: PatchShape,
        all_stores: list[Path],
    ) -> None:
        self._stores, self._tiles, self._positions, self._cell = stores, tiles, positions, cell
        self._all_stores = all_stores
        self._ends = np.cumsum([0, *(of_store.size for of_store in positions)])
        self._shards = Shards()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, indices: NDArray[np.int64]) -> Arrays:
        """Image (n, band, y, x) in the dataset's dtype and label (n, y, x) uint8 of patches, in the order asked for.

        Raises:
            IndexError: an index lies outside 0 to len - 1.
            IncompleteError: a store lacks a chunk, or its bytes have the wrong checksum.
        """
        indices = np.asarray(indices, np.int64)
        image = np.empty((indices.size, *self._cell.image), self._cell.dtype)
        label = np.empty((indices.size, *self._cell.label), np.uint8)
        for i, (path, position) in enumerate(self._locate(indices)):
            self._shards.read(path, store.IMAGE, position, image[i])
            self._shards.read(path, store.LABEL, position, label[i])
        return image, label

    def polygon(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n, y, x) The row of `fractions` that each pixel's polygon has, 0 where it has none; patches as in `take`.

        Raises:
            IndexError: an index lies outside 0 to len - 1.
            IncompleteError: a store keeps no polygons, lacks a chunk, or its bytes have the wrong checksum.
        """
        indices = np.asarray(indices, np.int64)
        row = np.empty((indices.size, *self._cell.label), np.int32)
        number = np.empty(self._cell.label, np.uint32)
        for i, (path, position) in enumerate(self._locate(indices)):
            self._shards.read(path, store.POLYGON, position, number)
            row_of = self._declared[1][path]
            row[i] = row_of[np.minimum(number, len(row_of) - 1)]
        return row

    def fractions(self) -> NDArray[np.float32]:
        """(row, class) Class fractions of polygons whose pixels have no class, of all tiles and splits; row 0 is 0.

        Raises:
            IncompleteError: a store keeps no fractions.
        """
        return self._declared[0]

    @property
    def keeps_fractions(self) -> bool:
        """Whether every store of the dataset holds polygons and their class fractions."""
        return all((path / store.SHARE).is_dir() for path in self._all_stores)

    @cached_property
    def _declared(self) -> tuple[NDArray[np.float32], dict[Path, NDArray[np.int32]]]:
        """The fractions, and of each store the row of a polygon's number; the last entry, of numbers beyond, is 0."""
        tables, rows, used = [np.zeros((1, self._cell.classes), np.float32)], {}, 1
        for path in self._all_stores:
            fraction = store.read_fractions(path)
            declared = fraction.any(axis=1)
            rows[path] = np.append(np.where(declared, declared.cumsum() + used - 1, 0), 0).astype(np.int32)
            tables.append(fraction[declared])
            used += int(declared.sum())
        return np.concatenate(tables), rows

    def _locate(self, indices: NDArray[np.int64]) -> Iterator[tuple[Path, int]]:
        """The store of each patch, and its position there."""
        if indices.size and not (indices.min() >= 0 and indices.max() < len(self)):
            raise IndexError(f"patches {indices.min()} to {indices.max()} of a split of {len(self)}")
        tiles = np.searchsorted(self._ends, indices, side="right") - 1
        for tile, index in zip(tiles.tolist(), indices.tolist(), strict=True):
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


class PatchShape:
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
    by_tile = [(entry, np.flatnonzero(splits.decode(entry.patch_roles) == role)) for entry in entries]
    used = [(entry, positions) for entry, positions in by_tile if positions.size]
    missing = [entry for entry, _ in used if not _store(home, entry).is_dir()]
    if missing:
        fix = "materialise the asset `patches`, then the manifest"
        raise IncompleteError(*(Problem(str(_store(home, e)), "no such store", f"tile {e.name}", fix) for e in missing))
    stores, names = [_store(home, entry) for entry, _ in used], [entry.name for entry, _ in used]
    cut = [_store(home, entry) for entry in entries if entry.patch_roles]
    return PatchReader(stores, names, [positions for _, positions in used], PatchShape(manifest), cut)


def _store(home: Path, entry: TileEntry) -> Path:
    return home / entry.patches / store.STORE
