"""Fork server: a process that has torch loaded, from which trainings that follow each other are forked.

Loading torch, MLflow and Lightning costs more than a small training. The server loads them once and runs none of
them; a training is a fork of it, with the files, variables and folder of the command that asked for it, and dies with
that command. `python -m landcover_orch.training.fork_server ADDRESS ARGUMENTS ...` is that command: it does what
`python -m landcover_orch.training ARGUMENTS ...` does, and ends with the same status.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from landcover_orch.training.distributed.process import (
    PARENT,
    UNDER_DAGSTER,
    end_when_asked,
    end_with_parent,
    keep_memory,
)

LOADED = (
    "landcover_orch.training.product",
    "landcover_orch.patches.store",
    "mlflow.pytorch",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "dagster_pipes",
)
"""Modules of every training."""

NETWORK = "landcover_orch.training.fit"
"""Module of a network's training, which loads Lightning."""

MODULE = "landcover_orch.training.fork_server"
CHUNK, FILES = 2**16, 3


class ForkServer:
    """A fork server of this process, which starts with the first training and ends with this process."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""
        atexit.register(self.end)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Command line of a training that is forked; the server is started where it does not run."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        return [sys.executable, "-m", MODULE, self.address, *arguments]

    def start(self) -> None:
        """Starts the server, with a socket that this user alone can reach."""
        folder = tempfile.mkdtemp(prefix="landcover-")
        self.address = str(Path(folder) / "fork.sock")
        environment = {**os.environ, PARENT: str(os.getpid())}
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded
        environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a process that has asked CUDA itself cannot be forked
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.address)
            listening.listen()
            serving = [sys.executable, "-m", MODULE, "--serve", str(listening.fileno()), folder]
            self.process = subprocess.Popen(serving, env=environment, pass_fds=[listening.fileno()])  # noqa: S603 - this interpreter, no shell

    def end(self) -> None:
        """Ends the server."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def serve(listening: socket.socket, folder: Path) -> None:
    """Forks trainings until the parent ends, which ends this process."""
    signal.signal(signal.SIGTERM, lambda *_: end(folder))
    end_with_parent(int(os.environ[PARENT]), signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the trainings
    signal.signal(signal.SIGCHLD, reap)
    keep_memory()
    while True:
        connection, _ = listening.accept()
        request, files = receive(connection)
        if request:
            load(request["arguments"])
            if os.fork() == 0:
                listening.close()
                sys.exit(train(connection, request, files))
        connection.close()
        for number in files:
            os.close(number)


def reap(number: int, frame: FrameType | None) -> None:
    """Takes note of ended trainings, which are no zombies then; their time counts as this process's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, a line of JSON, and the standard files that came with it; nothing where the command has ended."""
    message, files, _, _ = socket.recv_fds(connection, CHUNK, FILES)
    while not message.endswith(b"\n"):
        more = connection.recv(CHUNK)
        if not more:
            return {}, files
        message += more
    request: dict[str, Any] = json.loads(message)
    return request, files


def load(arguments: Sequence[str]) -> None:
    """Loads what a training needs; what is wrong with it, the training says itself."""
    with contextlib.suppress(Exception):
        from landcover_orch import config, tracking  # the command that asks does without
        from landcover_orch.config.experiments.models import Classical, Ensemble

        tracking.set_environment()
        for name in LOADED:
            importlib.import_module(name)
        experiment = config.load_experiment(arguments[arguments.index("--experiment") + 1])
        if not isinstance(experiment.model, Classical | Ensemble):
            importlib.import_module(NETWORK)


def end(folder: Path) -> None:
    """Ends the server, and takes its socket away."""
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)
    folder.rmdir()
    os._exit(0)


def train(connection: socket.socket, request: dict[str, Any], files: Sequence[int]) -> int:
    """Runs a training in this fork, with the files, variables and folder of the command that asked for it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    end_with_parent()
    for place, number in enumerate(files):
        os.dup2(number, place)
        os.close(number)
    os.environ.clear()
    os.environ.update(request["environment"], **{PARENT: str(os.getppid())})
    os.chdir(request["folder"])
    connection.sendall(f"{os.getpid()}\n".encode())
    ended = threading.Event()
    threading.Thread(target=die_with, args=(connection, ended), daemon=True).start()
    status = 1
    try:
        from landcover_orch.training.__main__ import main as command

        status = command(request["arguments"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter does at the end of a command
        sys.excepthook(*sys.exc_info())
    ended.set()
    connection.sendall(str(status).encode())
    return status


def die_with(connection: socket.socket, ended: threading.Event) -> None:
    """Kills this process where the command that asked for its training is gone before it has ended."""
    with contextlib.suppress(OSError):
        while connection.recv(1):
            pass
    if not ended.is_set():
        os.kill(os.getpid(), signal.SIGKILL)


def ask(address: str, arguments: list[str]) -> int:
    """Has a training forked, passes signals on to it, and gives its exit status; without a server it runs here."""
    if UNDER_DAGSTER in os.environ:
        parent = os.environ.get(PARENT)
        end_with_parent(int(parent) if parent else None)
    end_when_asked()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError:
            from landcover_orch.training.__main__ import main as command

            return command(arguments)
        request = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], range(FILES))
        answers = connection.makefile("rb")
        training = int(answers.readline() or 0)

        def pass_on(number: int, frame: FrameType | None) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(training, number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, pass_on if training else signal.SIG_DFL)
        status = answers.read()
    return int(status) if status else 128 + signal.SIGKILL


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(socket.socket(fileno=int(sys.argv[2])), Path(sys.argv[3]))
    sys.exit(ask(sys.argv[1], sys.argv[2:]))
