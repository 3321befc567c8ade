"""Pretrained weights in a training: part of the recipe, there at the start, not needed by the trained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from landcover_orch.config.experiments import models
from landcover_orch.errors import TrainingError
from landcover_orch.models import networks
from landcover_orch.models.resnet import ResNet
from landcover_orch.store.publish import Product
from landcover_orch.training import product as training
from tests.training import classroom

FILE = "resnet18.safetensors"
RECIPE = {"model": {"name": "resnet_fcn", "trunk": {"depth": 18, "weights": FILE}}, "epochs": 1}


@pytest.fixture(autouse=True)
def _patches() -> Iterator[None]:
    with classroom.in_memory(train=8, validation=2):
        yield


def _put(home: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    path = home / "weights" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(ResNet(3, models.Trunk(depth=18)).state_dict(), path)
    return path


def _train(home: Path, **changed: Any) -> Product:
    recipe = classroom.experiment(**{**RECIPE, **changed})
    product: Product = training.train(classroom.published(home), recipe, home)
    return product


def test_training_starts_from_the_file_and_the_model_needs_it_no_more(home: Path) -> None:
    path = _put(home, seed=3)
    start = load_file(path)["layer4.1.conv2.weight"]
    product = _train(home, optimiser={"name": "sgd", "lr": 1e-9, "momentum": 0.0})
    path.unlink()
    network, contract = networks.load(product.path)
    assert contract.model.trunk.weights == FILE
    torch.testing.assert_close(network.network.trunk.layer4[1].conv2.weight, start, atol=1e-6, rtol=0)


def test_other_bytes_of_the_same_name_are_another_recipe(home: Path) -> None:
    described, recipe = classroom.manifest(), classroom.experiment(**RECIPE)
    recipes = []
    for seed in (1, 1, 2):
        _put(home, seed)
        recipes.append(training.recipe(described, recipe, home))
    assert recipes[0] == recipes[1] != recipes[2]
    assert recipes[0].inputs["weights"].startswith("sha256:")
    assert "weights" not in training.recipe(described, classroom.experiment(), home).inputs


def test_a_file_that_is_not_there_stops_before_anything_is_trained(home: Path) -> None:
    with pytest.raises(TrainingError, match=r"no such file.* Fix: copy the state dict to .*or drop `weights`"):
        _train(home)
    assert not (home / classroom.NAME / "model").exists()
