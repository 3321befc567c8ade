"""What Dagster adds to a tile: the lineage's CPU time, less the library's own on the same tiles."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from landcover_orch.config import Dataset
from tests.benchmarks.tiny_dataset import tiny_dataset

TILES = 150


def main() -> dict[str, float]:
    """Prints CPU seconds a tile through Dagster and without, for ground truth and patches of tiny tiles."""
    with tempfile.TemporaryDirectory() as folder, tiny_dataset(Path(folder), TILES) as dataset:
        found = _measure(Path(folder), dataset)
    added = found["lineage"] - found["library"]
    print(
        f"lineage: {found['lineage'] / TILES * 1000:.0f} CPU-ms a tile of {TILES} (ground truth + patches), "
        f"{found['library'] / TILES * 1000:.0f} ms of them the library's own: Dagster's share is "
        f"{added / found['lineage']:.0%}"
    )
    return {**found, "share": added / found["lineage"]}


def _measure(folder: Path, dataset: Dataset) -> dict[str, float]:
    from assets import instance
    from assets.lineage.patches import damage
    from assets.materialise import materialise
    from landcover_orch import config
    from landcover_orch.checks.dataset import check
    from landcover_orch.ground_truth import build as truth
    from landcover_orch.ground_truth.areas import area_problems
    from landcover_orch.labels.fingerprints import tile_fingerprints
    from landcover_orch.patches import write
    from landcover_orch.store.fingerprint import MEMORY
    from landcover_orch.store.products import SUMMARY
    from landcover_orch.tiles import catalogue

    legend = config.load_legend(dataset.legend)

    def library() -> None:
        home = folder / "library"
        for tile in catalogue.tiles(dataset):  # what an asset and its checks do for a tile
            tile_fingerprints(tile, home / MEMORY)
            check(dataset, legend, [tile]).raise_problems()
            area_problems(truth.build(dataset, legend, tile, home).json(SUMMARY))
            damage(write.build(dataset, legend, tile, home).path)

    def lineage() -> None:
        with instance.opened() as dagster, contextlib.redirect_stdout(io.StringIO()):
            materialise(dagster, dataset, ("ground_truth", "patches"))

    logging.disable(logging.INFO)
    truth.build(dataset, legend, catalogue.tiles(dataset)[0], folder / "warm")
    found = {"library": _seconds(library), "lineage": _seconds(lineage)}
    logging.disable(logging.NOTSET)
    return found


def _seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
