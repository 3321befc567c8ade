"""A home with a registered champion, and the processes that serve it, for tests of what other machines see."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import tracking
from landcover_orch.models import networks
from landcover_orch.store.publish import Product
from landcover_orch.tracking import Tracker
from landcover_orch.training import product as training
from tests.training import classroom

NAME = classroom.NAME
CHAMPION = f"models:/{NAME}@champion"
PATIENCE_S = 120

PREDICT = f"""
import numpy as np, mlflow
model = mlflow.pyfunc.load_model("{CHAMPION}")
np.save("probabilities.npy", model.predict(np.load("pixels.npy")))
import landcover_orch
print(landcover_orch.__file__)
"""
"""Script of a person who knows MLflow alone: the champion's prediction of one file into another."""


def crowned(home: Path, **changed: object) -> Product:
    """A trained and registered model with the alias `champion`."""
    with classroom.in_memory():
        product: Product = training.train(
            classroom.published(home),
            classroom.experiment(**changed),
            home,
            tracker=lambda start: Tracker(start, home),
        )
    tracking.register(product, classroom.manifest(), home)
    tracking.promote(NAME, product, {"mean_iou": 0.5}, "run-1", home)
    return product


def probabilities(product: Product, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The library's own prediction (n, class, y, x)."""
    import torch

    model, _ = networks.load(product.path)
    with torch.inference_mode():
        values: NDArray[np.float32] = model(torch.from_numpy(pixels)).float().softmax(1).numpy()
    return values


def outside(**changed: str) -> dict[str, str]:
    """Environment of a process that knows nothing of this project; this environment's commands are on its path."""
    private = ("DAGSTER", "LANDCOVER", "MLFLOW", "PYTHONPATH")
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(private)}
    return {**kept, "PATH": path, **changed}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def posted(url: str, content: object) -> Any:
    """What a server answers to JSON."""
    kind = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(content).encode(), kind), timeout=60) as answer:  # noqa: S310 - our own http address
        return json.load(answer)


def status(url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> int:
    """HTTP status of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, dict(headers or {})), timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@contextmanager
def running(command: list[str], environment: Mapping[str, str], health: str, log: Path) -> Iterator[None]:
    """A server while it runs; it has answered at `health`."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=dict(environment), stdout=file, stderr=file, cwd=log.parent, start_new_session=True
        )
    try:
        wait_for(health, process, log)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(health: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until a server answers 200."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if status(health) == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer at {health}: {log.read_text()[-2000:]}")


@contextmanager
def served(home: Path, log: Path) -> Iterator[int]:
    """The port of MLflow's server of a home while it runs."""
    port = free_port()
    command = tracking.server_command(home, port)
    with running(command, tracking.server_environment(), f"http://127.0.0.1:{port}/health", log):
        yield port


def predicted(
    folder: Path, pixels: NDArray[np.uint8], environment: Mapping[str, str], hidden: Path | None = None
) -> str:
    """Predicts with the champion in a process of its own, in `folder`; gives the file its library came from.

    Args:
        folder: gets `pixels.npy` and `probabilities.npy`.
        pixels: raw (n, band, y, x).
        environment: of the process, which says where MLflow is.
        hidden: a folder that the process finds empty.
    """
    np.save(folder / "pixels.npy", pixels)
    return run_script(folder, PREDICT, environment, hidden).strip().splitlines()[-1]


def run_script(folder: Path, script: str, environment: Mapping[str, str], hidden: Path | None = None) -> str:
    """What a script prints that runs in a process of its own; arguments as those of `predicted`."""
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-W", "ignore", "script.py"]
    if hidden is not None:
        command = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hidden), *command]
    done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-9000:]
    return done.stdout


def sees_namespaces() -> bool:
    """Whether this machine lets a person hide a folder from a process."""
    try:
        return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    except OSError:
        return False
