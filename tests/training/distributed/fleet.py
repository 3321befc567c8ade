"""Trainings of the classroom by several processes of torchrun, on the CPU, without Dagster or MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

DRIVER = """
import json, os, signal, sys
from pathlib import Path
import torch
from landcover_orch.training import product as training
from landcover_orch.config.experiments import Experiment
from landcover_orch.training import build, setup, step, throughput
from landcover_orch.training.distributed import process, process_group
from tests.training import classroom

throughput.PATIENCE_S = 0.01

def killed_at(point):
    updates, update = [], step.Step.update
    def update_then_kill(*arguments):
        loss = update(*arguments)
        updates.append(loss)
        if len(updates) == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss
    step.Step.update = update_then_kill

def with_memory_for(images, build):
    def full(_, batch):
        if len(batch[0]) > images:
            raise torch.OutOfMemoryError("full")
    def small(*settings):
        network = build(*settings)
        network.register_forward_pre_hook(full)
        return network
    return small

def main():
    process.end_when_asked()
    process.end_with_parent()
    here, network = process_group.init_process_group(), setup.build
    for how in json.loads(sys.argv[1]):
        home, [rank, point] = Path(how["home"]), how.get("kill", [None, None])
        if here.rank == rank:
            killed_at(point)
        setup.build = with_memory_for(how["images"], network) if "images" in how and here.rank == 1 else network
        with classroom.in_memory():
            if here.is_main:
                described = classroom.published(home)
                stepless = "name" in how["recipe"]
                recipe = Experiment(**how["recipe"]) if stepless else classroom.experiment(**how["recipe"])
                training.train(described, recipe, home, progress=lambda line: print(line, flush=True))
                here.broadcast_text()
            else:
                build.follow(home)
    process_group.destroy()

main()
"""


def environment() -> dict[str, str]:
    """Variables of a launcher here: one thread a process, and nothing beyond the loopback."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}


def command(trainings: list[dict[str, Any]], processes: int = 2) -> list[str]:
    """What trains one recipe after another.

    Args:
        trainings: each {home, recipe}, a recipe with a name being whole; `kill` [rank, step] has a process killed after
            that many updates, `images` leaves the second process memory for so many images.
        processes: how many share each batch.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, "--no-python", sys.executable, "-c", DRIVER, json.dumps(trainings)]


def train(trainings: list[dict[str, Any]], processes: int = 2) -> subprocess.CompletedProcess[str]:
    """The end of such trainings."""
    how: dict[str, Any] = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True}
    return subprocess.run(command(trainings, processes), check=False, **how)
