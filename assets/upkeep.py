"""Findings of `landcover doctor` beyond the machine: what was taken out and stays on disk, Dagster's history."""

from __future__ import annotations

from collections.abc import Iterator

from landcover_orch import config
from landcover_orch.checks.doctor import Finding
from landcover_orch.errors import LandcoverError, pluralise
from landcover_orch.planner.retention import left_behind


def findings(*, history: bool = False) -> Iterator[Finding]:
    """What stays on disk of what was taken out of the configurations; on demand, Dagster's history against the disk."""
    yield from (Finding("Taken out", text) for text in left_behind(config.home()))
    if history:
        yield from compare_history()


def compare_history() -> Iterator[Finding]:
    """Whether Dagster's history says of each served dataset what is on disk; loads Dagster, which nothing else does."""
    from assets import instance
    from assets.definitions import lineage
    from assets.graph import asset_graph
    from assets.history import differences
    from landcover_orch.planner import plan

    with instance.opened() as dagster:
        for name in config.served_datasets():
            try:
                dataset = config.load_dataset(name)
                missing = differences(dagster, dataset, plan(asset_graph(dataset, lineage(dataset), dagster)))
            except LandcoverError as error:
                yield Finding(f"History of {name}", error.problems[0].found)
                continue
            text, fix = pluralise(len(missing), "current product"), f"landcover materialise {name}"
            text += " that Dagster does not know"
            yield Finding(f"History of {name}", text, fix) if missing else Finding(f"History of {name}", "as on disk")
