"""The fork server: a training of it is like one of a process of its own, and ends with the command that asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from landcover_orch.training.fork_server import ForkServer
from tests import tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """A server, ended behind the test."""
    started = ForkServer()
    yield started
    started.end()


def run(server: ForkServer, *arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    """A training that is asked for, with variables of its own."""
    environment = {**os.environ, **options}
    return subprocess.run(server.command(arguments), capture_output=True, text=True, env=environment)


def test_a_training_has_output_status_and_variables_of_the_command_that_asked(
    server: ForkServer, home: Path, configs: Path, tmp_path: Path
) -> None:
    shown = run(server, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--experiment" in shown.stdout
    process = server.process
    refused = run(server, "--dataset", "nowhere", "--experiment", "no-such-one")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no-such-one" in refused.stderr
    assert "Traceback" not in refused.stderr
    other = tmp_path / "other"
    for kind in ("datasets", "legends", "experiments"):
        (other / kind).mkdir(parents=True)
    tiny.save(other, "experiments", tiny.RECIPE)
    found = run(server, "--dataset", "nowhere", "--experiment", tiny.EXPERIMENT, LANDCOVER_CONFIGS=str(other))
    assert found.returncode == 1
    assert "nowhere" in found.stderr
    assert server.process is process, "one server forks them all"


def test_a_training_is_no_zombie_and_the_server_holds_torch_alone(server: ForkServer, home: Path) -> None:
    for _ in range(2):
        run(server, "--help")
    assert server.process is not None
    serving = psutil.Process(server.process.pid)
    assert serving.children() == []
    assert any("libtorch" in mapped.path for mapped in serving.memory_maps())


def test_a_command_without_its_server_trains_by_itself(server: ForkServer, home: Path) -> None:
    command = server.command(["--help"])
    server.end()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--experiment" in done.stdout
    assert run(server, "--help").returncode == 0, "the next one starts another server"


def test_the_server_and_its_socket_end_with_their_process() -> None:
    code = (
        "import os, signal; from landcover_orch.training.fork_server import ForkServer; server = ForkServer(); "
        "server.start(); print(server.process.pid, server.address, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    number, address = done.stdout.split()
    _, alive = psutil.wait_procs([psutil.Process(int(number))] if psutil.pid_exists(int(number)) else [], timeout=30)
    assert not alive
    assert not Path(address).exists()
