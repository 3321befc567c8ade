"""The learning-rate range test: a known curve, noise, divergence, and weights that stay as they were."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landcover_orch.errors import TrainingError
from landcover_orch.store.publish import Product
from landcover_orch.training import lr_finder, setup
from landcover_orch.training import product as training
from landcover_orch.training.lr_finder import Curve, suggestion
from tests.training import classroom

AUTO = {"name": "adam", "lr": "auto"}
RATES = np.geomspace(1e-6, 10, 100)


@pytest.fixture(autouse=True)
def _patches() -> Iterator[None]:
    with classroom.in_memory():
        yield


def _losses(steepest: float, noise: float = 0.0, seed: int = 0, diverges: float = 1.0) -> list[float]:
    """A loss that falls from 2 to 1, fastest at a rate, and jumps beyond another."""
    fall = 2 - 1 / (1 + (steepest / RATES) ** 2)
    jump = np.where(diverges < RATES, 3 + 2 * np.sin(40 * np.log(RATES)), 0)
    return list(fall + jump + np.random.default_rng(seed).normal(0, noise, len(RATES)))


@settings(max_examples=30)
@given(st.floats(1e-4, 5e-2), st.floats(0, 0.05), st.integers(0, 2**31))
def test_the_suggestion_is_where_the_loss_falls_fastest(steepest: float, noise: float, seed: int) -> None:
    suggested = suggestion(RATES, _losses(steepest, noise, seed))
    assert steepest / 3 < suggested < steepest * 3


def test_falls_after_a_jump_do_not_count() -> None:
    assert suggestion(RATES, _losses(1e-3, diverges=0.05)) == pytest.approx(1e-3, rel=0.2)


@pytest.mark.parametrize("losses", [[], [1.0] * 4, [1.0] * 40, list(np.linspace(1, 2, 40))])
def test_a_loss_that_never_falls_suggests_nothing(losses: list[float]) -> None:
    with pytest.raises(TrainingError, match=r"quick.yaml: optimiser.lr: auto, and"):
        suggestion(RATES[: len(losses)], losses, "quick")


def _task(**changed: Any) -> tuple[Any, Any]:
    recipe = classroom.experiment(optimiser=AUTO, **changed)
    return setup.task(classroom.manifest(), recipe, Path()), setup.model(classroom.manifest(), recipe, Path())


def test_weights_statistics_and_chance_are_afterwards_what_they_were() -> None:
    task, model = _task()
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    lr_finder.find(task, model, lambda _: None)
    assert torch.equal(torch.rand(3), expected)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())


def test_it_is_the_same_each_time_and_depends_on_the_seed() -> None:
    first, same, other = (lr_finder.find(*_task(seed=seed), lambda _: None) for seed in (3, 3, 4))
    assert first == same != other
    assert len(first.rates) == len(first.losses) <= lr_finder.STEPS
    assert 1e-5 < first.suggestion < 1


def test_it_stops_where_the_loss_diverges() -> None:
    losses = iter([*np.linspace(1, 0.5, 20), *[9.0] * 50])
    assert len(list(lr_finder.until_divergence(losses))) == 22
    assert list(lr_finder.until_divergence(iter([1.0, float("nan"), 1.0]))) == [1.0]


def test_the_picture_has_a_mark_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    curve = Curve(tuple(RATES), tuple(_losses(1e-3, 0.02)), 1e-3)
    for name in ("one.png", "two.png"):
        lr_finder.draw(tmp_path / name, curve)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "one.png").convert("RGB")).astype(int)
    red = picture[..., 0] - picture[..., 1:].max(axis=2) > 60
    assert red.any(axis=1).sum() > 100


def _train(home: Path, **changed: Any) -> Product:
    recipe = classroom.experiment(**{"optimiser": AUTO, "epochs": 2, **changed})
    product: Product = training.train(classroom.published(home), recipe, home)
    return product


def test_a_training_with_lr_auto_keeps_the_curve_and_learns_at_the_rate_it_found(home: Path) -> None:
    product = _train(home)
    curve = lr_finder.load(product.path)
    assert product.json("summary.json")["lr_found"] == curve.suggestion
    assert [row["lr"] for row in product.json("history.json")] == [curve.suggestion] * 2
    lines = list(csv.DictReader(product.file("lr_finder.csv").read_text().splitlines()))
    assert [float(line["loss"]) for line in lines] == list(curve.losses)
    assert [float(line["lr"]) for line in lines] == list(curve.rates)
    assert "lr_finder.png" in product.files


def test_the_training_is_that_with_the_found_rate_written_down(tmp_path: Path) -> None:
    suggested = _train(tmp_path / "auto")
    rate = suggested.json("summary.json")["lr_found"]
    written = _train(tmp_path / "written", optimiser={"name": "adam", "lr": rate})
    assert suggested.file("model.safetensors").read_bytes() == written.file("model.safetensors").read_bytes()
    assert "lr_finder.png" not in written.files


def test_an_interrupted_training_does_not_test_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = classroom.experiment(optimiser=AUTO, epochs=2)

    def lights(line: str) -> None:
        if line.startswith("epoch 1 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(classroom.published(home), recipe, home, progress=lights)
    (partial,) = (home / classroom.NAME / "model").glob(".*.partial")
    before = json.loads((partial / "lr_finder.json").read_text())
    monkeypatch.setattr(lr_finder, "find", None)
    assert _train(home).json("summary.json")["lr_found"] == before["suggestion"]
