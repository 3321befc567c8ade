"""Jobs, the retraining schedule, and the sensor that prepares new tiles.

`prepare` and `everything` ask Dagster for one backfill of what is missing or stale: a job-level backfill over tiles
would ignore the assets' backfill policy and start a run a tile.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id
from dagster._time import get_current_timestamp

from assets import label_changes, label_review, partitions, sources, staleness
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError
from landcover_orch.store.products import (
    CHAMPION,
    DATASET_MANIFEST,
    GROUND_TRUTH,
    LABEL_CHANGES,
    LABEL_QUALITY,
    LABEL_REVIEW,
    LAND_COVER_MAP,
    LEADERBOARD,
    MODEL,
    PATCHES,
    PREDICTION,
    PROPORTIONS,
    REPORT,
    SUMMARY,
)

STAGES = (
    (GROUND_TRUTH, PATCHES, LABEL_QUALITY),
    (DATASET_MANIFEST,),
    (MODEL,),
    (PREDICTION,),
    (REPORT,),
    (LABEL_REVIEW,),
    (LEADERBOARD, CHAMPION),
    (LAND_COVER_MAP,),
    (PROPORTIONS, LABEL_CHANGES),
)
"""The materialised assets in the order in which their results depend on each other."""

PREPARE = (GROUND_TRUTH, PATCHES, DATASET_MANIFEST)
"""What training needs."""

TILES_READY = (*PREPARE, LABEL_QUALITY)
"""What new tiles go through: made ready for training, and their labels examined."""

OPTIONAL = {LABEL_REVIEW: label_review, LABEL_CHANGES: label_changes}
"""Assets that a dataset has where its configuration asks for them."""

EVERYTHING = tuple(asset for stage in STAGES for asset in stage)


def definitions(dataset: Dataset) -> list[Any]:
    """Jobs, schedule and automation sensor of a dataset."""
    name = partitions.identifier(dataset)
    train = asset_job(dataset, f"{name}_train", "Train an experiment.", MODEL)
    score = asset_job(
        dataset,
        f"{name}_predict_and_report",
        "Predict an experiment's test tiles and score them.",
        PREDICTION,
        REPORT,
    )
    return [
        backfill_job(dataset, f"{name}_prepare", TILES_READY),
        train,
        score,
        backfill_job(dataset, f"{name}_everything", EVERYTHING),
        retraining_schedule(dataset, train),
        automation_sensor(dataset),
    ]


def keys(dataset: Dataset, assets: Sequence[str]) -> list[dg.AssetKey]:
    """Asset keys of a dataset by their last names, without those that its configuration does not ask for."""
    lacking = {name for name, module in OPTIONAL.items() if not module.definitions(dataset)}
    return [partitions.key(dataset, asset) for asset in assets if asset not in lacking]


def asset_job(dataset: Dataset, name: str, text: str, *assets: str) -> Any:
    """A job of some of a dataset's assets."""
    selection = dg.AssetSelection.assets(*keys(dataset, assets))
    return dg.define_asset_job(name, selection=selection, description=text)


def backfill_job(dataset: Dataset, name: str, assets: Sequence[str]) -> dg.JobDefinition:
    """A job that requests one backfill of what is missing or stale of some assets."""

    @dg.op(name=f"request_{name}", out=dg.Out(dg.Nothing))
    def request(context: dg.OpExecutionContext) -> None:
        sources.observe(context.instance, dataset)
        graph = context.repository_def.asset_graph
        backfill = request_backfill(context.instance, graph, keys(dataset, assets), f"{dataset.name}: {name}")
        message = f"Backfill {backfill} requested: follow it under Runs > Backfills." if backfill else "All up to date."
        context.log.info(message)

    @dg.job(name=name, description=f"Backfills what is missing or stale of: {', '.join(assets)}.")
    def job() -> None:
        request()

    return job


def request_backfill(
    instance: dg.DagsterInstance, graph: AssetGraph, assets: Sequence[dg.AssetKey], title: str
) -> str | None:
    """Asks the daemon for one backfill of all that is missing or stale, and what is made of it; None if nothing is."""
    stale = staleness.unsynced(instance, graph, assets)
    needed = staleness.with_downstream(instance, graph, stale, assets)
    if not needed:
        return None
    subset = AssetGraphSubset.from_asset_partition_set(
        {AssetKeyPartitionKey(key, p) for key, keys_of_asset in needed.items() for p in keys_of_asset}, graph
    )
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        dynamic_partitions_store=instance,
        backfill_timestamp=get_current_timestamp(),
        asset_graph_subset=subset,
        tags={},
        title=title,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return str(backfill.backfill_id)


def retraining_schedule(dataset: Dataset, job: Any) -> dg.ScheduleDefinition:
    """The retraining schedule: every experiment anew where the manifest has changed since the champion."""

    @dg.schedule(
        name=f"{partitions.identifier(dataset)}_retrain",
        job=job,
        cron_schedule=dataset.automation.retrain,
        execution_timezone=dataset.automation.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Trains every experiment anew, only when the manifest's digest changed since the champion.",
    )
    def retrain(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        digest, trained_on = digests(dataset)
        if digest is None:
            yield dg.SkipReason("no manifest yet: materialise dataset_manifest first")
        elif digest == trained_on:
            yield dg.SkipReason(f"manifest unchanged ({digest}) since the champion was trained")
        else:
            for name in config.experiments_of(dataset):
                yield dg.RunRequest(run_key=f"{digest}-{name}", partition_key=name)

    return retrain


def digests(dataset: Dataset) -> tuple[str | None, str | None]:
    """Digests of the present manifest and of the one the champion was trained on; None where there is none."""
    from assets import patches
    from landcover_orch.evaluation import champion as election

    try:
        digest = patches.current(dataset).json(SUMMARY)["digest"]
    except IncompleteError:
        return None, None
    champion = election.find(dataset.name, config.home())
    return digest, champion.data_digest if champion else None


def automation_sensor(dataset: Dataset) -> dg.AutomationConditionSensorDefinition:
    """The automation sensor that prepares new and changed tiles."""
    return dg.AutomationConditionSensorDefinition(
        name=f"{partitions.identifier(dataset)}_prepare_new_tiles",
        target=dg.AssetSelection.assets(*keys(dataset, TILES_READY)),
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Prepares new and changed tiles as the watch sensor reports them.",
    )
