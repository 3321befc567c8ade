"""Reload of Dagster's code location when configurations change; where a loaded dataset has a fault, the old stays."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from assets.execution import LOCATION
from landcover_orch import config
from landcover_orch.tracking import host_and_origin, public_url

QUIET_S = 2.0
"""How long the files must have stayed the same: an editor or a copy writes several."""

RELOAD = """
mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  __typename ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
  ... on PythonError { message } } }
"""

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
        url: of the webserver.
        log: takes a line.
        clock: seconds.
        before: called before a reload, so that what is new is there when its definitions are.
    """

    def __init__(
        self,
        url: str,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self.url, self.log, self.clock, self.before = url, log, clock, before
        self.loaded = loadable()
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
        self.files, self.loaded = files, loadable()
        self.before()
        self.log(reload_location(self.url))
        return True

    def faults(self) -> list[str]:
        """What is wrong with datasets that are loaded; one whose file was taken away is none."""
        remaining = [name for name in self.loaded if name in config.served_datasets()]
        return [text for name in remaining if (text := config.fault(name)) is not None]


def loadable() -> list[str]:
    """Names of the served datasets that can be loaded."""
    return [name for name in config.served_datasets() if config.fault(name) is None]


def reload_location(url: str) -> str:
    """Asks a webserver to reload the code location; gives a sentence about what came of it."""
    body = json.dumps({"query": RELOAD, "variables": {"name": LOCATION}}).encode()
    host, origin = host_and_origin(public_url() or url)
    headers = {"content-type": "application/json", "host": host, "origin": origin}
    request = urllib.request.Request(f"{url}/graphql", body, headers)  # noqa: S310 - an http address of our own
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310 - an http address of our own
            result: dict[str, Any] = json.load(answer)["data"]["reloadRepositoryLocation"]
    except OSError as error:
        return f"Configurations changed; the webserver did not reload them ({error})."
    entry = result.get("locationOrLoadError") or result
    return f"Reload failed: {entry['message']}" if "message" in entry else "Configurations changed: reloaded."
