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

from assets.dagster_internals import DagsterPipesExecutionError
from landcover_orch import config
from landcover_orch.config.launchers import LOCAL, Launcher
from landcover_orch.training.fork_server import ForkServer

FOLDER = "pipes"
"""Folder below LANDCOVER_HOME through which processes of other nodes hear of Dagster and tell it."""

MESSAGES = "messages.jsonl"
POLL_S = 0.2

TRAINING = "landcover_orch.training"
ENDING_S = 120
"""Seconds that an interrupted training may take to end: it does so behind the step it is in."""

FORK_SERVER = ForkServer()
"""What forks this process's trainings: those behind the first one start without loading torch."""

FAILED = DagsterPipesExecutionError
"""What a run raises whose process failed."""


def run(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, launcher: Launcher, module: Sequence[str]
) -> dg.PipesClientCompletedInvocation:
    """What a module's processes reported; they end with this process, which fails where one of them does.

    Args:
        context: of the asset that they make.
        pipes: the client for a process on this machine.
        launcher: what starts them.
        module: name of the module, and its arguments; trainings on this machine are forked.
    """
    environment = {**launcher.environment, **config.folder_variables(), "LANDCOVER_PARENT": str(os.getpid())}
    if launcher == LOCAL:
        forked = module[0] == TRAINING
        alone = FORK_SERVER.command(module[1:]) if forked else LOCAL.command(sys.executable, module)
        return pipes.run(context=context, command=alone, env=environment)
    command = launcher.command(sys.executable, module)
    ending = [sys.executable, "-m", "landcover_orch.training.distributed.process", *command]
    with shared_file_client(context.run_id) as client:
        return client.run(context=context, command=ending, env=environment)


def client(folder: Path | None = None) -> dg.PipesSubprocessClient:
    """A Pipes client that takes whole lines alone.

    Args:
        folder: where files lie that all nodes see; None: a temporary folder of this machine.
    """
    if folder is None:
        return dg.PipesSubprocessClient(message_reader=WholeLines(), termination_timeout_seconds=ENDING_S)
    return dg.PipesSubprocessClient(
        context_injector=dg.PipesFileContextInjector(str(folder / "context.json")),
        message_reader=WholeLines(folder / MESSAGES),
        termination_timeout_seconds=ENDING_S,
    )


@contextmanager
def shared_file_client(run_id: str) -> Iterator[dg.PipesSubprocessClient]:
    """A client that speaks through files that all nodes see."""
    parent = config.home() / FOLDER
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"{run_id[:8]}-") as folder:
        yield client(Path(folder))


class WholeLines(dg.PipesMessageReader):
    """Messages from a file, whole lines alone: half of a line is read once the rest of it is there.

    The file is opened anew at each look: on NFS only that shows what another node wrote.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[dict[str, Any]]:
        """Passes messages on until the process has ended and all of them are read."""
        with tempfile.TemporaryDirectory(prefix="pipes-") as folder:
            path = self._path or Path(folder) / MESSAGES
            path.touch()
            ended = Event()
            thread = Thread(target=self._follow, args=(handler, ended, path), daemon=True)
            thread.start()
            try:
                yield {PipesDefaultMessageWriter.FILE_PATH_KEY: str(path)}
            finally:
                ended.set()
                thread.join()

    @staticmethod
    def _follow(handler: dg.PipesMessageHandler, ended: Event, path: Path) -> None:
        read, last = 0, False
        while not last:
            last = ended.wait(POLL_S)
            with path.open("rb") as file:
                file.seek(read)
                complete = file.read().rpartition(b"\n")[0]
            for line in complete.splitlines():
                handler.handle_message(json.loads(line))
            read += len(complete) + 1 if complete else 0

    def no_messages_debug_text(self) -> str:
        """Where messages were looked for."""
        return f"Attempted to read messages from {self._path or 'a temporary file'}."
