"""`landcover ui`: Dagster's webserver and daemon and MLflow's server, on loopback, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from assets import instance
from landcover_orch import config, tracking

DAGSTER_PORT = int(os.environ.get("LANDCOVER_DAGSTER_PORT", "3000"))
MLFLOW_PORT = int(os.environ.get("LANDCOVER_MLFLOW_PORT", "5000"))
PATIENCE_S = 15
WORKSPACE = Path(__file__).resolve().parent.parent / "workspace.yaml"
WATCH_S = 0.5


def commands() -> dict[str, list[str]]:
    """The processes by name."""
    python = sys.executable
    home = config.home()
    return {
        "Dagster webserver": [python, "-m", "assets.webserver", "--port", str(DAGSTER_PORT)],
        "Dagster daemon": [python, "-m", "dagster._daemon", "run", "-w", str(WORKSPACE)],
        "MLflow": [
            *(python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(MLFLOW_PORT), "--workers", "1"),
            *("--backend-store-uri", tracking.address(home), "--default-artifact-root", str(home / "mlartifacts")),
            "--no-serve-artifacts",
        ],
    }


def main() -> int:
    """Starts all, says where they are, ends all when one ends or the person interrupts."""
    with instance.opened():
        pass  # its databases are there before two servers would both create them
    tracking.client(config.home())
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    running = {
        name: subprocess.Popen(command, env=environment, start_new_session=True) for name, command in commands().items()
    }
    print(f"Dagster  http://127.0.0.1:{DAGSTER_PORT}\nMLflow   http://127.0.0.1:{MLFLOW_PORT}\nCtrl-C ends both.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return wait_for_first_exit(running)
    except KeyboardInterrupt:
        return 0
    finally:
        terminate(running)


def wait_for_first_exit(running: dict[str, subprocess.Popen[bytes]]) -> int:
    """Waits until one of the processes ends; 1, after saying which."""
    while True:
        for name, process in running.items():
            if process.poll() is not None:
                print(f"{name} ended with {process.returncode}; `make doctor` says whether its port is free.")
                return 1
        time.sleep(WATCH_S)


def terminate(running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Ends process groups: SIGTERM, then SIGKILL after `PATIENCE_S`."""
    for process in running.values():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    for process in running.values():
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
