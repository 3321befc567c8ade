"""Dagster's history as a view of the store: current products that Dagster does not know of are reported to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import dagster as dg

from assets import events, partitions
from assets.results import VERSION_TAG
from landcover_orch.config import Dataset
from landcover_orch.planner import Plan, State


def report(instance: dg.DagsterInstance, dataset: Dataset, described: Plan) -> int:
    """Reports the current products whose data version is not the last that Dagster knows; gives their number."""
    found = differences(instance, dataset, described)
    events.report(instance, found)
    return len(found)


def differences(instance: dg.DagsterInstance, dataset: Dataset, described: Plan) -> list[dg.AssetMaterialization]:
    """What Dagster's history lacks: a materialisation for each current product whose data version it does not know."""
    lacking = []
    for asset in described.assets:
        key = partitions.key(dataset, asset.name)
        known = data_versions(instance, key, asset.partitioning is not None)
        for partition in asset.partitions:
            step = described.steps[asset.name, partition]
            if step.state is State.CURRENT and step.fingerprint not in (None, known.get(partition)):
                tags = {VERSION_TAG: str(step.fingerprint)}
                text = "found whole on disk"
                lacking.append(dg.AssetMaterialization(key, partition=partition, description=text, tags=tags))
    return lacking


def last_evaluations(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]
) -> Iterator[tuple[dg.AssetCheckEvaluation, datetime]]:
    """The last evaluation of each asset check that has one, and when it was, in the order of the checks."""
    keys = list(checks)
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key in keys:
        event = records[key].event if key in records else None
        if event is not None and event.asset_check_evaluation is not None:
            yield event.asset_check_evaluation, datetime.fromtimestamp(event.timestamp, UTC)


def data_versions(instance: dg.DagsterInstance, key: dg.AssetKey, partitioned: bool) -> dict[str | None, str]:
    """Partition -> data version of the last materialisation that Dagster knows."""
    if partitioned:
        tags = instance.event_log_storage.get_latest_tags_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, tag_keys=[VERSION_TAG]
        )
        return {partition: values[VERSION_TAG] for partition, values in tags.items() if VERSION_TAG in values}
    event = instance.get_latest_materialization_event(key)
    last = event.asset_materialization if event else None
    return {None: last.tags[VERSION_TAG]} if last and last.tags and VERSION_TAG in last.tags else {}
