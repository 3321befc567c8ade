"""Failure messages of a run: what stopped it, as the sentences that a person reads."""

from __future__ import annotations

import re

import dagster as dg

CLASS_NAME = re.compile(r"^[\w.]+(?:Error|Exception): ")


def run_messages(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Sentences about why a run failed: of its failed steps, its blocking checks, and its processes."""
    texts = [*step_messages(instance, run_id), *check_messages(instance, run_id), *process_messages(instance, run_id)]
    return list(dict.fromkeys(texts))


def step_messages(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What failed steps say: the sentences of an expected failure, else the class and text of an error."""
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    texts = []
    for entry in logs:
        data = entry.dagster_event.step_failure_data if entry.dagster_event else None
        if data is None:
            continue
        expected = data.user_failure_data.description if data.user_failure_data else None
        error = data.error.cause or data.error if data.error else None
        text = expected or (error.message.strip() if error else "")
        if text and "DagsterAssetCheckFailedError" not in text:
            texts.append(text if expected else CLASS_NAME.sub("", text))
    return texts


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
