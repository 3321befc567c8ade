"""Reload of Dagster's code location when configurations change; where a loaded dataset has a fault, the old stays."""

from __future__ import annotations

import time
from collections.abc import Callable

from assets.client import Client
from landcover_orch import config

QUIET_S = 2.0
"""How long the files must have stayed the same: an editor or a copy writes several."""

Files = dict[str, tuple[int, int]]


def configuration_files() -> Files:
    """Path -> time of the last change and size of every file in the folders of configurations."""
    files: Files = {}
    for folder in config.config_folders():
        for path in folder.glob("*/*.yaml"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            files[str(path)] = (status.st_mtime_ns, status.st_size)
    return files


class Reloader:
    """Looks at the configurations, and asks the webserver for a reload `QUIET_S` after they changed.

    A new file with a fault stops only itself. Where a dataset that is loaded can be loaded no more, the reload waits
    until it can: its definitions, schedules and backfills go on as they were.

    Args:
        client: of the webserver.
        log: takes a line.
        clock: seconds.
        before: called before a reload, so that what is new is there when its definitions are.
    """

    def __init__(
        self,
        client: Client,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self.client, self.log, self.clock, self.before = client, log, clock, before
        self.left_out: dict[str, str] = {}
        self.loaded = self.loadable()
        self.files = self.seen = configuration_files()
        self.changed_at: float | None = None

    def poll(self) -> bool:
        """Looks at the files; whether a reload was asked for."""
        files = configuration_files()
        if files != self.seen:
            self.seen, self.changed_at = files, self.clock()
        if self.changed_at is None or self.clock() - self.changed_at < QUIET_S:
            return False
        self.changed_at = None
        if files == self.files:
            return False
        faults = self.faults()
        for text in faults:
            self.log(f"Not reloaded, the definitions stay as they were: {text}")
        if faults:
            return False
        self.files, self.loaded = files, self.loadable()
        self.before()
        self.log(self.client.reload())
        return True

    def loadable(self) -> list[str]:
        """Names of the served datasets that can be loaded; the fault of another is a line once, until it changes."""
        faults = {name: config.fault(name) for name in config.served_datasets()}
        left_out = {name: text for name, text in faults.items() if text is not None}
        for name, text in left_out.items():
            if text != self.left_out.get(name):
                self.log(f"Dataset {name} is not loaded: {text}")
        self.left_out = left_out
        return [name for name in faults if name not in left_out]

    def faults(self) -> list[str]:
        """What is wrong with datasets that are loaded; one whose file was taken away is none.

        Where the whole folder of configurations is not there, nothing was taken away.
        """
        if (problem := config.missing_configs()) is not None:
            return [str(problem)]
        remaining = [name for name in self.loaded if name in config.served_datasets()]
        return [text for name in remaining if (text := config.fault(name)) is not None]
