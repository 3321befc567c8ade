"""`python -m assets.observe [DATASET ...]`: tells Dagster of the tiles that there are, so that a click finds them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import dagster as dg

from assets import instance, instigators, overview
from assets.lineage import sources
from landcover_orch import config
from landcover_orch.errors import LandcoverError
from landcover_orch.planner.retention import left_behind


def main(names: Sequence[str]) -> int:
    """Observes the files of datasets, of all that are served where none is named; prints a line each.

    Of the latter those with a fault in their configuration are left out: loading the definitions named it.
    """
    from assets import status  # loads all definitions

    with instance.opened() as dagster:
        if not names:
            end_departed(dagster)
        for name in names or [name for name in config.served_datasets() if config.fault(name) is None]:
            try:
                dataset = config.load_dataset(name)
                observed = sources.observe(dagster, dataset)
                if overview.last_state(dagster, name).current is None:  # pages say that it was looked at
                    overview.record_state(dagster, dataset, status.status(dataset, dagster).plan)
            except LandcoverError as error:
                print(f"{name}: {error}", flush=True)
                continue
            if str(observed):
                print(f"{name}: {observed}", flush=True)
            for text in observed.waiting:
                print(f"{name}: waits: {text}", flush=True)
    return 0


def end_departed(dagster: dg.DagsterInstance) -> None:
    """Ends sensors and schedules without a definition; says so, and what stays on disk of what was taken out."""
    if (problem := config.missing_configs()) is not None:
        print(problem, flush=True)
    for name in instigators.end_departed(dagster):
        print(f"{name}: ended, its definition is gone", flush=True)
    for text in left_behind(config.home()):
        print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
