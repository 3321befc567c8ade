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

MODEL_RUNS = """
{ runsOrError(filter: { pipelineName: "tiny_train" }) { ... on Runs { results { jobName status } } } }
"""


@pytest.fixture
def long_training(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that is prepared, and whose training does not end before it is interrupted."""
    dataset = tiny.write(configs, tmp_path / "raw")
    tiny.save(configs, "experiments", {**tiny.RECIPE, "epochs": 100_000})
    with instance.opened() as dagster:
        materialise(dagster, dataset, PREPARE)


class Materialising:
    """`landcover materialise` in a terminal of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "assets.cli", "materialise", tiny.NAME],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout

    def read_until(self, text: str) -> list[str]:
        """The lines up to one that holds a text."""
        lines = []
        for line in self.output:
            lines.append(line)
            if text in line:
                return lines
        raise AssertionError(f"no {text!r} in {lines}")

    def interrupt(self) -> str:
        """Ctrl-C; gives what is printed then."""
        os.killpg(self.process.pid, signal.SIGINT)
        with self.output as output:
            rest = output.read()
        assert self.process.wait(60) == 130, rest
        assert "Traceback" not in rest, rest
        assert rest.endswith("Interrupted. The same command goes on where this one ended.\n")
        return rest


@pytest.mark.usefixtures("long_training")
def test_an_interrupted_materialise_says_how_to_go_on() -> None:
    run = Materialising()
    run.read_until("epoch 2 of")
    run.interrupt()


@pytest.mark.long
@pytest.mark.usefixtures("long_training")
def test_what_the_servers_launched_ends_with_its_command_and_outlives_them(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        run = Materialising()
        run.read_until(f"runs are launched through {served.url}")
        run.read_until("of 100000: loss")
        run.interrupt()
        (launched,) = served.ask(MODEL_RUNS)["runsOrError"]["results"]
        assert (launched["jobName"], launched["status"]) == ("tiny_train", "CANCELED")
        run = Materialising()
        run.read_until("of 100000: loss")
        family, before = served.family(), len(served.lines())
        os.killpg(served.process.pid, signal.SIGINT)
        run.read_until("`landcover ui` has ended: what it had begun goes on in this process")
        assert served.process.wait(60) == 0
    run.read_until("of 100000: loss")
    run.interrupt()
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    printed = served.lines()[before:]
    assert not re.search(r"Traceback|Stack Trace|KeyboardInterrupt", "\n".join(printed))
    end = printed.index("Ending the servers.")
    assert any(re.match(r"Run \w{8} \(tiny_train\) was cut off; what it had finished stays", x) for x in printed[end:])
