"""`python -m assets.demo`: the whole lineage on a generated landscape, through Dagster, into LANDCOVER_HOME."""

from __future__ import annotations

import os
import time

from assets import instance
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.pages import page
from landcover_orch.store.products import DATASET_MANIFEST, MANIFEST_NAME, PAGE, REPORT, SUMMARY

NAME = "demo"


def main() -> int:
    """Runs the demonstration; a second run says that all is up to date."""
    started = time.perf_counter()
    instance.prepare()
    dataset = config.load_dataset(NAME)
    write_landscape(dataset)
    print("Materialising the lineage:")
    with instance.opened() as dagster:
        outcome = materialise(dagster, dataset)
    print_summary(dataset, outcome.runs, time.perf_counter() - started)
    return 0


def write_landscape(dataset: Dataset) -> None:
    """Writes the generated landscape where it is missing."""
    from landcover_orch.synthetic import landscape

    names = landscape.write(dataset.folder)
    print(f"Landscape: {len(names)} tiles in {os.path.relpath(dataset.folder)}")


def print_summary(dataset: Dataset, runs: int, seconds: float) -> None:
    """Prints the scores, the champion and where to look next."""
    from landcover_orch import tracking
    from landcover_orch.evaluation import champion as election
    from landcover_orch.evaluation.build import current_reports

    summary_line = f"{runs} runs in {seconds:.0f} s" if runs else f"Everything is up to date ({seconds:.0f} s)"
    print(f"{summary_line}. Test tiles: {', '.join(dataset.splits.test.tiles)}.\n")
    for name, product in current_reports(dataset, config.home()).items():
        summary = product.json(SUMMARY)
        scores = "  ".join(f"{key} {page.format_ratio(summary[key])}" for key in ("accuracy", "mean_iou", "mean_f1"))
        page_there = config.home() / dataset.name / REPORT / name / PAGE
        print(f"  {name:<14} {scores}\n  {'':<14} {os.path.relpath(page_there)}")
    current_champion = election.load(dataset.name, config.home())
    version = tracking.champion(dataset.name, config.home())
    registered = f"registered as {dataset.name} version {version.version if version else '?'}"
    print(f"\nChampion: {current_champion.experiment}, {registered}")
    manifest_page = config.home() / dataset.name / DATASET_MANIFEST / MANIFEST_NAME / PAGE
    print(f"First look at the data: {os.path.relpath(manifest_page)}")
    print("Open the UIs: make ui")


if __name__ == "__main__":
    raise SystemExit(main())
