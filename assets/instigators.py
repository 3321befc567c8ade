"""Sensors and schedules whose definitions are gone: their states and unfinished ticks are ended."""

from __future__ import annotations

import time
from collections.abc import Collection

import dagster as dg

from assets.location import LOCATION
from assets.storage_internals import InstigatorState, TickStatus
from landcover_orch import config

REASON = "its definition is gone: the dataset or its schedule was taken out of the configurations"


def end_departed(instance: dg.DagsterInstance) -> list[str]:
    """Ends the sensors and schedules that no definition stands for any more; gives their names.

    Dagster's daemon keeps the state of a sensor for ever, of a schedule for twelve hours, and a tick that a reload cut
    short stays STARTED. Those of a dataset that is described and not loaded, as for a fault, stay; so do all while the
    configuration folder that is set is not there.
    """
    if config.missing_configs() is not None:
        return []
    from assets.definitions import load

    repository = load().get_repository_def()
    defined = {sensor.name for sensor in repository.sensor_defs}
    defined |= {schedule.name for schedule in repository.schedule_defs}
    loaded = {key.path[0] for key in repository.asset_graph.get_all_asset_keys() if key.path[-1] != "configuration"}
    waiting = {*config.names("datasets"), *config.names(config.STUDIES)} - loaded
    departed = [state for state in instance.all_instigator_state() if is_departed(state, defined, waiting)]
    for state in departed:
        end(instance, state)
    return sorted(state.instigator_name for state in departed)


def is_departed(state: InstigatorState, defined: Collection[str], waiting: Collection[str]) -> bool:
    """Whether a state is of this project, of no definition, and of no dataset that may come back by itself."""
    location = state.origin.repository_origin.code_location_origin.location_name
    name, prefixes = state.instigator_name, [config.identifier(dataset) for dataset in waiting]
    return (
        location == LOCATION
        and name not in defined
        and not any(name in (f"{prefix}_watch", f"{prefix}_retrain", f"{prefix}_fault") for prefix in prefixes)
    )


def end(instance: dg.DagsterInstance, state: InstigatorState) -> None:
    """Ends the unfinished ticks of a sensor or schedule, then its state."""
    for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, statuses=[TickStatus.STARTED]):
        ended = tick.with_status(TickStatus.SKIPPED, end_timestamp=time.time()).with_reason(REASON)
        instance.update_tick(ended)
    instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)
