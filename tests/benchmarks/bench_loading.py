"""Random training batches from a patch store, against a memory map and `np.take` of the same patches."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch.ground_truth import truth
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import manifest, write
from landcover_orch.patches.read import open_split
from landcover_orch.raw.catalogue import tiles
from tests.benchmarks import mosaic_dataset

BATCH, BATCHES = 16, 120
LARGEST = 8192


def main(shape: tuple[int, int] = (4096, 4096)) -> dict[str, Any]:
    """Prints and gives patches a CPU-second of `take`, of a memory map, of `np.take`, and the ratio to the map."""
    side = (min(shape[0], LARGEST), min(shape[1], LARGEST))
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        reader = _reader(folder, side)
        order = np.random.default_rng(0).integers(0, len(reader), (BATCHES, BATCH))
        images = reader.take(np.arange(len(reader)))[0]
        np.save(folder / "flat.npy", images)
        flat = np.load(folder / "flat.npy", mmap_mode="r")
        found = {
            "take patches/CPU-s": _speed(reader.take, order),
            "limit, memory map patches/CPU-s": _speed(lambda some: np.stack([flat[i] for i in some]), order),
            "np.take in memory patches/CPU-s": _speed(lambda some: np.take(images, some, axis=0), order),
        }
    found["ratio"] = found["take patches/CPU-s"] / found["limit, memory map patches/CPU-s"]
    print(f"loading, {len(reader)} patches of 3 x 256 x 256 with labels, batches of {BATCH}")
    for key, value in found.items():
        print(f"  {key}: {value:.2f}")
    return found


def _reader(folder: Path, shape: tuple[int, int]) -> Any:
    dataset, home = mosaic_dataset.write(folder / "raw", shape), folder / "home"
    dataset = dataset.model_copy(update={"splits": dataset.splits.model_validate({})})
    (tile,) = tiles(dataset)
    for build in (truth.build, write.build):
        build(dataset, mosaic_dataset.LEGEND, tile, home)
    product = manifests.build(dataset, mosaic_dataset.LEGEND, [tile], home)
    return open_split(manifest.load(product.path), home, "train")


def _speed(take: Callable[[Any], Any], order: np.ndarray[Any, Any]) -> float:
    take(order[0])
    start = time.process_time()
    for some in order:
        take(some)
    return order.size / (time.process_time() - start)


if __name__ == "__main__":
    main()
