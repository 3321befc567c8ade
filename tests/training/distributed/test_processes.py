"""Two processes learn what one does, and go on where one of them, or their launcher, was killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from landcover_orch.config.experiments import Experiment
from landcover_orch.store import publish
from landcover_orch.store.publish import Product
from landcover_orch.training import product as training
from landcover_orch.training import throughput
from tests.training import classroom
from tests.training.distributed import fleet

pytestmark = pytest.mark.slow

UNET = {"name": "unet", "width": 4, "levels": 2}
PIXELS = {"model": "pixel_classifier", "optimiser": {"name": "sgd", "lr": 0.5}}
RECIPES: dict[str, dict[str, Any]] = {
    "pixel-wise": {
        **PIXELS,
        "loss": [{"name": "focal", "class_weights": "balanced"}, {"name": "cross_entropy", "label_smoothing": 0.1}],
        "augmentation": {"rotation": 30, "zoom": [0.8, 1.25], "noise": 0.1, "band_dropout": 0.1},
        "schedule": {"name": "plateau", "patience": 1, "factor": 0.1},
        "clip_gradients": 0.5,
        "metric": "kl_proportions",
        "epochs": 4,
    },
    "normalised, last batch of three": {
        "model": UNET,
        "optimiser": {"name": "sgd", "lr": 0.05, "momentum": 0.5},
        "batch_size": 7,
        "schedule": {"name": "one_cycle", "momentum": [0.85, 0.95]},
        "loss": {"name": "cross_entropy", "class_weights": "median"},
        "patience": 1,
    },
    "rate found": {
        **PIXELS,
        "optimiser": {"name": "adam", "lr": "auto"},
        "sampling": "by_class",
        "steps_per_epoch": 5,
    },
    "jaccard": {**PIXELS, "loss": "jaccard"},
    "short of memory": {**PIXELS, "epochs": 2},
}
MEMORY_LIMITS = {"short of memory": 3}
FOUND_ALONE = {"jaccard": {"accumulate": 2}}
"""What one process is told to learn the same: losses over whole batches are means of the processes' own."""


FOREST = {"name": "quick", "model": {"name": "random_forest", "trees": 2}}


def _recipe(name: str, **more: Any) -> dict[str, Any]:
    return {"precision": "float32", **RECIPES[name], **more}


def _model(home: Path) -> Product:
    return publish.current(home / "classroom" / "model", "quick")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a home a recipe, each trained by two processes."""
    folder = tmp_path_factory.mktemp("two")
    memory_limits = {name: {"images": images} for name, images in MEMORY_LIMITS.items()}
    trainings = [
        {"home": str(folder / name), "recipe": _recipe(name), **memory_limits.get(name, {})} for name in RECIPES
    ]
    done = fleet.train([{"home": str(folder / "forest"), "recipe": FOREST}, *trainings])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(", by 2 processes, 2 a node, that share each batch") == len(RECIPES)
    return folder


@pytest.fixture
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(throughput, "PATIENCE_S", 0.01)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_learn_what_one_does(together: Path, tmp_path: Path, name: str) -> None:
    with classroom.in_memory():
        recipe = classroom.experiment(**_recipe(name, **FOUND_ALONE.get(name, {})))
        single = training.train(classroom.published(tmp_path), recipe, tmp_path)
    two = _model(together / name)
    rows, others = (product.json("history.json") for product in (single, two))
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert other == {key: _near(value) for key, value in row.items()}
    weights, learnt = (load_file(product.file("model.safetensors")) for product in (single, two))
    torch.testing.assert_close(learnt, weights, rtol=1e-3, atol=1e-4)
    assert two.json("summary.json")["accumulate"] == (2 if name in MEMORY_LIMITS else 1)


def test_what_takes_no_steps_the_first_process_does_alone(together: Path, tmp_path: Path) -> None:
    with classroom.in_memory():
        single = training.train(classroom.published(tmp_path), Experiment.model_validate(FOREST), tmp_path)
    two = _model(together / "forest")
    assert two.file("model.safetensors").read_bytes() == single.file("model.safetensors").read_bytes()


def _near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-3, abs=1e-4) if value is not None else None


FILES = ("model.safetensors", "history.json", "history.csv", "curves.png", "summary.json", "contract.json")
LONG = {"model": UNET, "epochs": 30, "precision": "float32"}


@pytest.mark.long
def test_killed_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    uninterrupted, cut = ({"home": str(tmp_path / name), "recipe": LONG} for name in ("whole", "cut"))
    done = fleet.train([{**cut, "kill": [1, 8]}])
    assert done.returncode == 1
    assert "epoch 2 of 30" in done.stdout
    assert _unpublished(tmp_path / "cut")
    assert _launcher_killed_after("epoch 5 of 30", [cut]) == -signal.SIGKILL
    assert _unpublished(tmp_path / "cut")
    assert fleet.train([cut, uninterrupted]).returncode == 0
    a, b = (_model(tmp_path / name) for name in ("whole", "cut"))
    assert [a.file(name).read_bytes() for name in FILES] == [b.file(name).read_bytes() for name in FILES]


def _launcher_killed_after(line_part: str, trainings: list[dict[str, Any]]) -> int:
    """Status of a launcher that is killed once its trainings have said so; requires that none of them lives on."""
    how: dict[str, Any] = {"cwd": fleet.ROOT, "env": fleet.environment(), "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(fleet.command(trainings), stderr=subprocess.DEVNULL, **how) as launcher:
        assert launcher.stdout is not None
        assert any(line_part in line for line in launcher.stdout)
        started = psutil.Process(launcher.pid).children(recursive=True)
        assert len(started) == 2
        launcher.kill()
        _, alive = psutil.wait_procs(started, timeout=60)
        assert not alive
        return launcher.wait()


def _unpublished(home: Path) -> bool:
    models = home / "classroom" / "model"
    return sorted(path.name for path in models.iterdir()) == [".quick.lock", ".quick.partial"]
