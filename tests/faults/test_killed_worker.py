"""A run worker killed in the middle of a training leaves no process and no result; the next run completes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pytest

from assets import instance
from assets.execution import MAX_RETRIES
from assets.materialise import materialise
from landcover_orch import config
from tests import tiny
from tests.planned import PREPARE

pytestmark = pytest.mark.slow

EPOCHS = 12


@pytest.fixture
def prepared(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny dataset with its manifest, and a recipe that takes a while."""
    dataset = tiny.write(configs, tmp_path / "raw")
    tiny.save(configs, "experiments", {**tiny.RECIPE, "epochs": EPOCHS})
    (configs / "dagster").mkdir()
    shipped = Path(__file__).resolve().parents[2] / "configs" / "dagster" / "dagster.yaml"
    (configs / "dagster" / "dagster.yaml").write_text(shipped.read_text())  # with its pools: one training at a time
    with instance.opened() as dagster:
        materialise(dagster, dataset, PREPARE)


def _training() -> subprocess.Popen[str]:
    """The lineage in a process of its own, once its training goes on."""
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "assets.cli", "materialise", tiny.NAME],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert worker.stderr is not None
    line = next(line for line in worker.stderr if "epoch 2 of" in line)
    assert line
    return worker


def _killed_while_training() -> list[psutil.Process]:
    """Kills the lineage's process while it trains, and gives the children it had."""
    worker = _training()
    assert worker.stderr is not None
    children = psutil.Process(worker.pid).children(recursive=True)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stderr.close()
    return children


def test_nothing_is_left_and_the_next_run_completes(prepared: None, home: Path) -> None:
    children = _killed_while_training()
    assert children
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    models = home / tiny.NAME / "model"
    assert not (models / tiny.EXPERIMENT).exists()
    assert (models / f".{tiny.EXPERIMENT}.partial").is_dir()
    with instance.opened() as dagster:
        key = dg.AssetKey([tiny.NAME, "model"])
        assert dagster.get_latest_materialization_event(key) is None
        materialise(dagster, config.load_dataset(tiny.NAME), ("model",))
        assert dagster.get_latest_materialization_event(key) is not None
    history = (models / tiny.EXPERIMENT / "history.csv").read_text().splitlines()
    assert len(history) == EPOCHS + 1, "each epoch once, those before the kill among them"


def interrupt(worker: subprocess.Popen[str]) -> None:
    """Ctrl-C in its terminal, which all of its processes get."""
    os.killpg(worker.pid, signal.SIGINT)


def cancel(_worker: subprocess.Popen[str]) -> None:
    """'Terminate' in Dagster's pages, which cannot reach its process, and marks its run as one that is to end."""
    with instance.opened() as dagster:
        (run,) = dagster.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        dagster.report_run_canceling(run)


@pytest.mark.parametrize("stop", [interrupt, pytest.param(cancel, marks=pytest.mark.long)])
def test_interrupted_it_stops_with_a_sentence_and_goes_on_later(
    prepared: None, home: Path, stop: Callable[[subprocess.Popen[str]], None]
) -> None:
    worker = _training()
    stop(worker)
    _, printed = worker.communicate(timeout=120)
    assert worker.returncode == 130, printed
    assert printed.splitlines()[-1] == "Interrupted. The same command goes on where this one ended."
    assert "Traceback" not in printed
    with instance.opened() as dagster:
        (run,) = dagster.get_runs(limit=1)
        assert run.status is dg.DagsterRunStatus.CANCELED
        assert run.tags[MAX_RETRIES] == "0", "the daemon starts nothing that a person has ended"
        materialise(dagster, config.load_dataset(tiny.NAME), ("model",))
    history = (home / tiny.NAME / "model" / tiny.EXPERIMENT / "history.csv").read_text().splitlines()
    assert len(history) == EPOCHS + 1
