"""`python -m assets.demo`: the whole lineage on a generated landscape, through Dagster, into LANDCOVER_HOME."""

from __future__ import annotations

import os
import time

from assets import instance, summary
from assets.cli import exit_codes
from assets.materialise import materialise, print_line
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import pluralise

NAME = "demo"


def main() -> int:
    """Runs the demonstration; a second run says that all is up to date."""
    started = time.perf_counter()
    instance.prepare()
    dataset = config.load_dataset(NAME)
    write_landscape(dataset)
    print_line("Materialising the lineage:")
    with instance.opened() as dagster:
        outcome = materialise(dagster, dataset)
        for line in summary.lines(dagster, dataset, outcome, time.perf_counter() - started):
            print_line(line)
    return 0


def write_landscape(dataset: Dataset) -> None:
    """Writes the generated landscape where it is missing."""
    from landcover_orch.synthetic import landscape

    names = landscape.write(dataset.folder)
    print_line(f"Landscape: {pluralise(len(names), 'tile')} in {os.path.relpath(dataset.folder)}")


if __name__ == "__main__":
    with exit_codes():
        raise SystemExit(main())
