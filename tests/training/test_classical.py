"""Forests and clusters through training: what is drawn, the product, and the same bytes again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landcover_orch.config.experiments import models
from landcover_orch.errors import TrainingError, pluralise
from landcover_orch.models import networks
from landcover_orch.store import publish
from landcover_orch.training import build, classical, setup
from landcover_orch.training import product as training
from tests.training import classroom

FAMILIES = ("random_forest", "k_means")
SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"name": "random_forest", "trees": 5, "leaves": 32, "texture": [3], "pixels": 3000},
    "k_means": {"name": "k_means", "clusters": 12, "texture": [3], "pixels": 3000},
}


@pytest.fixture(autouse=True)
def _patches() -> Iterator[None]:
    with classroom.in_memory():
        yield


def recipe(family: str, **changed: Any) -> Any:
    return classroom.Experiment.model_validate({"name": "quick", "model": {**SMALL[family], **changed}})


def trained(home: Path, family: str, lines: list[str] | None = None, **changed: Any) -> publish.Product:
    log = lines if lines is not None else []
    return training.train(classroom.published(home), recipe(family, **changed), home, progress=log.append)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_and_travels_like_a_network(home: Path, family: str) -> None:
    lines: list[str] = []
    products = trained(home, family, lines)
    summary = products.json("summary.json")
    assert summary["mean_iou"] > 0.7
    assert summary["epochs"] == summary["best_epoch"] == 1
    assert summary["lr"] is None
    module, contract = networks.load(products.path)
    seen = classroom.patches(8, seed=2)
    with torch.inference_mode():
        predicted = module(torch.from_numpy(seen.image)).max(1).indices.numpy()
    assert (predicted == seen.label)[seen.label != 255].mean() == pytest.approx(summary["accuracy"])
    assert contract.model.name == family
    assert set(products.json("throughput.json")["images_per_second"].values()) == {None}
    assert lines[0] == f"training on the CPU, {pluralise(torch.get_num_threads(), 'thread')}, in float32"
    assert lines[1].startswith("fitted: loss ")
    assert "optimiser" not in products.recipe.configuration


@pytest.mark.parametrize("family", FAMILIES)
def test_an_interrupted_fitting_gives_the_same_bytes(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = trained(tmp_path / "whole", family)

    def out(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_files", out)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut", family)
    again = trained(tmp_path / "cut", family)
    names = ("model.safetensors", "history.json", "history.csv", "curves.png", "summary.json")
    assert all(again.file(name).read_bytes() == uninterrupted.file(name).read_bytes() for name in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_do_not_change_the_model(tmp_path: Path, family: str) -> None:
    before = torch.get_num_threads()
    products = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        products.append(trained(tmp_path / str(threads), family).file("model.safetensors").read_bytes())
    torch.set_num_threads(before)
    assert products[0] == products[1]


def _task(settings: models.RandomForest | models.KMeans, label: Any) -> tuple[classical.Task, networks.Normalised]:
    image = np.repeat(label[:, None], 2, axis=1).astype(np.float32)
    source = classroom.Memory(image, label)
    experiment = classroom.Experiment(name="quick", model=settings)
    bands = setup.bands(classroom.manifest())
    task = classical.Task(experiment, source, source, classroom.CLASSES, bands, (5, 3, 2), classical.DEVICE)
    return task, networks.Normalised(networks.build(settings, 2, 3), [0, 0], [1, 1])


def _labels() -> Any:
    label = np.zeros((6, 16, 16), np.uint8)
    label[:, :8] = 1
    label[0, 15, :5] = 2
    label[:, 0] = 255
    return label


def test_a_forest_draws_equally_by_class_as_far_as_pixels_go() -> None:
    task, module = _task(models.RandomForest(pixels=300, texture=()), _labels())
    rows, classes, weights = classical.sample(task, module)
    assert np.bincount(classes).tolist() == [100, 100, 5]
    seen = [6 * 8 * 16 - 5, 6 * 7 * 16, 5]
    assert np.bincount(classes, weights) / weights.sum() == pytest.approx(np.divide(seen, sum(seen)))
    assert np.array_equal(rows, np.repeat(classes[:, None], 2, axis=1)), "features are those of the drawn pixels"


def test_clusters_draw_at_random_without_regard_to_class() -> None:
    task, module = _task(models.KMeans(pixels=600, texture=()), _labels())
    counts = np.bincount(classical.sample(task, module)[1], minlength=3)
    assert counts.sum() == 600
    assert counts[0] > counts[1] > 200 > counts[2]


def test_enough_patches_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "SPREAD", 2)
    monkeypatch.setattr(classical, "BATCH", 1)
    taken: list[int] = []
    task, module = _task(models.KMeans(pixels=300, texture=()), _labels())
    monkeypatch.setattr(
        task.train, "take", lambda i: taken.extend(i) or classroom.Memory.take(task.train, i), raising=False
    )
    classical.sample(task, module)
    assert len(taken) == 2


def test_nothing_labelled_is_a_sentence() -> None:
    task, module = _task(models.KMeans(texture=()), np.full((2, 16, 16), 255, np.uint8))
    with pytest.raises(TrainingError, match="the train split: no labelled pixel"):
        classical.sample(task, module)
