"""Materialisation of all that is missing or stale of a dataset, stage by stage, in this process."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from assets import jobs, raw, staleness
from assets.console import lines
from landcover_orch.config import Dataset

JOB = "materialise"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def materialise(dagster: dg.DagsterInstance, dataset: Dataset, assets: Sequence[str] = jobs.EVERYTHING) -> int:
    """Materialises what is missing or stale of a dataset, in the order of the lineage; gives the number of runs.

    Staleness is asked again before each stage: a stage whose inputs came out the same does not run.

    Raises:
        dagster.DagsterError or the library's error: a step or a blocking check failed.
    """
    from assets.definitions import collect

    raw.observe(dagster, dataset)
    definitions = collect([dataset], {"console": lines})
    graph = definitions.resolve_asset_graph()
    runs = 0
    for stage in jobs.STAGES:
        wanted = jobs.keys(dataset, [asset for asset in stage if asset in assets])
        stale = staleness.unsynced(dagster, graph, wanted)
        stale = staleness.with_downstream(dagster, graph, stale, wanted)
        for group in _runs(stale):
            _run(dagster, definitions, *group)
            runs += 1
    return runs


def _runs(stale: staleness.Needed) -> list[tuple[list[dg.AssetKey], list[str]]]:
    """Which assets run together over which partitions: tiles in one run, experiments one by one."""
    if not stale:
        return []
    keys = list(stale)
    wanted = [p for p in dict.fromkeys(p for found in stale.values() for p in found) if p is not None]
    if not wanted:
        return [(keys, [])]
    if keys[0].path[-1] in (*jobs.STAGES[0], "land_cover_map"):
        return [(keys, wanted)]
    return [(keys, [partition]) for partition in wanted]


def _run(dagster: dg.DagsterInstance, definitions: dg.Definitions, keys: list[dg.AssetKey], chosen: list[str]) -> None:
    print(f"  {', '.join(key.path[-1] for key in keys)}" + (f" [{_shown(chosen)}]" if chosen else ""), flush=True)
    job = dg.define_asset_job(JOB, selection=_with_checks(keys))
    dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])).resolve_job_def(JOB).execute_in_process(
        instance=dagster,
        run_config={"loggers": {"console": {}}},
        partition_key=chosen[0] if len(chosen) == 1 else None,
        tags={RANGE_START: chosen[0], RANGE_END: chosen[-1]} if len(chosen) > 1 else None,
    )


def _with_checks(keys: list[dg.AssetKey]) -> dg.AssetSelection:
    """The assets and the checks at their doors: ground truth's is the check of the raw files."""
    selection: dg.AssetSelection = dg.AssetSelection.assets(*keys)
    doors = [dg.AssetKey([*key.path[:-1], "orthophoto"]) for key in keys if key.path[-1] == "ground_truth"]
    return selection | dg.AssetSelection.checks_for_assets(*doors) if doors else selection


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{names[0]} ... {names[-1]}, {len(names)} in all"
