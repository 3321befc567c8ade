"""Dagster's log as a person at a terminal wants it: the lines that steps write, and failures; no event noise."""

from __future__ import annotations

import logging

import dagster as dg


class Lines(logging.Formatter):
    """A record as its message alone, indented under the stage it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """The message as the step wrote it."""
        return f"    {getattr(record, 'dagster_meta', {}).get('orig_message') or record.getMessage()}"


def _said_by_a_step(record: logging.LogRecord) -> bool:
    return not getattr(record, "dagster_event", None) and not getattr(record, "dagster_meta", {}).get("dagster_event")


def _logger(context: dg.InitLoggerContext) -> logging.Logger:
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    handler.addFilter(_said_by_a_step)
    logger = logging.Logger("materialise", logging.INFO)
    logger.addHandler(handler)
    return logger


lines = dg.LoggerDefinition(_logger, description="Prints the lines that steps write to standard error.")
