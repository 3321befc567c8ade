"""How the training command is started: by itself, or behind a launcher of configs/launchers, wherever that runs it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import dagster as dg
from dagster_pipes import PipesDefaultMessageWriter

from landcover_orch import config
from landcover_orch.config.launchers import LOCAL, Launcher

FOLDER = "pipes"
"""Folder below LANDCOVER_HOME through which processes of other nodes hear of Dagster and tell it."""

POLL_S = 0.2


def run(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, launcher: Launcher, module: Sequence[str]
) -> dg.PipesClientCompletedInvocation:
    """What a module's processes reported; they end with this process, which fails where one of them does.

    Args:
        context: of the asset that they make.
        pipes: the client for a process on this machine.
        launcher: what starts them.
        module: name of the module, and its arguments.
    """
    folders = {"LANDCOVER_HOME": str(config.home()), "LANDCOVER_CONFIGS": str(config.configs())}
    environment = {**launcher.environment, **folders, "LANDCOVER_PARENT": str(os.getpid())}
    command = launcher.command(sys.executable, module)
    if launcher == LOCAL:
        return pipes.run(context=context, command=command, env=environment)
    ending = [sys.executable, "-m", "landcover_orch.training.distributed.process", *command]
    with shared_file_client(context.run_id) as client:
        return client.run(context=context, command=ending, env=environment)


@contextmanager
def shared_file_client(run_id: str) -> Iterator[dg.PipesSubprocessClient]:
    """A client that speaks through files that all nodes see."""
    parent = config.home() / FOLDER
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"{run_id[:8]}-") as folder:
        yield dg.PipesSubprocessClient(
            context_injector=dg.PipesFileContextInjector(str(Path(folder) / "context.json")),
            message_reader=SharedFile(Path(folder) / "messages.jsonl"),
        )


class SharedFile(dg.PipesMessageReader):
    """Messages from a file that another node writes: opened anew at each look, since only that shows them on NFS."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[dict[str, Any]]:
        """Passes messages on until the process has ended and all of them are read."""
        self._path.touch()
        ended = Event()
        thread = Thread(target=self._follow, args=(handler, ended), daemon=True)
        thread.start()
        try:
            yield {PipesDefaultMessageWriter.FILE_PATH_KEY: str(self._path)}
        finally:
            ended.set()
            thread.join()

    def _follow(self, handler: dg.PipesMessageHandler, ended: Event) -> None:
        read, last = 0, False
        while not last:
            last = ended.wait(POLL_S)
            with self._path.open("rb") as file:
                file.seek(read)
                complete = file.read().rpartition(b"\n")[0]
            for line in complete.splitlines():
                handler.handle_message(json.loads(line))
            read += len(complete) + 1 if complete else 0

    def no_messages_debug_text(self) -> str:
        """Where messages were looked for."""
        return f"Attempted to read messages from {self._path}."
