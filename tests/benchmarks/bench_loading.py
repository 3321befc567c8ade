"""Random training batches from stores against a memory map of the same patches: plain and varied, by two threads.

Both stores hold the same patches, photographs as the generated landscape makes them (noise of a sensor included). All
sources are read in turn, round by round, so that other work on the machine meets all alike.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from landcover_orch.config.experiments import Augmentation
from landcover_orch.ground_truth import build as truth
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import manifest, store, write
from landcover_orch.patches.read import open_split
from landcover_orch.tiles.catalogue import tiles
from landcover_orch.training import augmentation
from landcover_orch.training.cache import Resident
from landcover_orch.training.distributed.process import keep_memory
from landcover_orch.training.loader import THREADS, Arrays, Batches, PatchSource, in_order
from tests.benchmarks import mosaic_dataset

BATCH, BATCHES, ROUNDS = 16, 32, 20
MAP, PLAIN, ZSTD = "memory map", "store, uncompressed", "store, zstd"
LIBRARIES, LIBRARY_TURNS = ("tensorstore", "zarr"), 5
"""What else reads the stores, in each fifth round as it takes long: whether a reader of our own pays."""

BANDS = augmentation.Bands(*(np.full(3, value, np.float32) for value in (100, 40, 0, 255)))


def main(shape: tuple[int, int] = (8192, 16384)) -> dict[str, Any]:
    """Prints and gives images/s of each source, plain and augmented, and their ratio to the memory map's.

    Each figure is that of the best round, which other programs disturbed least. The ratio is that of the CPU time of
    all threads, which they disturb less than the clock.
    """
    keep_memory()  # as the training process does
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        described = build(folder, shape, compression=("none", "zstd"))
        sources: dict[str, PatchSource] = {
            PLAIN: open_split(described["none"], folder / "none", "train"),
            ZSTD: open_split(described["zstd"], folder / "zstd", "train"),
        }
        for kind, name in (("none", PLAIN), ("zstd", ZSTD)):
            path = next((folder / kind).glob("*/patches/*/patches.zarr"))
            sources |= {f"{name}, by {library}": Whole(path, library, sources[name]) for library in LIBRARIES}
        sources = {MAP: mapped(sources[PLAIN], folder), **sources}
        require_equal(sources)
        return _say(len(sources[MAP]), _measured(sources))


def build(folder: Path, shape: tuple[int, int], compression: tuple[str, ...], size: int = 256) -> dict[str, Any]:
    """The manifest of a dataset for each kind of store, below folders of their names; every patch trains."""
    plain = mosaic_dataset.write(folder / "raw", shape)
    found = {}
    for kind in compression:
        cut = {"size": size, "stride": size, "compression": kind}
        dataset = plain.model_validate({**plain.model_dump(), "splits": {}, "patches": cut})
        (tile,) = tiles(dataset)
        for step in (truth.build, write.build):
            step(dataset, mosaic_dataset.LEGEND, tile, folder / kind)
        product = manifests.build(dataset, mosaic_dataset.LEGEND, [tile], folder / kind)
        found[kind] = manifest.load(product.path)
    return found


def mapped(source: PatchSource, folder: Path) -> PatchSource:
    """The limit: the same patches as two raw arrays in mapped files, of which batches are taken with `np.take`."""
    parts = []
    for part, name in zip(source.take(np.arange(len(source))), ("image", "label"), strict=True):
        part.tofile(folder / name)
        parts.append(np.asarray(np.memmap(folder / name, part.dtype, "r", shape=part.shape)))
    return Resident(parts[0], parts[1], source)


class Whole:
    """Patches of one store, read by a library.

    Args:
        path: of the store.
        library: `tensorstore` or `zarr`.
        source: ours, of the same patches.
    """

    def __init__(self, path: Path, library: str, source: PatchSource) -> None:
        self.source, self.library = source, library
        if library == "zarr":
            group = zarr.open_group(path, mode="r")
            self.arrays = [group[name] for name in (store.IMAGE, store.LABEL)]
        else:
            self.arrays = [store.open_array(path, name) for name in (store.IMAGE, store.LABEL)]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, indices: NDArray[np.int64]) -> Arrays:
        """Images and labels of patches."""
        if self.library == "zarr":
            image, label = (array.oindex[indices] for array in self.arrays)
        else:
            image, label = (read.result() for read in [array[indices].read() for array in self.arrays])
        return image, label

    @property
    def class_count(self) -> NDArray[np.int64]:
        """(patch, class) labelled pixels."""
        return self.source.class_count


def require_equal(sources: dict[str, PatchSource]) -> None:
    """Raises RuntimeError where a source gives other patches: rates would compare nothing."""
    some = np.random.default_rng(0).integers(0, len(sources[MAP]), BATCH)
    right = sources[MAP].take(some)
    for name, source in sources.items():
        if not all(np.array_equal(a, b) for a, b in zip(source.take(some), right, strict=True)):
            raise RuntimeError(f"{name}: other patches than those of the memory map")


def vary(step: int, arrays: Arrays) -> Arrays:
    """The default augmentation: flips, right angles, brightness, contrast."""
    drawn = augmentation.draw(arrays[0].shape, Augmentation(), 0, 0, step)
    return augmentation.on_host(*arrays, drawn, BANDS)


Rates = dict[tuple[str, bool], list[tuple[float, float]]]
"""(source, augmented) -> for each round the seconds of the clock and of the CPU an image."""


def _measured(sources: dict[str, PatchSource]) -> Rates:
    random, count = np.random.default_rng(0), len(sources[MAP])
    own = {name: source for name, source in sources.items() if not isinstance(source, Whole)}
    kinds = [*((name, False) for name in sources), *((name, True) for name in own)]
    found: Rates = {kind: [] for kind in kinds}
    for turn in range(ROUNDS):
        for name, augmented in kinds:
            if name in own or turn % LIBRARY_TURNS == 0:
                order = in_order(random.integers(0, count, BATCHES * BATCH), BATCH)
                found[name, augmented].append(_pass(sources[name], order, augmented=augmented))
    return found


def _pass(source: PatchSource, order: list[NDArray[np.int64]], *, augmented: bool) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in Batches(source, order, vary if augmented else None):
        pass
    images = sum(len(step) for step in order)
    return (time.perf_counter() - wall) / images, (time.process_time() - cpu) / images


def _say(count: int, found: Rates) -> dict[str, Any]:
    print(f"loading, {count} patches of 3 x 256 x 256 with labels, batches of {BATCH}, {THREADS} threads")
    said: dict[str, Any] = {}
    best = {kind: tuple(map(min, zip(*rounds, strict=True))) for kind, rounds in found.items()}
    for (name, augmented), (wall, cpu) in best.items():
        what, ratio = f"{name}{', augmented' if augmented else ''}", best[MAP, augmented][1] / cpu
        said[what] = {"images/s": 1 / wall, "images/CPU-s": 1 / cpu, "ratio": ratio}
        print(f"  {what:36s}{1 / wall:8,.0f} images/s {1 / cpu:8,.0f} images/CPU-s   {ratio:5.2f} of the memory map")
    return said


if __name__ == "__main__":
    main()
