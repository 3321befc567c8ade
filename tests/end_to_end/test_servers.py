"""Webserver and daemon as people run them: a job launched through the page's own interface, on a guarded server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assets import instance
from tests import tiny

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = """
mutation($job: String!) { launchRun(executionParams: {mode: "default", runConfigData: {}, selector: {
  repositoryLocationName: "landcover_orch", repositoryName: "__repository__", jobName: $job}}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
RUNS = "{ runsOrError { ... on Runs { results { jobName status assetSelection { path } } } } }"


@pytest.fixture
def environment(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A prepared instance of the tiny dataset, for child processes."""
    tiny.write(configs, tmp_path / "raw", tiles=6)
    (configs / "dagster").mkdir()
    text = (REPOSITORY / "configs" / "dagster" / "dagster.yaml").read_text()
    (configs / "dagster" / "dagster.yaml").write_text(text)
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with instance.opened():
        pass  # as `make ui`: two servers that start at once would both create its databases
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}


@pytest.fixture
def servers(environment: dict[str, str]) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The webserver's port and the daemon, whose log is read line by line."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    workspace = ["-w", str(REPOSITORY / "workspace.yaml")]
    web = _start([sys.executable, "-m", "assets.webserver", "--port", str(port)], environment)
    daemon = _start([sys.executable, "-m", "dagster._daemon", "run", *workspace], environment)
    try:
        _read_until(web, "serving")
        yield port, daemon
    finally:
        for process in (web, daemon):
            os.killpg(process.pid, signal.SIGKILL)  # their code servers too
            process.wait()
            if process.stdout:
                process.stdout.close()


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _read_until(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError(f"ended without {pattern!r}: {''.join(lines[-20:])}")


def _ask(port: int, query: str, headers: dict[str, str] | None = None, **variables: str) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", body, {"content-type": "application/json", **(headers or {})}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own http address
        return json.load(answer)["data"]


def test_a_job_launched_through_the_server_prepares_all_tiles_in_few_runs(
    servers: tuple[int, subprocess.Popen[str]], home: Path
) -> None:
    port, daemon = servers
    with pytest.raises(urllib.error.HTTPError, match="403"):
        _ask(port, LAUNCH, {"Origin": "http://evil.example"}, job="tiny_prepare")
    launched = _ask(port, LAUNCH, job="tiny_prepare")["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    _read_until(daemon, r"completed iteration with status \S*COMPLETED")
    runs = _ask(port, RUNS)["runsOrError"]["results"]
    assert {run["status"] for run in runs} == {"SUCCESS"}
    materialised = [run for run in runs if run["assetSelection"]]
    assert len(materialised) == 2, "six tiles in one run, the manifest in another"
    assert (home / "tiny" / "dataset_manifest" / "dataset" / "manifest.json").is_file()
