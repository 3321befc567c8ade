"""The servers as a person meets them: a click on what nobody has looked at, edits while something runs, the end."""

from __future__ import annotations

import re
import shutil
import socket
import time
from pathlib import Path

import pytest

from assets import instance
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.store.products import DATASET_MANIFEST
from tests import tiny
from tests.end_to_end.served import SELECTOR, Served
from tests.planned import PREPARE

pytestmark = pytest.mark.slow

PARTITIONS = """
query($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode { partitionKeys } } }
"""
CANCEL = """
mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename ... on PythonError { message } } }
"""
START = "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"
STATE = """
query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { sensorState { status } } } }
"""
BACKFILL = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
BACKFILL_STATUS = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""
RUNS = """
{ runsOrError(limit: 200) { ... on Runs { results { runId jobName status tags { key value }
  repositoryOrigin { repositoryLocationName } } } } }
"""
DAEMON_S = 20
"""Long enough for Dagster's daemon to see which runs failed, and to start them anew where it may."""

ASSETS = "{ assetNodes { assetKey { path } isMaterializable } }"


@pytest.fixture
def project(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny dataset, which nobody has looked at, with a training that takes minutes; its configuration's folder."""
    monkeypatch.setenv("LANDCOVER_DATASETS", "tiny,other")
    tiny.write(configs, tmp_path / "raw", experiments=["quick", "endless"])
    tiny.save(configs, "experiments", {**tiny.RECIPE, "name": "endless", "epochs": 5000})
    return configs


def runs_of(served: Served, backfill: str, status: str) -> list[str]:
    """Ids of a backfill's runs that have a status."""
    runs = served.ask(RUNS)["runsOrError"]["results"]
    mark = {"key": "dagster/backfill", "value": backfill}
    return [run["runId"] for run in runs if mark in run["tags"] and run["status"] == status]


def job_runs(served: Served) -> list[tuple[str, str]]:
    """Job and status of each run."""
    return [(run["jobName"], run["status"]) for run in served.ask(RUNS)["runsOrError"]["results"]]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_click_edits_while_it_runs_and_the_end(project: Path, home: Path, tmp_path: Path) -> None:
    file = project / "datasets" / "tiny.yaml"
    (project / "datasets" / "other.yaml").write_text("name: other\n")  # a fault from the start stops only itself
    with Served(tmp_path) as served:
        twice = served.command("ui")
        assert twice.returncode == 1
        assert f"it is served already; expected one `landcover ui` a home. Fix: open {served.url}" in twice.stderr
        keys = {"asset": {"path": ["tiny", "ground_truth"]}}
        found = served.ask(PARTITIONS, keys)["assetNodeOrError"]["partitionKeys"]
        assert found == ["t0", "t1", "t2"], "the tiles are there when the address is"
        nodes = {tuple(node["assetKey"]["path"]) for node in served.ask(ASSETS)["assetNodes"]}
        assert ("other", "configuration") in nodes

        lines: list[str] = []
        with instance.opened() as dagster:  # as the command line does, while the servers run
            materialise(dagster, config.load_dataset("tiny"), {*PREPARE, DATASET_MANIFEST}, log=lines.append)
        assert f"  runs are launched through {served.url}, where `landcover ui` serves the home" in lines
        assert any("tiny/patches: tile t1 done" in line for line in lines), "what the steps write, as it is written"
        sensor = {"s": {**SELECTOR, "sensorName": "tiny_watch"}}
        assert served.ask(STATE, sensor)["sensorOrError"]["sensorState"]["status"] == "STOPPED"
        assert served.ask(START, sensor)["startSensor"]["__typename"] == "Sensor"
        params = {"assetSelection": [{"path": ["tiny", "model"]}], "partitionNames": ["endless"], "fromFailure": False}
        backfill = served.ask(BACKFILL, {"params": params})["launchPartitionBackfill"]["backfillId"]
        served.wait_for(lambda: bool(runs_of(served, backfill, "STARTED")), "the backfill's run")
        (run,) = runs_of(served, backfill, "STARTED")
        edit(file, "stride: 32", "stride: 16")
        served.wait_for_line("Configurations changed: reloaded.")
        assert served.status(run) == "STARTED"
        assert served.ask(STATE, sensor)["sensorOrError"]["sensorState"]["status"] == "RUNNING"
        printed = "\n".join(served.lines())
        assert printed.count("Dataset other is not loaded: ") == printed.count("datasets/other.yaml: root: ") == 1
        assert not re.search("Registry store|Security middleware|Starlette|No cursor|serving Dagster", printed)
        edit(file, "stride: 16", "stride: [16")
        served.wait_for_line("Not reloaded, the definitions stay as they were")
        (project / "datasets" / "other.yaml").unlink()
        edit(file, "stride: [16", "stride: 16")
        served.wait_for_line("Configurations changed: reloaded.", 2)
        assert served.status(run) == "STARTED"
        assert served.ask(BACKFILL_STATUS, {"id": backfill})["partitionBackfillOrError"]["status"] == "REQUESTED"
        assert served.ask(CANCEL, {"id": backfill})["cancelPartitionBackfill"]["__typename"] == "CancelBackfillSuccess"
        assert served.wait_for_run(run, "CANCELED", "FAILURE", "SUCCESS") == "CANCELED"
        (daemon,) = served.running("dagster._daemon")
        daemon.kill()
        served.wait_for_line("Dagster's daemon ended with -9, and is started again.")
        served.wait_for(lambda: bool(served.running("dagster._daemon")), "another daemon")
        runs = served.ask(RUNS)["runsOrError"]["results"]
        assert {run["repositoryOrigin"]["repositoryLocationName"] for run in runs} == {"landcover_orch"}
        assert "tiny_prepare" in {run["jobName"] for run in runs}
    assert served.process.returncode == 0
    assert served.left == []


@pytest.mark.parametrize("deleted", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_home_that_goes_away_ends_the_servers_and_is_not_made_anew(
    project: Path, home: Path, tmp_path: Path, deleted: bool
) -> None:
    present = tmp_path / "present"
    with Served(tmp_path) as served:
        home.rename(present)
        if deleted:
            shutil.rmtree(present)
        assert served.process.wait(60) == 1
    text = served.lines()[-1]
    assert text.startswith(
        f"{home}: it was {'deleted' if deleted else f'moved to {present}'}; expected the home that is"
    )
    assert deleted or f"export LANDCOVER_HOME={present} && landcover migrate && landcover ui" in text
    assert not home.exists()
    assert served.left == []


@pytest.mark.long
def test_what_ended_with_the_servers_starts_by_nobody(project: Path, home: Path, tmp_path: Path) -> None:
    with instance.opened() as dagster:
        materialise(dagster, config.load_dataset("tiny"), {*PREPARE, DATASET_MANIFEST})
    ended = []
    with Served(tmp_path) as served:
        ended.append(served.launch(["tiny", "model"], "endless"))
        served.wait_for_run(ended[0], "STARTED")
    with Served(tmp_path) as served:
        assert served.status(ended[0]) in ("FAILURE", "CANCELED")
        ended.append(served.launch_job("tiny_everything"))
        served.wait_for(lambda: ("tiny_train", "STARTED") in job_runs(served), "the training that the job runs")
    with Served(tmp_path) as served:
        assert served.status(ended[1]) in ("FAILURE", "CANCELED")
        before = job_runs(served)
        time.sleep(DAEMON_S)
        assert job_runs(served) == before
        assert {status for _, status in before} <= {"SUCCESS", "FAILURE", "CANCELED"}


def test_ports_that_are_taken_are_found_before_anything_starts(project: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        served = Served(tmp_path, LANDCOVER_DAGSTER_PORT=str(taken.getsockname()[1]), LANDCOVER_MLFLOW_PORT="none")
        assert served.process.wait(60) == 1
    text = served.log.read_text()
    assert "is taken; expected a free one. Fix: end what holds it, or export LANDCOVER_DAGSTER_PORT=" in text
    assert "LANDCOVER_MLFLOW_PORT: 'none'; expected a port from 1 to 65535" in text
    assert "serving" not in text


@pytest.mark.long
def test_materialise_all_on_what_nobody_has_looked_at(
    configs: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDCOVER_DATASETS", "tiny")
    tiny.write(configs, tmp_path / "raw", tiles=4, baselines=["random-forest"])
    tiny.save(configs, "experiments", {**tiny.RECIPE, "epochs": 12})
    with Served(tmp_path) as served:
        every = [node["assetKey"] for node in served.ask(ASSETS)["assetNodes"] if node["isMaterializable"]]
        params = {"assetSelection": every, "allPartitions": True}  # what the button of the asset graph sends
        backfill = served.ask(BACKFILL, {"params": params})["launchPartitionBackfill"]["backfillId"]

        def status() -> str:
            return str(served.ask(BACKFILL_STATUS, {"id": backfill})["partitionBackfillOrError"]["status"])

        served.wait_for(lambda: status() != "REQUESTED", "the end of all", 400)
        assert status() == "COMPLETED_SUCCESS"
    assert (home / "tiny" / "land_cover_map" / "t3" / "class.tif").is_file()
