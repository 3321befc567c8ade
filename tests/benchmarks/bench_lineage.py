"""What Dagster adds to a tile: the lineage's time a partition, less the library's own time on the same tiles."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TILES = 50


def main() -> dict[str, float]:
    """Prints seconds a tile through Dagster and without, for ground truth and patches of tiny tiles."""
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(Path(folder))
    added = (found["lineage"] - found["library"]) / TILES
    print(
        f"lineage: {found['lineage'] / TILES * 1000:.0f} ms a tile in a run of {TILES} (ground truth + patches), "
        f"{found['library'] / TILES * 1000:.0f} ms of them the library's own: Dagster adds {added * 1000:.0f} ms a tile"
    )
    return {**found, "added": added}


def _measure(folder: Path) -> dict[str, float]:
    import dagster as dg

    from assets.materialise import materialise
    from landcover_orch import config
    from landcover_orch.ground_truth import build as truth
    from landcover_orch.patches import write
    from landcover_orch.tiles import catalogue
    from tests import tiny

    for kind in ("datasets", "legends", "experiments"):
        (folder / "configs" / kind).mkdir(parents=True)
    os.environ["LANDCOVER_CONFIGS"] = str(folder / "configs")
    dataset = tiny.write(folder / "configs", folder / "raw", tiles=TILES)
    legend = config.load_legend(dataset.legend)

    def library() -> None:
        home = folder / "library"
        for tile in catalogue.tiles(dataset):
            truth.build(dataset, legend, tile, home)
            write.build(dataset, legend, tile, home)

    def lineage() -> None:
        os.environ["LANDCOVER_HOME"] = str(folder / "lineage")
        (folder / "dagster").mkdir()
        with (
            dg.DagsterInstance.local_temp(str(folder / "dagster")) as dagster,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            materialise(dagster, dataset, ("ground_truth", "patches"))

    logging.disable(logging.INFO)
    truth.build(dataset, legend, catalogue.tiles(dataset)[0], folder / "warm")
    found = {"library": _seconds(library), "lineage": _seconds(lineage)}
    logging.disable(logging.NOTSET)
    del os.environ["LANDCOVER_CONFIGS"]
    return found


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
