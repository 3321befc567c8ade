"""`landcover ui` as people start it, for tests that look at it through its own address."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from assets.ui import unused_port

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status jobName } } }"
LAUNCH = """
mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }
"""
TICKS = """
query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor {
  sensorState { ticks(limit: 1) { skipReason } } } } }
"""
SELECTOR = {"repositoryLocationName": "landcover_orch", "repositoryName": "__repository__"}


class Served:
    """The servers of a home, started by the command line, with their log."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port, self.mlflow_port = unused_port(), unused_port()
        self.log = folder / "ui.log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"},
            "LANDCOVER_DAGSTER_PORT": str(self.port),
            "LANDCOVER_MLFLOW_PORT": str(self.mlflow_port),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": str(REPOSITORY),
            "NO_COLOR": "1",
            **environment,
        }
        self.url, self.mlflow_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.mlflow_port}"
        command = [sys.executable, "-m", "assets.cli", "ui"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def __enter__(self) -> Served:
        self.wait_for_line("Ctrl-C ends all.")
        return self

    def __exit__(self, *_: object) -> None:
        family = [self.process.pid, *(child.pid for child in self.family())]
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.left = [pid for pid in family if psutil.pid_exists(pid) and is_alive(pid)]
            for pid in self.left:
                os.kill(pid, signal.SIGKILL)

    def family(self) -> list[psutil.Process]:
        """The servers' processes and those that they started; none once they were ended."""
        if self.process.poll() is not None:
            return []
        server = psutil.Process(self.process.pid)
        return [server, *(child for child in server.children(recursive=True) if is_alive(child.pid))]

    def running(self, module: str) -> list[psutil.Process]:
        """The servers' processes of a module; one that ends meanwhile is none."""
        found = []
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                found += [process] if module in process.cmdline() else []
        return found

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the command line in the same home."""
        return subprocess.run(
            [sys.executable, "-m", "assets.cli", *arguments], env=self.environment, capture_output=True, text=True
        )

    def lines(self) -> list[str]:
        """The log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def wait_for_line(self, text: str, times: int = 1) -> None:
        """Waits until the log holds a text so many times."""
        self.wait_for(lambda: sum(text in line for line in self.lines()) >= times, f"{text!r} in the log")

    def wait_for(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE_S) -> None:
        """Waits until a condition holds."""
        deadline = time.monotonic() + patience
        while not condition():
            tail = "\n".join(self.lines()[-30:])
            assert self.process.poll() is None, f"ended while waiting for {what}:\n{tail}"
            assert time.monotonic() < deadline, f"no {what} in {patience} s:\n{tail}"
            time.sleep(0.2)

    def ask(self, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        """The answer to a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)  # noqa: S310 - our own http address
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own http address
            content = json.load(answer)
        assert "errors" not in content, content
        return content["data"]

    def launch(self, asset: list[str], partition: str) -> str:
        """What a press on Materialize of one partition sends; gives the run's id."""
        tags = [{"key": "dagster/partition", "value": partition}]
        selector = {**SELECTOR, "pipelineName": "__ASSET_JOB", "assetSelection": [{"path": asset}]}
        params = {"mode": "default", "executionMetadata": {"tags": tags}, "runConfigData": "{}"}
        checks = {"assetCheckSelection": []}
        result = self.ask(LAUNCH, {"params": {**params, "selector": {**selector, **checks}}})["launchPipelineExecution"]
        assert result["__typename"] == "LaunchRunSuccess", result
        return str(result["run"]["runId"])

    def launch_job(self, job: str) -> str:
        """What a press on Launch run of a job sends; gives the run's id."""
        selector = {**SELECTOR, "pipelineName": job}
        params = {"mode": "default", "runConfigData": "{}", "selector": selector}
        result = self.ask(LAUNCH, {"params": params})["launchPipelineExecution"]
        assert result["__typename"] == "LaunchRunSuccess", result
        return str(result["run"]["runId"])

    def status(self, run_id: str) -> str:
        """The status of a run."""
        return str(self.ask(RUN, {"id": run_id})["runOrError"]["status"])

    def wait_for_run(self, run_id: str, *statuses: str, patience: float = PATIENCE_S) -> str:
        """Waits until a run has one of some statuses; gives it."""
        self.wait_for(lambda: self.status(run_id) in statuses, f"run {run_id[:8]} in {statuses}", patience)
        return self.status(run_id)

    def last_tick(self, sensor: str) -> str:
        """Why the last tick of a sensor requested nothing; empty where it did, or has not ticked yet."""
        answer = self.ask(TICKS, {"s": {**SELECTOR, "sensorName": sensor}})["sensorOrError"]
        ticks = answer["sensorState"]["ticks"] if answer else []
        return str(ticks[0]["skipReason"] or "") if ticks else ""


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
