"""A training killed with SIGKILL leaves no model, and the next one ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("model.safetensors", "contract.json", "history.json", "history.csv", "curves.png", "summary.json")
CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests/training")
import classroom
from landcover_orch import training
from landcover_orch.training import checkpoint, product as products

home, point = Path(sys.argv[1]), sys.argv[2]

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def progress(line):
    if point == "after the checkpoint" and line.startswith("epoch 2 "):
        kill()

if point == "within the checkpoint":
    save = checkpoint.save
    def save_half(folder, state):
        if state.epochs == 2:
            (folder / (checkpoint.FILE + ".new")).write_bytes(b"half")
            kill()
        save(folder, state)
    checkpoint.save = save_half
if point == "while the product is written":
    products._write = kill

with classroom.in_memory():
    product = training.run(classroom.published(home), classroom.experiment(), home, progress=progress)
print(product.path)
"""


def _child(home: Path, point: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(home), point], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_killed_at_three_points_in_turn_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = Path(_child(tmp_path / "whole", "never").stdout.strip())
    home = tmp_path / "cut"
    folder = home / "classroom" / "model"
    for point in ("within the checkpoint", "after the checkpoint", "while the product is written"):
        killed = _child(home, point)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
    finished = Path(_child(home, "never").stdout.strip())
    assert all((finished / name).read_bytes() == (whole / name).read_bytes() for name in FILES)
    assert not list(finished.glob("checkpoint*"))
