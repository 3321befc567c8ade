"""Dagster's compute logs on this disk, whose helper processes leave Ctrl-C to the run, which ends them.

Dagster starts four of them a step, in the terminal's process group: two `tail`, and two `watch_orphans`, which printed
a traceback each when a person interrupted `landcover materialise`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from assets.storage_internals import CapturedLogContext, ConfigurableClassData, LocalComputeLogManager

FOLDER = "storage"
"""Where Dagster's own default keeps compute logs, below DAGSTER_HOME."""


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Blocks SIGINT in this thread: processes started meanwhile never get one; one that came is raised at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ComputeLogManager(LocalComputeLogManager):
    """The `compute_logs` of dagster.yaml: the files of Dagster's own default, at the same places."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> ComputeLogManager:
        """The logs below the folder `base_dir`."""
        return cls(str(Path(config_value["base_dir"]) / FOLDER), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Captures what a step prints."""
        with ExitStack() as stack:
            with interrupts_blocked():
                captured = stack.enter_context(super().capture_logs(log_key))
            yield captured
