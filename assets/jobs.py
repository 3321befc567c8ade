"""Jobs: one a stage of a dataset, and `everything`; the schedule that records that a training is due."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from assets import chain, partitions
from assets.advance import advance
from assets.execution import MAX_RETRIES, InProcess
from assets.graph import stages
from assets.results import sentences
from landcover_orch import config
from landcover_orch.config import Cron, Dataset
from landcover_orch.errors import pluralise
from landcover_orch.planner import retraining
from landcover_orch.store.products import MODEL, ORTHOPHOTO

NO_RETRIES = {MAX_RETRIES: "0"}
"""Tags of every job: an instance whose dagster.yaml retries runs starts none of them anew."""


def definitions(
    dataset: Dataset, assets: Sequence[dg.AssetsDefinition], load: Callable[[], dg.Definitions]
) -> list[Any]:
    """Jobs, schedule and sensor of a dataset with these assets; `load` gives its definitions when a run needs them."""
    jobs = stage_jobs(dataset, assets)
    return [
        *jobs.values(),
        everything_job(dataset, assets, load),
        chain.watch_sensor(dataset, assets, list(jobs.values())),
        chain.up_to_date_check(dataset, assets),
        *retraining_schedules(dataset, assets),
    ]


def stage_jobs(dataset: Dataset, assets: Sequence[dg.AssetsDefinition]) -> dict[str, Any]:
    """Stage -> the job of its assets, <dataset>_<stage>."""
    return {
        stage: dg.define_asset_job(
            chain.job_name(dataset, stage),
            selection=stage_selection(dataset, assets, keys),
            tags={**chain.configuration_tags(dataset), **NO_RETRIES},
            description=f"Materialises {', '.join(key.path[-1] for key in keys)}.",
        )
        for stage, keys in stages(assets).items()
    }


def stage_selection(
    dataset: Dataset, assets: Sequence[dg.AssetsDefinition], keys: Sequence[dg.AssetKey]
) -> dg.AssetSelection:
    """Assets with their checks; the check of the orthophotos goes with what reads them first."""
    selection: dg.AssetSelection = dg.AssetSelection.assets(*keys)
    photo = partitions.key(dataset, ORTHOPHOTO)
    first = next(asset for asset in assets if any(dep.asset_key == photo for spec in asset.specs for dep in spec.deps))
    if first.key in keys:
        selection |= dg.AssetSelection.checks_for_assets(photo)
    return selection - dg.AssetSelection.checks(chain.up_to_date_key(dataset))


def everything_job(
    dataset: Dataset, assets: Sequence[dg.AssetsDefinition], load: Callable[[], dg.Definitions]
) -> dg.JobDefinition:
    """The job <dataset>_everything: all that is missing or stale, stage by stage, each stage a run of its own job."""

    @dg.op(name=f"materialise_{partitions.identifier(dataset)}", out=dg.Out(dg.Nothing))
    def request(context: dg.OpExecutionContext) -> None:
        with sentences():
            log = context.log.info
            here = InProcess(context.instance, log)  # launched ones would wait in the queue for this run's place
            outcome = advance(context.instance, dataset, load(), assets, execute=here, log=log)
        context.log.info(pluralise(outcome.runs, "run") if outcome.runs else "Everything is up to date.")

    @dg.job(
        name=chain.job_name(dataset, chain.EVERYTHING),
        tags={**chain.configuration_tags(dataset), **NO_RETRIES},
        description="Materialises all that is missing or stale, as `landcover materialise` does.",
    )
    def job() -> None:
        request()

    return job


def retraining_schedules(dataset: Dataset, assets: Sequence[dg.AssetsDefinition]) -> list[dg.ScheduleDefinition]:
    """The schedule of a dataset with `retraining.when.cron`: records that a training is due, and starts nothing."""
    when = dataset.retraining.when if dataset.retraining else None
    if not isinstance(when, Cron):
        return []
    training = next(stage for stage, keys in stages(assets).items() if partitions.key(dataset, MODEL) in keys)

    @dg.schedule(
        name=f"{partitions.identifier(dataset)}_retrain",
        job_name=chain.job_name(dataset, training),
        cron_schedule=when.cron,
        execution_timezone=when.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Records that a training is due; the sensor starts it, where the data differ from those of the "
        "last one.",
    )
    def retrain(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        retraining.request(dataset.name, f"scheduled: {when}", config.home(), context.scheduled_execution_time)
        return dg.SkipReason("recorded that a training is due: the sensor starts it where the data have changed")

    return [retrain]
