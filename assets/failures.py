"""Failure messages of a run: what stopped it, as the sentences that a person reads."""

from __future__ import annotations

import re

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from landcover_orch.errors import LandcoverError

RUN_ERRORS = (dg.DagsterError, DagsterPipesExecutionError)
"""What Dagster raises for a run that failed otherwise than by an error of the library."""

CLASS_NAME = re.compile(r"^[\w.]+(?:Error|Exception): ")


def messages(instance: dg.DagsterInstance, error: BaseException) -> list[str]:
    """Sentences about what ended the last run of an instance; empty where nothing but the traceback tells.

    They are those of the library's error, of the checks that failed and blocked what follows, and of the error that a
    process of its own (a training) ended with.
    """
    chain = _chain(error)
    texts = [str(link) for link in chain if isinstance(link, LandcoverError)]
    if not any(isinstance(link, RUN_ERRORS) for link in chain):
        return texts
    for run in instance.get_runs(limit=1):
        texts += check_messages(instance, run.run_id) + process_messages(instance, run.run_id)
    return list(dict.fromkeys(texts))


def _chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_chain(error.__cause__)]


def check_messages(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Descriptions of the blocking checks that failed in a run."""
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    events = [entry.dagster_event for entry in logs if entry.dagster_event]
    failed = [event.asset_check_evaluation_data for event in events if not event.asset_check_evaluation_data.passed]
    return [
        check.description or f"check {check.check_name} of {check.asset_key.to_user_string()} failed"
        for check in failed
        if check.severity == dg.AssetCheckSeverity.ERROR
    ]


def process_messages(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Errors that processes of a run reported through Pipes, without the names of their classes."""
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    errors = [entry.dagster_event.engine_event_data.error for entry in logs if entry.dagster_event]
    return [CLASS_NAME.sub("", cause.message.strip()) for cause in errors if cause is not None]
