"""A training killed at any point leaves no model, and the next one ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("model.safetensors", "contract.json", "history.json", "history.csv", "curves.png", "summary.json")
DRIVER = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, "tests/training")
import classroom
from landcover_orch.training import product as training
from landcover_orch.training.distributed import process
from landcover_orch.training import build as training_run, checkpoint, step, throughput

throughput.PATIENCE_S = 0.01

def train(home, recipe, point=None, number=9):
    kill = lambda *_: os.kill(os.getpid(), number)

    def progress(line):
        if point == "after the checkpoint" and line.startswith("epoch 2 "):
            kill()

    save, update = checkpoint.save, step.Step.update
    def save_half(folder, state):
        if state.epochs == 2:
            (folder / (checkpoint.FILE + ".new")).write_bytes(b"half")
            kill()
        save(folder, state)

    updates = []
    def update_then_kill(*arguments):
        loss = update(*arguments)
        updates.append(loss)
        if len(updates) == point:
            kill()
        return loss

    if point == "within the checkpoint":
        checkpoint.save = save_half
    if point == "while the product is written":
        training_run.write_files = kill
    if isinstance(point, int):
        step.Step.update = update_then_kill
    process.end_when_asked()
    with classroom.in_memory():
        training.train(classroom.published(home), classroom.experiment(**recipe), home, progress=progress)

def in_a_process_of_its_own(home, **how):
    # Torch is imported once; nothing of it has run when a process is forked.
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        train(Path(home), **how)
        status = 0
    except SystemExit as error:
        status = error.code
    finally:
        os._exit(status)

print(json.dumps([in_a_process_of_its_own(**run) for run in json.loads(sys.argv[1])]))
"""


def _statuses(runs: list[dict[str, Any]]) -> list[int]:
    """How the trainings end, one after another, each in a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DRIVER, json.dumps(runs)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    statuses: list[int] = json.loads(done.stdout.splitlines()[-1])
    return statuses


def _bytes(home: Path) -> list[bytes]:
    (link,) = (path for path in (home / "classroom" / "model").iterdir() if path.is_symlink())
    assert not list(link.glob("checkpoint*"))
    return [(link / name).read_bytes() for name in FILES]


@pytest.mark.slow
def test_killed_at_three_points_in_turn_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    uninterrupted, cut = (tmp_path / name for name in ("whole", "cut"))
    points = ("within the checkpoint", "after the checkpoint", "while the product is written")
    killed = [{"home": str(cut), "recipe": {}, "point": point} for point in points]
    assert _statuses(killed) == [-signal.SIGKILL] * 3
    assert [path.name for path in (cut / "classroom" / "model").iterdir() if not path.name.startswith(".")] == []
    assert _statuses([{"home": str(home), "recipe": {}} for home in (uninterrupted, cut)]) == [0, 0]
    assert _bytes(cut) == _bytes(uninterrupted)


SIX_STEPS = {"batch_size": 4, "epochs": 3}
"""24 train patches make 6 steps an epoch."""

RECIPES: dict[str, dict[str, Any]] = {
    "sgd, plateau, in parts": {
        "optimiser": {"name": "sgd", "lr": 0.5},
        "schedule": {"name": "plateau", "patience": 1, "factor": 0.1},
        "loss": ["cross_entropy", {"name": "jaccard", "class_weights": "median"}],
        "accumulate": 2,
        "clip_gradients": 1.0,
        "metric": "kl_proportions",
    },
    "adamw, one cycle, dropout": {
        "model": {"name": "enet", "width": 4},
        "optimiser": {"name": "adamw", "lr": 0.01},
        "schedule": "one_cycle",
        "loss": {"name": "focal", "class_weights": "balanced"},
        "augmentation": {"rotation": 30, "zoom": [0.8, 1.25], "noise": 0.1},
    },
    "a rate that is found, in bfloat16": {
        "optimiser": {"name": "rmsprop", "lr": "auto"},
        "schedule": {"name": "polynomial", "warmup": 3},
        "precision": "bfloat16",
        "sampling": "by_class",
    },
}


FIRST, *OTHERS = RECIPES


@pytest.mark.slow
@pytest.mark.parametrize("name", [FIRST, *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_killed_at_random_steps_it_ends_with_the_same_bytes(tmp_path: Path, name: str) -> None:
    recipe, uninterrupted, cut = {**SIX_STEPS, **RECIPES[name]}, tmp_path / "whole", tmp_path / "cut"
    draw = random.Random(name)
    steps = [draw.randint(1, 40), draw.randint(1, 5)] if "found" in name else [draw.randint(7, 11)]
    points = [*steps, draw.randint(1, 5)]
    signals = [signal.SIGTERM if i % 2 else signal.SIGKILL for i in range(len(points))]
    runs = [
        {"home": str(cut), "recipe": recipe, "point": point, "number": int(number)}
        for point, number in zip(points, signals, strict=True)
    ]
    ended = _statuses([*runs, *({"home": str(home), "recipe": recipe} for home in (cut, uninterrupted))])
    expected = [128 + number if number == signal.SIGTERM else -number for number in signals]
    assert ended == [*expected, 0, 0]
    assert _bytes(cut) == _bytes(uninterrupted)
