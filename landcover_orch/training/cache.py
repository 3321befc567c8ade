"""Patch cache: decoded patches between epochs, in memory or in a memory-mapped file; the source of training batches."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from landcover_orch.config import file_label
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import Problem, TrainingError, pluralise
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.publish import Recipe, Stage
from landcover_orch.training.distributed.process_group import init_process_group
from landcover_orch.training.loader import THREADS, Arrays, PatchSource, PolygonSource, in_order

ASSET = "cache"
VERSION = 1
BATCH = 32
"""Patches that a thread copies at a time."""

RESERVE = 2 * 2**30
"""Bytes of memory that the cache leaves to the training itself."""

IMAGE, LABEL = "image.npy", "label.npy"
CGROUP = Path("/sys/fs/cgroup")


def open_source(manifest: DatasetManifest, home: Path, split: str, experiment: Experiment) -> PatchSource:
    """The patches of a split, cached as the experiment says; the same whatever its cache.

    Raises:
        TrainingError: the split is empty, or does not fit the cache.
    """
    # Imported here: a machine that trains on other patches needs no zarr.
    from landcover_orch.patches.read import open_split

    source: PatchSource = open_split(manifest, home, split)
    if len(source) == 0:
        where = f"{file_label('datasets', manifest.dataset.name)}: splits"
        fix = "take fewer tiles from training" if split == "train" else f"give `splits.{split}` tiles or blocks"
        raise TrainingError(Problem(where, f"no patch in the {split} split", "at least one", fix))
    where = file_label("experiments", experiment.name)
    if experiment.cache == "memory":
        return in_memory(source, where)
    if experiment.cache == "disk":
        return on_disk(source, home / manifest.dataset.name / ASSET, split, manifest.digest, where)
    return source


class Resident:
    """All patches of a source in two arrays, in memory or mapped into it."""

    def __init__(self, image: NDArray[Any], label: NDArray[np.uint8], source: PatchSource) -> None:
        self._image, self._label, self._source = image, label, source

    def __len__(self) -> int:
        return len(self._label)

    def take(self, indices: NDArray[np.int64]) -> Arrays:
        """Images (n, band, y, x) in their raw dtype, and labels (n, y, x) uint8."""
        return np.take(self._image, indices, axis=0), np.take(self._label, indices, axis=0)

    def class_count(self) -> NDArray[np.int64]:
        """Labelled pixels (patch, class)."""
        return self._source.class_count()

    @property
    def keeps_fractions(self) -> bool:
        """Whether the source has polygons with class fractions."""
        return isinstance(self._source, PolygonSource) and self._source.keeps_fractions

    def polygon(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n, y, x) Rows of `fractions`, 0 for none; read from the source each time, where they take few bytes."""
        return self._polygons.polygon(indices)

    def fractions(self) -> NDArray[np.float32]:
        """(row, class) Declared class fractions."""
        return self._polygons.fractions()

    @property
    def _polygons(self) -> PolygonSource:
        if not isinstance(self._source, PolygonSource):
            raise TypeError("patches without polygons")
        return self._source


def in_memory(source: PatchSource, where: str) -> Resident:
    """The source's patches, read once into memory; each process of a training has its own.

    Args:
        source: at least one patch.
        where: the setting, for the error.

    Raises:
        TrainingError: they do not fit what memory there is.
    """
    free = free_memory() // init_process_group().local - RESERVE
    _require(source, free, f"{where}: cache", "memory, less 2 GiB for the training", "cache: disk")
    shapes = _shapes(source)
    image, label = (np.empty(shape, dtype) for shape, dtype in shapes)
    _copy(source, image, label)
    return Resident(image, label, source)


def on_disk(source: PatchSource, folder: Path, split: str, digest: str, where: str) -> Resident:
    """The source's patches in a file that is mapped into memory, written once for a manifest.

    A cache of the same split for another manifest is removed first; a training that still maps it reads on.

    Args:
        source: at least one patch.
        folder: where caches of the dataset lie.
        split: name of the cache.
        digest: the manifest's.
        where: the setting, for the error.

    Raises:
        TrainingError: they do not fit the disk.
        BusyError: another process is writing this cache.
    """

    def write(stage: Stage) -> None:
        for old in folder.glob(f"{split}-*"):
            shutil.rmtree(old)
        _require(source, shutil.disk_usage(folder).free, f"{where}: cache", f"disk at {folder}", "cache: none")
        image, label = (
            np.lib.format.open_memmap(stage.path / name, "w+", dtype, shape)
            for name, (shape, dtype) in zip((IMAGE, LABEL), _shapes(source), strict=True)
        )
        _copy(source, image, label)
        image.flush()
        label.flush()

    recipe = Recipe(ASSET, VERSION, inputs={"manifest": digest}, configuration={"split": split})
    product = publish.publish(folder, split, recipe, write)
    image, label = (np.asarray(np.load(product.file(name), mmap_mode="r")) for name in (IMAGE, LABEL))
    return Resident(image, label, source)


def _shapes(source: PatchSource) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and dtype of all images, and of all labels."""
    return [((len(source), *array.shape[1:]), array.dtype) for array in source.take(np.zeros(1, np.int64))]


def _copy(source: PatchSource, image: NDArray[Any], label: NDArray[np.uint8]) -> None:
    def copy(indices: NDArray[np.int64]) -> None:
        image[indices], label[indices] = source.take(indices)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(copy, in_order(np.arange(len(source)), BATCH)):
            pass


def _require(source: PatchSource, free: int, where: str, capacity: str, fix: str) -> None:
    needed = sum(int(np.prod(shape, dtype=object)) * dtype.itemsize for shape, dtype in _shapes(source))
    if needed > free:
        size = f"{pluralise(len(source), 'patch')} of {needed / 2**30:.1f} GiB"
        raise TrainingError(
            Problem(where, size, f"at most the {max(free, 0) / 2**30:.1f} GiB of {capacity}", f"set `{fix}`")
        )


def free_memory() -> int:
    """Bytes that this process may still use: of the machine, and of its container where that has less (cgroup v2)."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used, stat = ((CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current", "stat"))
    except OSError:
        return free
    files = int(dict(line.split() for line in stat.splitlines())["file"])  # read again, should their memory be needed
    return free if limit == "max" else min(free, int(limit) - int(used) + files)
