"""Materialisation of all that is missing or stale of a dataset, with its log on the terminal."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import dagster as dg

from assets import chain
from assets.advance import Log, MaterialisationError, Outcome, advance
from assets.check_evaluations import evaluate_again
from assets.definitions import checks, collect, lineage
from assets.execution import InProcess
from assets.launch import is_noise, launcher
from assets.overview import record_state, write_index
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import BusyError
from landcover_orch.planner import Plan
from landcover_orch.store import publish

__all__ = ["MaterialisationError", "Outcome", "materialise"]

LOCK = "materialise"
"""Name of the lock in a dataset's folder that a command holds while it materialises it."""


class StepLine(logging.Formatter):
    """Log formatter: the message alone, indented under the stage that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """The message as the step wrote it."""
        return f"    {getattr(record, 'dagster_meta', {}).get('orig_message') or record.getMessage()}"


def is_step_line(record: logging.LogRecord) -> bool:
    """Log filter: whether a step wrote the record itself, and not Dagster of one of its events or its Pipes."""
    if is_noise(getattr(record, "dagster_meta", {}).get("orig_message") or record.getMessage()):
        return False
    return not getattr(record, "dagster_event", None) and not getattr(record, "dagster_meta", {}).get("dagster_event")


def console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Console logger: lines of steps and failures, without the noise of events."""
    handler = logging.StreamHandler()
    handler.setFormatter(StepLine())
    handler.addFilter(is_step_line)
    logger = logging.Logger("materialise", logging.INFO)
    logger.addHandler(handler)
    return logger


console = dg.LoggerDefinition(console_logger, description="Prints the lines that steps write to standard error.")


def print_line(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)


def materialise(
    dagster: dg.DagsterInstance,
    dataset: Dataset,
    assets: Collection[str] | None = None,
    *,
    force: Collection[str] = (),
    log: Log = print_line,
) -> Outcome:
    """Materialises what is missing or stale of a dataset, with the definitions of its file; see `advance`.

    However that ends, the index page below LANDCOVER_HOME shows what there is then. A second command waits for the
    first, and finds what that has built.
    """
    with one_at_a_time(dataset.name, log):
        return materialise_alone(dagster, dataset, assets, force, log)


@contextmanager
def one_at_a_time(dataset: str, log: Log) -> Iterator[None]:
    """Lock of a dataset's materialisation; where another command has it, this one says so and waits."""
    folder = config.home() / dataset
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(publish.locked(folder, LOCK, patience_s=0))
        except BusyError as error:
            log(f"  waits: another command materialises {dataset} ({error.problems[0].found})")
            stack.enter_context(publish.locked(folder, LOCK, patience_s=math.inf))
        yield


def materialise_alone(
    dagster: dg.DagsterInstance, dataset: Dataset, assets: Collection[str] | None, force: Collection[str], log: Log
) -> Outcome:
    """Materialises a dataset whose lock is held, and writes its index page."""
    definitions, known = collect([dataset], {"console": console}), lineage(dataset)
    started = datetime.now(UTC)
    try:
        in_process = InProcess(dagster, log, {"loggers": {"console": {}}})
        execute = launcher(dataset, in_process, log)
        outcome = advance(dagster, dataset, definitions, known, assets, force=force, execute=execute, log=log)
        settle(dagster, dataset, outcome.plan if assets is None else chain.state_plan(dataset, known, dagster), started)
    except MaterialisationError:
        settle(dagster, dataset, chain.state_plan(dataset, known, dagster), started)
        raise
    finally:
        write_index(dagster, dataset)
    return outcome


def settle(dagster: dg.DagsterInstance, dataset: Dataset, described: Plan, started: datetime) -> None:
    """Records the state of a dataset by a plan, and evaluates checks again whose last evaluation does not stand."""
    evaluate_again(dagster, checks(dataset), started)
    record_state(dagster, dataset, described)
