"""Materialisation of all that is missing or stale of a dataset, stage by stage, in this process."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import dagster as dg

from assets import jobs, sources, staleness
from landcover_orch.config import Dataset
from landcover_orch.store.products import GROUND_TRUTH, LAND_COVER_MAP, ORTHOPHOTO

JOB = "materialise"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class StepLine(logging.Formatter):
    """Log formatter: the message alone, indented under the stage that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """The message as the step wrote it."""
        return f"    {getattr(record, 'dagster_meta', {}).get('orig_message') or record.getMessage()}"


def is_step_line(record: logging.LogRecord) -> bool:
    """Log filter: whether a step wrote the record itself, and not Dagster of one of its events."""
    return not getattr(record, "dagster_event", None) and not getattr(record, "dagster_meta", {}).get("dagster_event")


def console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Console logger: lines of steps and failures, without the noise of events."""
    handler = logging.StreamHandler()
    handler.setFormatter(StepLine())
    handler.addFilter(is_step_line)
    logger = logging.Logger(JOB, logging.INFO)
    logger.addHandler(handler)
    return logger


console = dg.LoggerDefinition(console_logger, description="Prints the lines that steps write to standard error.")


def materialise(dagster: dg.DagsterInstance, dataset: Dataset, assets: Sequence[str] = jobs.EVERYTHING) -> int:
    """Materialises what is missing or stale of a dataset, in the order of the lineage; gives the number of runs.

    Staleness is asked again before each stage: a stage whose inputs came out the same does not run.

    Raises:
        dagster.DagsterError or the library's error: a step or a blocking check failed.
    """
    from assets.definitions import collect

    sources.observe(dagster, dataset)
    definitions = collect([dataset], {"console": console})
    graph = definitions.resolve_asset_graph()
    runs = 0
    for stage in jobs.STAGES:
        keys = jobs.keys(dataset, [asset for asset in stage if asset in assets])
        stale = staleness.unsynced(dagster, graph, keys)
        stale = staleness.with_downstream(dagster, graph, stale, keys)
        for group in plan_runs(stale):
            run_job(dagster, definitions, *group)
            runs += 1
    return runs


def plan_runs(stale: staleness.Needed) -> list[tuple[list[dg.AssetKey], list[str]]]:
    """Which assets run together over which partitions: tiles in one run, experiments one by one."""
    if not stale:
        return []
    keys = list(stale)
    chosen = [p for p in dict.fromkeys(p for partitions in stale.values() for p in partitions) if p is not None]
    if not chosen:
        return [(keys, [])]
    if keys[0].path[-1] in (*jobs.STAGES[0], LAND_COVER_MAP):
        return [(keys, chosen)]
    return [(keys, [partition]) for partition in chosen]


def run_job(
    dagster: dg.DagsterInstance, definitions: dg.Definitions, keys: list[dg.AssetKey], chosen: list[str]
) -> None:
    """Runs the chosen partitions of some assets, with the input check of ground truth, in this process."""
    print(f"  {', '.join(key.path[-1] for key in keys)}" + (f" [{_shown(chosen)}]" if chosen else ""), flush=True)
    selection: dg.AssetSelection = dg.AssetSelection.assets(*keys)
    checked = [dg.AssetKey([*key.path[:-1], ORTHOPHOTO]) for key in keys if key.path[-1] == GROUND_TRUTH]
    if checked:  # ground truth's input check is that of the source files
        selection |= dg.AssetSelection.checks_for_assets(*checked)
    job = dg.define_asset_job(JOB, selection=selection)
    dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])).resolve_job_def(JOB).execute_in_process(
        instance=dagster,
        run_config={"loggers": {"console": {}}},
        partition_key=chosen[0] if len(chosen) == 1 else None,
        tags={RANGE_START: chosen[0], RANGE_END: chosen[-1]} if len(chosen) > 1 else None,
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{names[0]} ... {names[-1]}, {len(names)} in all"
