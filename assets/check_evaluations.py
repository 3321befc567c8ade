"""Asset checks evaluated again where nothing else does: their subject was mended, or is gone, or their run died."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import cast

import dagster as dg

from landcover_orch.errors import LandcoverError


def evaluate_again(instance: dg.DagsterInstance, checks: Sequence[dg.AssetChecksDefinition], since: datetime) -> None:
    """Evaluates and reports to Dagster the checks whose last evaluation does not stand any more.

    A check that failed before is held against what is there now; so is one whose run ended without it. What was
    evaluated since is left as it is. A check of what does not exist is none.

    Args:
        instance: Dagster's.
        checks: of one check each.
        since: when the command began.
    """
    by_key = {spec.key: check for check in checks for spec in check.check_specs}
    for key in unsettled(instance, list(by_key), since):
        try:
            result = evaluated(by_key[key], instance)
        except (LandcoverError, OSError, dg.Failure):
            continue
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
        )
        instance.report_runless_asset_event(evaluation)


def evaluated(check: dg.AssetChecksDefinition, instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """The result of a check outside any run: it is about all partitions then."""
    try:
        result = check(dg.build_asset_check_context(instance=instance))
    except dg.DagsterInvalidInvocationError:  # it takes no context
        result = check()
    return cast("dg.AssetCheckResult", result)


def unsettled(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey], since: datetime
) -> Iterator[dg.AssetCheckKey]:
    """The checks that failed before a time, or were planned in a run that has ended without them."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    for key in keys:
        record = records.get(key)
        if record is None:
            continue
        event = record.event
        evaluation = event.dagster_event and event.asset_check_evaluation if event else None
        if evaluation is not None:
            if not evaluation.passed and event is not None and event.timestamp < since.timestamp():
                yield key
        elif (run := instance.get_run_by_id(record.run_id)) is None or run.is_finished:
            yield key
