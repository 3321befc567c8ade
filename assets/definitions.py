"""Everything Dagster loads: the lineage of each file in configs/datasets."""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets import ground_truth, jobs, model, patches, prediction, raw, report
from assets.resources import resources

ROOMS = (raw, ground_truth, patches, model, prediction, report, jobs)


def collect() -> dg.Definitions:
    """Assets, checks, jobs, schedules and sensors of every dataset."""
    found: list[Any] = [item for dataset in jobs.datasets() for room in ROOMS for item in room.definitions(dataset)]
    checks = [item for item in found if isinstance(item, dg.AssetChecksDefinition)]
    return dg.Definitions(
        assets=[item for item in found if isinstance(item, dg.AssetSpec | dg.AssetsDefinition) and item not in checks],
        asset_checks=checks,
        jobs=[item for item in found if isinstance(item, dg.JobDefinition | UnresolvedAssetJobDefinition)],
        schedules=[item for item in found if isinstance(item, dg.ScheduleDefinition)],
        sensors=[item for item in found if isinstance(item, dg.SensorDefinition)],
        resources=resources(),
    )


defs = collect()
