"""State of a dataset for its index pages: what the check `group_up_to_date` last said, and the pages as files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import dagster as dg

from assets import history, partitions
from assets.location import LOCATION
from landcover_orch import config
from landcover_orch.overview.index import State, write_pages
from landcover_orch.pages.links import Link, registered_model_link
from landcover_orch.planner import Plan
from landcover_orch.store.products import DATASET_MANIFEST, MODEL, folder

UP_TO_DATE = "group_up_to_date"


def last_state(dagster: dg.DagsterInstance | None, name: str) -> State:
    """The last evaluation of a dataset's check `group_up_to_date`; unknown where it was never evaluated."""
    if dagster is None:
        return State()
    key = dg.AssetCheckKey(dg.AssetKey([name, DATASET_MANIFEST]), UP_TO_DATE)
    for evaluation, at in history.last_evaluations(dagster, [key]):
        return State(evaluation.passed, evaluation.description or "", at)
    return State()


def dataset_links(name: str) -> list[Link]:
    """Links of a dataset's index page: its group, sensor and job in Dagster, its registered model in MLflow."""
    from assets.chain import job_name, sensor_name

    models = [registered_model_link(name)] if folder(config.home(), name, MODEL).is_dir() else []
    if name not in config.served_datasets() or config.fault(name):
        return models  # Dagster has nothing of it
    dataset = config.load_dataset(name)
    location = f"/locations/{LOCATION}"
    return [
        Link("assets in Dagster", f"{location}/asset-groups/{partitions.identifier(dataset)}"),
        Link("job in Dagster", f"{location}/jobs/{job_name(dataset, 'everything')}"),
        Link("sensor in Dagster", f"{location}/sensors/{sensor_name(dataset)}"),
        *models,
    ]


def left_behind_lines(name: str) -> list[str]:
    """What stays on disk of experiments and tiles that a dataset no longer has, and what to do."""
    from landcover_orch.planner.retention import left_behind

    return list(left_behind(config.home(), name)) if config.is_described(name) else []


def record_state(dagster: dg.DagsterInstance, dataset: config.Dataset, described: Plan) -> None:
    """Records the evaluation of a dataset's check `group_up_to_date` by a plan."""
    from assets.chain import state_evaluation

    dagster.report_runless_asset_event(state_evaluation(dataset, described))


def write_index(dagster: dg.DagsterInstance, dataset: config.Dataset) -> Path:
    """Writes the index page of a dataset, and the list of all, below LANDCOVER_HOME; gives the former's path."""
    return write_pages(config.home(), dataset.name, partial(last_state, dagster), left_behind_lines(dataset.name))
