"""Trainings by several processes, started by the lineage: reported once, failed where one fails, gone on with."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from assets import instance
from assets.materialise import materialise
from landcover_orch import config
from tests import tiny
from tests.planned import PREPARE

pytestmark = pytest.mark.slow

EPOCHS = 30
MODEL = dg.AssetKey([tiny.NAME, "model"])
HERE = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
TORCHRUN = ["{python}", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

SRUN = f"""#!{sys.executable}
import json, os, signal, subprocess, sys

options = [part for part in sys.argv[1:] if part.startswith("--")]
options = options[: next(i for i, part in enumerate(sys.argv[1:]) if not part.startswith("--"))]
command = sys.argv[1 + len(options) :]
with open(__file__ + ".log", "a") as log:
    log.write(json.dumps([options, command]) + "\\n")
count = int(dict(part.split("=") for part in options if "=" in part)["--ntasks-per-node"])
step = {{"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_NTASKS": str(count), "SLURM_NNODES": "1",
        "SLURM_NTASKS_PER_NODE": str(count), "SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0",
        "SLURM_JOB_NAME": "landcover"}}
tasks = [
    subprocess.Popen(command, env={{**os.environ, **step, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)}})
    for i in range(count)
]
signal.signal(signal.SIGTERM, lambda *_: [task.kill() for task in tasks])
statuses = []
for task in tasks:
    statuses.append(task.wait())
    if statuses[-1]:
        [task.kill() for task in tasks]
sys.exit(max(map(abs, statuses)))
"""


@pytest.fixture
def prepared(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of launchers beside the tiny dataset, which has its manifest and a recipe that takes a while."""
    dataset = tiny.write(configs, tmp_path / "raw")
    tiny.save(configs, "experiments", {**tiny.RECIPE, "epochs": EPOCHS, "launcher": "two"})
    (configs / "dagster").mkdir()
    (configs / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (configs / "launchers").mkdir()
    with instance.opened() as dagster:
        materialise(dagster, dataset, PREPARE)
    return configs


def _launcher(configs: Path, prefix: list[str]) -> None:
    tiny.save(configs, "launchers", {"name": "two", "prefix": prefix, "environment": HERE})


def _training() -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """The lineage in a process of its own, once training goes on, and the processes it has started."""
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "assets.cli", "materialise", tiny.NAME],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stderr is not None
    lines = []
    for line in worker.stderr:
        lines.append(line)
        if f" of {EPOCHS}: loss" in line:
            return worker, psutil.Process(worker.pid).children(recursive=True)
    raise AssertionError("".join(lines))


def _ended(worker: subprocess.Popen[str]) -> int:
    assert worker.stderr is not None
    worker.stderr.read()
    worker.stderr.close()
    return worker.wait()


def _metadata(dagster: dg.DagsterInstance) -> dict[str, Any]:
    """What the one materialisation of the model says."""
    (event,) = dagster.fetch_materializations(MODEL, limit=9).records
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def _nothing_published(home: Path) -> bool:
    models = home / tiny.NAME / "model"
    return (models / f".{tiny.EXPERIMENT}.partial").is_dir() and not (models / tiny.EXPERIMENT).exists()


def _killed(home: Path, victim: Callable[[psutil.Process], bool]) -> int:
    """Status of the lineage when a process of a training was killed; requires that no process and no model is left."""
    worker, started = _training()
    killed = [process for process in (psutil.Process(worker.pid), *started) if victim(process)]
    assert len(killed) == 1
    killed[0].kill()
    status = _ended(worker)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not alive
    assert _nothing_published(home)
    return status


@pytest.mark.long
def test_killed_there_is_failed_here_and_the_next_run_goes_on(prepared: Path, home: Path, tmp_path: Path) -> None:
    _launcher(prepared, TORCHRUN)
    assert _killed(home, lambda process: process.environ().get("RANK") == "1") == 1
    assert not list((home / "pipes").iterdir())
    assert _killed(home, lambda process: process.ppid() == os.getpid()) == -signal.SIGKILL

    # Another launcher trains the same model: how many processes learn it is not part of it.
    queue = _queue(tmp_path)
    _launcher(prepared, [str(queue), "--nodes=1", "--ntasks-per-node=2", "--kill-on-bad-exit=1", "{python}"])
    with instance.opened() as dagster:
        assert dagster.get_latest_materialization_event(MODEL) is None
        materialise(dagster, config.load_dataset(tiny.NAME), ("model",))
        metadata = _metadata(dagster)
    assert (metadata["epochs"], metadata["version"]) == (EPOCHS, "1")
    history = (home / tiny.NAME / "model" / tiny.EXPERIMENT / "history.csv").read_text().splitlines()
    assert len(history) == EPOCHS + 1, "each epoch once, those before the kills among them"
    asked = ["landcover_orch.training", "--dataset", tiny.NAME, "--experiment", tiny.EXPERIMENT]
    options = ["--nodes=1", "--ntasks-per-node=2", "--kill-on-bad-exit=1"]
    assert json.loads(queue.with_suffix(".log").read_text()) == [options, [sys.executable, "-m", *asked]]


def _queue(folder: Path) -> Path:
    """An executable that stands in for srun."""
    srun = folder / "srun"
    srun.write_text(SRUN)
    srun.chmod(stat.S_IRWXU)
    return srun
