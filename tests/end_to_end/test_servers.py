"""Webserver and daemon as people run them: a job launched through the page's own interface, on a guarded server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assets import instance
from assets.definitions import lineage
from assets.graph import stages
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.evaluation.decisions import load_decisions
from tests import tiny
from tests.in_process import training_in_process

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = """
mutation($job: String!) { launchRun(executionParams: {mode: "default", runConfigData: {}, selector: {
  repositoryLocationName: "landcover_orch", repositoryName: "__repository__", jobName: $job}}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status endTime tags { key value } } } } }"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The folder of the raw files."""
    return tmp_path / "raw"


@pytest.fixture
def environment(configs: Path, home: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The tiny dataset, materialised, with its sensor on: for child processes."""
    dataset = tiny.write(configs, raw, tiles=4, retraining={"when": "new_data"}, promotion={"margin": 0.9})
    (configs / "dagster").mkdir()
    text = (REPOSITORY / "configs" / "dagster" / "dagster.yaml").read_text()
    (configs / "dagster" / "dagster.yaml").write_text(text)
    with instance.opened() as dagster, training_in_process():
        materialise(dagster, dataset)
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


def _runs_after(port: int, known: set[str]) -> list[dict[str, Any]]:
    """Runs that are not known yet, the oldest first."""
    runs = _ask(port, RUNS)["runsOrError"]["results"]
    return [run for run in reversed(runs) if run["runId"] not in known]


@pytest.mark.long
def test_a_new_tile_is_mapped_and_decided_on_without_a_person(
    servers: tuple[int, subprocess.Popen[str]], home: Path, raw: Path
) -> None:
    port, daemon = servers
    _read_until(daemon, r"tiny_watch.*(everything is up to date|nothing new)")
    known = {run["runId"] for run in _ask(port, RUNS)["runsOrError"]["results"]}
    decisions = len(load_decisions(tiny.NAME, home))
    arrived = time.time()
    tiny.write_tile(raw, "t9", column=9)
    _read_until(daemon, r"tiny_watch.*nothing new since")  # the look after the last run
    runs = _runs_after(port, known)
    names = [*stages(lineage(config.load_dataset(tiny.NAME)))]
    assert names[:3] == ["prepare", "manifest", "train"]
    assert [run["jobName"] for run in runs] == [f"tiny_{stage}" for stage in names]
    assert {run["status"] for run in runs} == {"SUCCESS"}
    tags = {tag["key"]: tag["value"] for tag in runs[0]["tags"]}
    assert "ground_truth t9: missing: nothing published" in tags["landcover/reasons"]
    assert (home / tiny.NAME / "land_cover_map" / "t9" / "class.tif").is_file()
    assert len(load_decisions(tiny.NAME, home)) == decisions + 1
    assert runs[-1]["endTime"] - arrived < 180

    with pytest.raises(urllib.error.HTTPError, match="403"):
        _ask(port, LAUNCH, {"Origin": "http://evil.example"}, job="tiny_everything")
    launched = _ask(port, LAUNCH, job="tiny_everything")["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    assert launched["run"]["runId"] not in known
