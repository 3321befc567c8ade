"""Training hooks: what takes the lines of a training's log, and its metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from landcover_orch.tracking import Log, Start

JOURNAL = "tracking.jsonl"
"""File of a stage that keeps what MLflow has not taken yet."""

Tracker = Callable[[Start], AbstractContextManager[Log]]
Progress = Callable[[str], None]
