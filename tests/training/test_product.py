"""From manifest and experiment to a published model; what is interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landcover_orch.errors import TrainingError
from landcover_orch.models import networks
from landcover_orch.store.publish import Product
from landcover_orch.training import checkpoint, device
from landcover_orch.training import product as training
from tests.training import classroom

REPRODUCIBLE = ("model.safetensors", "contract.json", "history.json", "history.csv", "curves.png", "summary.json")


@pytest.fixture(autouse=True)
def _patches() -> Iterator[None]:
    with classroom.in_memory():
        yield


def _train(home: Path, lines: list[str] | None = None, **changed: Any) -> Product:
    log = [] if lines is None else lines
    product: Product = training.train(
        classroom.published(home), classroom.experiment(**changed), home, progress=log.append
    )
    return product


def _same(first_product: Product, other: Product) -> bool:
    return all(first_product.file(name).read_bytes() == other.file(name).read_bytes() for name in REPRODUCIBLE)


@pytest.mark.parametrize("family", ["unet", "segnet"])
def test_it_learns_and_the_stored_model_is_the_best_epoch(home: Path, family: str) -> None:
    product = _train(home, epochs=12, model={"name": family, "width": 8, "levels": 1}, schedule="one_cycle")
    assert product.json("summary.json")["mean_iou"] > 0.8
    module, contract = networks.load(product.path)
    seen = classroom.patches(8, seed=2)
    with torch.inference_mode():
        predicted = module(torch.from_numpy(seen.image)).max(1).indices.numpy()
    right = (predicted == seen.label)[seen.label != 255].mean()
    assert right == pytest.approx(product.json("summary.json")["accuracy"], abs=0.02)
    assert contract.resolution == 2.0
    assert contract.data_digest == classroom.manifest().digest


def test_the_product_holds_what_it_says(home: Path) -> None:
    lines: list[str] = []
    product = _train(home, lines)
    assert sorted(product.files) == sorted((*REPRODUCIBLE, "throughput.json"))
    assert [row["epoch"] for row in product.json("history.json")] == [1, 2, 3]
    assert product.json("summary.json")["majority_share"] == 0.5
    assert all(rate > 0 for rate in product.json("throughput.json")["images_per_second"].values())
    assert lines[0].startswith("training on the CPU")
    assert len([line for line in lines if line.startswith("epoch ")]) == 3
    assert not [path for path in product.path.rglob("*") if path.suffix in (".ckpt", ".pt", ".pkl")]


def test_it_leaves_nothing_where_it_was_started(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    monkeypatch.chdir(empty)
    _train(home, epochs=1)
    assert list(empty.iterdir()) == []


def test_a_second_run_finds_the_first(home: Path) -> None:
    lines: list[str] = []
    first = _train(home)
    assert _train(home, lines).path == first.path
    assert lines == []


def test_prediction_and_description_do_not_train_anew_all_else_does(home: Path) -> None:
    described, usual = classroom.manifest(), classroom.experiment()
    base = training.recipe(described, usual)
    unrelated = classroom.experiment(description="x", prediction={"window": 64, "stride": 32})
    assert training.recipe(described, unrelated) == base
    for change in (
        {"seed": 1},
        {"epochs": 9},
        {"optimiser": {"name": "adam", "lr": 0.5}},
        {"loss": {"name": "cross_entropy", "class_weights": "inverse"}},
    ):
        assert training.recipe(described, classroom.experiment(**change)) != base


def test_one_recipe_gives_one_model(tmp_path: Path) -> None:
    assert _same(_train(tmp_path / "one"), _train(tmp_path / "two"))


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    first_product, other = _train(tmp_path / "one"), _train(tmp_path / "two", seed=5)
    assert first_product.file("model.safetensors").read_bytes() != other.file("model.safetensors").read_bytes()


class _Power(BaseException):
    """The lights go out."""


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize(
    "recipe",
    [
        {"schedule": "one_cycle"},
        {"optimiser": {"name": "sgd", "lr": 0.05, "momentum": 0.8}, "schedule": "one_cycle", "steps_per_epoch": 4},
        {
            "model": {"name": "segnet", "width": 8, "levels": 2},
            "loss": {"name": "cross_entropy", "class_weights": "inverse"},
        },
    ],
)
def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path: Path, after: int, recipe: dict[str, Any]) -> None:
    uninterrupted = _train(tmp_path / "whole", **recipe)

    def lights(line: str) -> None:
        if line.startswith(f"epoch {after} "):
            raise _Power

    cut, home = classroom.experiment(**recipe), tmp_path / "cut"
    with pytest.raises(_Power):
        training.train(classroom.published(home), cut, home, progress=lights)
    assert not (home / classroom.NAME / "model" / "quick").exists()
    lines: list[str] = []
    assert _same(_train(home, lines, **recipe), uninterrupted)
    assert f"going on after epoch {after}" in lines


def test_an_interruption_within_an_epoch_repeats_that_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninterrupted, calls = _train(tmp_path / "whole"), 0
    take = classroom.Memory.take

    def flicker(self: Any, indices: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise OSError("the disk is gone")
        return take(self, indices)

    monkeypatch.setattr(classroom.Memory, "take", flicker)
    with pytest.raises(OSError, match="the disk is gone"):
        _train(tmp_path / "cut")
    assert _same(_train(tmp_path / "cut"), uninterrupted)


def test_patience_stops_early_and_keeps_the_best(home: Path) -> None:
    product = _train(home, epochs=30, patience=2, optimiser={"name": "sgd", "lr": 1e-9, "momentum": 0.0})
    summary = product.json("summary.json")
    assert summary["epochs"] == summary["best_epoch"] + 2 < 30


def test_bfloat16_learns_as_well(home: Path) -> None:
    assert _train(home, precision="bfloat16", epochs=6).json("summary.json")["mean_iou"] > 0.8


def test_a_split_without_patches_is_a_sentence(home: Path) -> None:
    with classroom.in_memory(validation=0), pytest.raises(TrainingError, match="no patch in the validation split"):
        _train(home)


def test_a_split_without_labels_is_a_sentence(home: Path) -> None:
    described = classroom.manifest()
    tile = described.tiles[0].model_copy(update={"class_pixels": {"train": (1, 1, 1), "validation": (0, 0, 0)}})
    described = described.model_copy(update={"tiles": (tile,)})
    with pytest.raises(TrainingError, match="validation split: no labelled pixel"):
        training.train(classroom.published(home, described), classroom.experiment(), home)


def test_a_device_that_is_not_there_is_a_sentence() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(TrainingError, match="cuda, but torch sees no CUDA device"):
        device.choose(classroom.experiment(device="cuda"))


def test_checkpoints_are_read_without_unpickling_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (print, ("run",))

    torch.save({"history": Trap()}, tmp_path / checkpoint.FILE)
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoint.load(tmp_path)


def test_history_rows_are_those_of_the_summary(home: Path) -> None:
    product = _train(home)
    rows, summary = product.json("history.json"), product.json("summary.json")
    best = max(rows, key=lambda row: row["metrics"]["mean_iou"])
    assert (best["epoch"], best["metrics"]["mean_iou"]) == (summary["best_epoch"], summary["mean_iou"])
    assert np.isfinite([row["loss"] for row in rows]).all()
    assert json.loads(product.file("contract.json").read_text())["experiment"] == "quick"
