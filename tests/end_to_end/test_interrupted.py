"""Ctrl-C in a terminal, which every process of its group hears: a person sees no traceback of what is ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from assets import instance
from assets.materialise import materialise
from tests import tiny
from tests.end_to_end.served import REPOSITORY, Served
from tests.planned import PREPARE

pytestmark = pytest.mark.slow


@pytest.fixture
def long_training(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that is prepared, and whose training does not end before it is interrupted."""
    dataset = tiny.write(configs, tmp_path / "raw")
    tiny.save(configs, "experiments", {**tiny.RECIPE, "epochs": 100_000})
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with instance.opened() as dagster:
        materialise(dagster, dataset, PREPARE)


@pytest.mark.usefixtures("long_training")
def test_an_interrupted_materialise_says_how_to_go_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "assets.cli", "materialise", tiny.NAME],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        before = next(line for line in output if "epoch 2 of" in line)
        os.killpg(process.pid, signal.SIGINT)
        rest = output.read()
    assert process.wait(60) == 130
    assert before
    assert "Traceback" not in rest
    assert rest.endswith("Interrupted. The same command goes on where this one ended.\n")


@pytest.mark.usefixtures("long_training")
def test_an_interrupted_ui_prints_no_traceback_of_its_servers_and_runs(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.launch([tiny.NAME, "model"], tiny.EXPERIMENT)
        served.wait_for_line("epoch 2 of")
        family = served.family()
        os.killpg(served.process.pid, signal.SIGINT)
        assert served.process.wait(60) == 0
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    assert not re.search(r"Traceback|Stack Trace|KeyboardInterrupt", "\n".join(served.lines()))
