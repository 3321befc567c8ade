"""How long Dagster's pages of a dataset of 150 tiles take to show, beside those of one of three."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from landcover_orch.config import Dataset
from tests import tiny
from tests.benchmarks.tiny_dataset import tiny_dataset

MANY, FEW = 150, 3


def main() -> dict[str, dict[int, float]]:
    """Prints seconds until a page shows what it is opened for, with three tiles and with 150."""
    found: dict[str, dict[int, float]] = {}
    for tiles in (FEW, MANY):
        with tempfile.TemporaryDirectory() as folder, tiny_dataset(Path(folder), tiles) as dataset:
            for name, seconds in measure(Path(folder), dataset).items():
                found.setdefault(name, {})[tiles] = seconds
    for name, seconds in found.items():
        print(f"{name}: {seconds[FEW]:.1f} s with {FEW} tiles, {seconds[MANY]:.1f} s with {MANY}")
    return found


def measure(folder: Path, dataset: Dataset) -> dict[str, float]:
    """Page -> seconds, the second time that it is opened."""
    from assets import instance
    from assets.materialise import materialise
    from tests.day.browser import opened
    from tests.end_to_end.served import Served

    with instance.opened() as dagster, contextlib.redirect_stdout(io.StringIO()):
        materialise(dagster, dataset, ("ground_truth", "patches"))
        run = dagster.get_runs(limit=1)[0].run_id
    with Served(folder) as served, opened(folder / "pictures") as browser:
        page, asset = browser.page, f"{served.url}/assets/{tiny.NAME}/ground_truth"

        def dialog() -> None:
            browser.open(asset)
            browser.click("Materialize")
            browser.click("All", exact=True)
            page.get_by_role("button", name=re.compile(r"^Launch (backfill|run)")).last.wait_for()

        def opened_page(address: str, text: str) -> Callable[[], None]:
            def show() -> None:
                browser.open(address)
                browser.see(text)

            return show

        looks = {
            "an asset": opened_page(asset, "codes"),
            "its partitions": opened_page(f"{asset}?view=partitions", "t0"),
            "its dialog": dialog,
            "a run's event log": opened_page(f"{served.url}/runs/{run}", "ASSET_MATERIALIZATION"),
            "the index page": opened_page(f"{served.url}/pages/{tiny.NAME}/", tiny.NAME),
        }
        return {name: [seconds(look) for _ in range(2)][1] for name, look in looks.items()}


def seconds(look: Callable[[], None]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    look()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
