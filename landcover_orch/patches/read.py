"""Random batches of patches from the stores of a dataset, fast enough for training."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.patches import splits, store
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, TileEntry

Arrays = tuple[NDArray[Any], NDArray[np.uint8]]

CACHE_BYTES = 64 * 2**20
"""Bytes of shard indices and patches that stay in memory, over all stores of a reader."""


class PatchReader:
    """The patches of one split, in the order of tile names, then of each store.

    Holds paths and positions alone until patches are taken: stores are opened by the process and at the time they are
    read, so that a reader can be sent to a spawned process. Threads may take at the same time.
    """

    def __init__(self, stores: list[Path], tiles: list[str], positions: list[NDArray[np.int64]], cell: _Cell) -> None:
        self._stores, self._tiles, self._positions, self._cell = stores, tiles, positions, cell
        self._ends = np.cumsum([0, *(found.size for found in positions)])
        self._opened = _Opened()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, indices: NDArray[np.int64]) -> Arrays:
        """Image (n, band, y, x) in the dataset's dtype and label (n, y, x) uint8 of patches, in the order asked for.

        Raises:
            IndexError: an index lies outside 0 to len - 1.
            IncompleteError: a store lacks a chunk, or its bytes have the wrong checksum.
        """
        wanted = np.asarray(indices, np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"patches {wanted.min()} to {wanted.max()} of a split of {len(self)}")
        image = np.empty((wanted.size, *self._cell.image), self._cell.dtype)
        label = np.empty((wanted.size, *self._cell.label), np.uint8)
        tiles = np.searchsorted(self._ends, wanted, side="right") - 1
        asked = [self._ask(int(tile), np.flatnonzero(tiles == tile), wanted) for tile in np.unique(tiles)]
        for places, path, futures in asked:
            image[places], label[places] = _answers(path, futures)
        return image, label

    def _ask(
        self, tile: int, places: NDArray[np.intp], wanted: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], Path, tuple[Any, Any]]:
        """Starts reading what one store holds of a batch."""
        path = self._stores[tile]
        positions = self._positions[tile][wanted[places] - self._ends[tile]]
        image, label = self._opened.arrays(path)
        return places, path, (image[positions].read(), label[positions].read())

    def tile_of(self, index: int) -> str:
        """Name of the tile that a patch was cut from."""
        return self._tiles[int(np.searchsorted(self._ends, index, side="right")) - 1]


def _answers(path: Path, futures: tuple[Any, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        return futures[0].result(), futures[1].result()
    except ValueError as error:
        raise store.damaged(path, error) from error


class _Cell:
    """Shapes and dtype of one patch."""

    def __init__(self, manifest: DatasetManifest) -> None:
        size = manifest.dataset.patches.size
        self.image, self.label = (len(manifest.dataset.bands), size, size), (size, size)
        self.dtype = np.dtype(manifest.dataset.dtype)


class _Opened:
    """Stores opened by this process; sent to another process it arrives empty."""

    def __init__(self) -> None:
        self._process, self._lock = os.getpid(), threading.Lock()
        self._context: Any = None
        self._arrays: dict[Path, tuple[Any, Any]] = {}

    def __reduce__(self) -> tuple[type[_Opened], tuple[()]]:
        return _Opened, ()

    def arrays(self, path: Path) -> tuple[Any, Any]:
        """Image and label of a store."""
        if os.getpid() != self._process:
            raise RuntimeError("patches were read before a fork, which tensorstore does not survive: use spawn")
        with self._lock:
            if path not in self._arrays:
                opened = partial(store.open_array, path, context=self._shared_context())
                self._arrays[path] = opened(store.IMAGE), opened(store.LABEL)
            return self._arrays[path]

    def _shared_context(self) -> Any:
        import tensorstore

        if self._context is None:
            self._context = tensorstore.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
        return self._context


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
    return PatchReader(stores, names, [positions for _, positions in used], _Cell(manifest))


def _store(home: Path, entry: TileEntry) -> Path:
    return home / entry.patches / store.STORE
