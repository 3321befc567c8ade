"""Events about many tiles, written to Dagster's event log in one go: one by one they cost more than the tiles do."""

import uuid
from collections.abc import Iterator, Sequence
from typing import TypeVar

import dagster as dg

from assets.dagster_internals import (
    RUNLESS_JOB_NAME,
    RUNLESS_RUN_ID,
    AssetObservationData,
    DagsterEventBatchMetadata,
    StepMaterializationData,
)

AssetEvent = dg.AssetMaterialization | dg.AssetObservation
Event = TypeVar("Event", bound=AssetEvent)


def report(instance: dg.DagsterInstance, events: Sequence[AssetEvent]) -> None:
    """Reports events of no run, as `DagsterInstance.report_runless_asset_event` does one."""
    for event, batch in in_a_batch(events):
        if isinstance(event, dg.AssetMaterialization):
            described = happened(dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event))
        else:
            described = happened(dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event))
        instance.report_dagster_event(described, RUNLESS_RUN_ID, batch_metadata=batch)


def happened(kind: dg.DagsterEventType, data: StepMaterializationData | AssetObservationData) -> dg.DagsterEvent:
    """An event of no run."""
    return dg.DagsterEvent(kind.value, RUNLESS_JOB_NAME, event_specific_data=data)


def log(context: dg.AssetExecutionContext, events: Sequence[dg.AssetMaterialization]) -> None:
    """Logs materialisations of a step, as yielding them does."""
    step = context.op_execution_context.get_step_execution_context()
    for event, batch in in_a_batch(events):
        dg.DagsterEvent.asset_materialization(step, event, batch)


def in_a_batch(events: Sequence[Event]) -> Iterator[tuple[Event, DagsterEventBatchMetadata]]:
    """Events, each with its place in one batch."""
    batch = str(uuid.uuid4())
    for i, event in enumerate(events):
        yield event, DagsterEventBatchMetadata(batch, is_end=i == len(events) - 1)
