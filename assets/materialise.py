"""Materialisation of all that is missing or stale of a dataset, in this process, with its log on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import dagster as dg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from assets.advance import Log, MaterialisationError, Outcome, advance
from assets.definitions import collect, lineage
from assets.overview import record_state, write_index
from landcover_orch.config import Dataset
from landcover_orch.planner import Plan, State

__all__ = ["MaterialisationError", "Outcome", "materialise"]


class StepLine(logging.Formatter):
    """Log formatter: the message alone, indented under the stage that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """The message as the step wrote it."""
        return f"    {getattr(record, 'dagster_meta', {}).get('orig_message') or record.getMessage()}"


def is_step_line(record: logging.LogRecord) -> bool:
    """Log filter: whether a step wrote the record itself, and not Dagster of one of its events."""
    if record.getMessage().startswith("Dependencies for step") or "Dependencies for step" in str(record.msg):
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


@contextmanager
def progress_bar() -> Iterator[Callable[[Plan], None]]:
    """Progress bar of a terminal: products that are current, of all, and the time that is left; nothing in a file."""
    if not sys.stdout.isatty():
        yield lambda described: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}")
    with Progress(*columns, TimeElapsedColumn(), transient=True) as bar:
        shown = bar.add_task("products", total=None, left="")

        def show(described: Plan) -> None:
            steps, current = described.of(State.BUILD, State.WAITING), len(described.of(State.CURRENT))
            seconds = sum(step.seconds or 0 for step in steps)
            left = f"about {max(seconds / 60, 1):.0f} min left" if seconds else ""
            bar.update(shown, total=current + len(steps), completed=current, left=left)

        yield show


def materialise(
    dagster: dg.DagsterInstance,
    dataset: Dataset,
    assets: Collection[str] | None = None,
    *,
    force: Collection[str] = (),
    log: Log = print_line,
) -> Outcome:
    """Materialises what is missing or stale of a dataset, with the definitions of its file; see `advance`.

    However that ends, the index page below LANDCOVER_HOME shows what there is then.
    """
    definitions = collect([dataset], {"console": console})
    try:
        with progress_bar() as progress:
            known = lineage(dataset)
            outcome = advance(dagster, dataset, definitions, known, assets, force=force, log=log, progress=progress)
        record_state(dagster, dataset, outcome.plan)
    finally:
        write_index(dagster, dataset)
    return outcome
