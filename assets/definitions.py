"""Everything Dagster loads: the lineage of each file in configs/datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets import (
    ground_truth,
    jobs,
    label_changes,
    label_quality,
    label_review,
    model,
    patches,
    prediction,
    proportions,
    report,
    search,
    sources,
)
from landcover_orch import config
from landcover_orch.config import Dataset

ASSET_MODULES = (
    sources,
    ground_truth,
    patches,
    label_quality,
    model,
    prediction,
    report,
    proportions,
    label_review,
    label_changes,
    search,
    jobs,
)


def collect(datasets: Sequence[Dataset], loggers: Mapping[str, dg.LoggerDefinition] | None = None) -> dg.Definitions:
    """Assets, checks, jobs, schedules and sensors of datasets."""
    items: list[Any] = [
        item for dataset in datasets for module in ASSET_MODULES for item in module.definitions(dataset)
    ]
    checks = [item for item in items if isinstance(item, dg.AssetChecksDefinition)]
    return dg.Definitions(
        assets=[item for item in items if isinstance(item, dg.AssetSpec | dg.AssetsDefinition) and item not in checks],
        asset_checks=checks,
        jobs=[item for item in items if isinstance(item, dg.JobDefinition | UnresolvedAssetJobDefinition)],
        schedules=[item for item in items if isinstance(item, dg.ScheduleDefinition)],
        sensors=[item for item in items if isinstance(item, dg.SensorDefinition)],
        resources={"pipes": dg.PipesSubprocessClient()},
        loggers=loggers,
    )


defs = collect([config.load_dataset(name) for name in config.dataset_names()])
