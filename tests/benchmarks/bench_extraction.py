"""Ground truth and patches of a mosaic: Mpx a CPU-second against decoding and encoding alone, files, peak memory."""

from __future__ import annotations

import os
import tempfile
import time
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch import raster
from landcover_orch.grid import Window, windows
from landcover_orch.ground_truth import build as truth
from landcover_orch.patches import write
from landcover_orch.tiles.catalogue import tiles
from tests.benchmarks import mosaic_dataset

SAMPLE_ROWS = 2048
"""Rows that the limit is measured on."""


def main(shape: tuple[int, int] = (6144, 6144)) -> dict[str, Any]:
    """Prints and gives the figures of ground truth and patches, each built in a process of its own."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        dataset = mosaic_dataset.write(Path(folder) / "raw", shape)
        found = {
            **_measured("ground truth", _truth, dataset, folder),
            **_measured("patches", _patches, dataset, folder),
        }
        found["limit, decode + encode Mpx/CPU-s"] = _limit(Path(folder), shape)
    found["ratio"] = found["patches Mpx/CPU-s"] / found["limit, decode + encode Mpx/CPU-s"]
    print(f"extraction, {shape[0]} x {shape[1]} px, 3 bands, patches of 256 px")
    for name, value in found.items():
        print(f"  {name}: {value:.2f}")
    return found


def _measured(name: str, work: Any, dataset: Any, folder: str) -> dict[str, float]:
    with get_context("spawn").Pool(1) as pool:
        pixels, cpu, wall, peak, files = pool.apply(work, (dataset, folder))
    return {
        f"{name} Mpx/CPU-s": pixels / cpu / 1e6,
        f"{name} Mpx/s": pixels / wall / 1e6,
        f"{name} peak MiB": peak / 2**20,
        f"{name} files": files,
    }


def _truth(dataset: Any, folder: str) -> tuple[float, ...]:
    return _timed(truth.build, dataset, folder)


def _patches(dataset: Any, folder: str) -> tuple[float, ...]:
    return _timed(write.build, dataset, folder)


def _timed(build: Any, dataset: Any, folder: str) -> tuple[float, ...]:
    for heavy in ("dask.threaded", "tensorstore", "zarr"):  # a second of start-up is no part of the speed
        import_module(heavy)
    (tile,) = tiles(dataset)
    cpu, wall = time.process_time(), time.perf_counter()
    product = build(dataset, mosaic_dataset.LEGEND, tile, Path(folder) / "home")
    pixels = int(np.prod(raster.inspect(tile.image).shape))
    cost = product.cost
    return (
        pixels,
        time.process_time() - cpu,
        time.perf_counter() - wall,
        float(cost.peak_bytes or 0),
        len(product.files),
    )


def _limit(folder: Path, shape: tuple[int, int]) -> float:
    """Mpx a CPU-second of decoding rows once and encoding every patch, image and label, with nothing else."""
    from numcodecs import Zstd

    codec, rows = Zstd(level=1), min(SAMPLE_ROWS, shape[0])
    start = time.process_time()
    classes = folder / "home" / "mosaic" / "ground_truth" / "t" / truth.CLASS_RASTER
    for path in (folder / "raw" / "t.tif", classes):
        with raster.reader(raster.inspect(path), nodata="none") as source:
            for row in range(0, rows, 512):
                data = source.read(Window(row, 0, min(512, rows - row), shape[1]))
                for box in windows(data.shape[1:], 256, 256, "drop"):
                    codec.encode(np.ascontiguousarray(data[:, box.slices[0], box.slices[1]]))
    return rows * shape[1] / (time.process_time() - start) / 1e6


if __name__ == "__main__":
    main()
