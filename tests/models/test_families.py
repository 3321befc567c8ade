"""What every network holds, whatever its family; a new family is a new row of `ROWS`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import TypeAdapter

from landcover_orch import tracking
from landcover_orch.config.experiments import Model, models
from landcover_orch.legend import LandClass, Legend
from landcover_orch.models import networks
from landcover_orch.models.contract import Contract
from landcover_orch.tracking.server import known_warnings
from tests.unions import names

TRUNK = {"depth": 18, "width": 8}
ROWS: dict[str, tuple[dict[str, Any], int]] = {
    "unet": ({"name": "unet", "width": 8, "levels": 2}, 11_243),
    "segnet": ({"name": "segnet", "width": 8, "levels": 3}, 56_211),
    "enet": ({"name": "enet", "width": 8}, 98_114),
    "resunet": ({"name": "resunet", "width": 4, "skips": 3}, 59_055),
    "resunet, plain blocks": (
        {"name": "resunet", "width": 4, "skips": 4, "residual": False, "centre": "plain"},
        136_439,
    ),
    "resunet, parallel centre": ({"name": "resunet", "width": 4, "skips": 3, "centre": "parallel"}, 45_231),
    "resunet, residual centre": ({"name": "resunet", "width": 4, "skips": 5, "centre": "residual"}, 650_319),
    "resnet_fcn": ({"name": "resnet_fcn", "trunk": TRUNK}, 178_257),
    "resnet_fcn, 50 layers": ({"name": "resnet_fcn", "trunk": {"depth": 50, "width": 4, "biases": True}}, 101_153),
    "pspnet": ({"name": "pspnet", "trunk": TRUNK}, 256_251),
    "deeplabv3": ({"name": "deeplabv3", "trunk": TRUNK}, 243_195),
    "deeplabv3, stride 8": ({"name": "deeplabv3", "trunk": TRUNK, "output_stride": 8}, 243_195),
    "pixel_classifier": ({"name": "pixel_classifier", "width": 8}, 131),
    "patch_classifier": ({"name": "patch_classifier", "window": 9, "width": 4}, 435),
    "hypercolumn": ({"name": "hypercolumn", "width": 4, "levels": 3}, 7_251),
    "fcn": ({"name": "fcn", "width": 4}, 529_589),
    "swin_unet": (
        {"name": "swin_unet", "width": 8, "depths": [2, 2], "heads": [2, 4], "window": 4, "patch": 2},
        12_539,
    ),
    "swin_unet, convolutional": (
        {"name": "swin_unet", "width": 8, "depths": [1, 2], "heads": [2, 4], "window": 4, "decoder": "convolutional"},
        12_565,
    ),
}
"""What is tested -> settings, small, and the parameters they have with 3 bands and 3 classes."""

ELSEWHERE = {"zoo", "custom"}
"""Families that need an environment, or code, of their own; their tests have it."""

CLASSES, SIZE = 3, 32
MOST_STEPS = 150

every_row = pytest.mark.parametrize("row", ROWS)


def settings(row: str) -> Model:
    model: Model = TypeAdapter(Model).validate_python(ROWS[row][0])
    return model


def seeded(row: str, bands: int = 3, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return networks.build(settings(row), bands, CLASSES)


def blobs() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Four patches of squares in three brightnesses, with noise: images (n, band, y, x) and labels (n, y, x)."""
    random = np.random.default_rng(0)
    label = random.integers(0, CLASSES, (4, 2, 2), np.uint8).repeat(SIZE // 2, 1).repeat(SIZE // 2, 2)
    image = label[:, None] * 80 + random.integers(0, 40, (4, 3, SIZE, SIZE))
    return image.astype(np.uint8), label


def contract(row: str) -> Contract:
    classes = tuple(LandClass(id=i, name=f"class {i}", colour=f"#{i:06x}") for i in range(CLASSES))
    return Contract(
        model=settings(row),
        bands=("red", "green", "blue"),
        dtype="uint8",
        resolution=1.0,
        mean=(100.0, 100.0, 100.0),
        std=(66.0, 66.0, 66.0),
        legend=Legend(name="three", classes=classes, codes={}),
        patch_size=SIZE,
        dataset="d",
        data_digest="x",
        experiment="e",
    )


def normalised(row: str) -> networks.Normalised:
    return networks.Normalised(seeded(row), contract(row).mean, contract(row).std)


def test_every_network_has_a_row() -> None:
    assert {plain["name"] for plain, _ in ROWS.values()} == {*names(models.Network)} - ELSEWHERE


@every_row
def test_it_has_as_many_parameters_as_stated(row: str) -> None:
    assert networks.parameters(seeded(row)) == ROWS[row][1]


@every_row
@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (5, 70)])
def test_one_image_of_any_size_and_bands_teaches_every_parameter(row: str, bands: int, size: tuple[int, int]) -> None:
    network = seeded(row, bands).train()
    logits = network(torch.rand(1, bands, *size))
    assert logits.shape == (1, CLASSES, *size)
    logits.square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


@every_row
def test_one_seed_gives_one_network(row: str) -> None:
    first, same, other = seeded(row), seeded(row), seeded(row, seed=1)
    state, image = first.state_dict(), torch.rand(2, 3, 33, 47)
    assert all(torch.equal(value, state[name]) for name, value in same.state_dict().items())
    assert not all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    logits = []
    for network in (first, same):
        torch.manual_seed(2)
        logits.append(network.train()(image))
    assert torch.equal(*logits)


@every_row
def test_a_stored_network_and_its_mlflow_model_give_the_same_shares(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with known_warnings():
        import mlflow.pyfunc

    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow puts the model's code there
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    module, image = normalised(row).eval(), blobs()[0][:2, :, :27, :31]
    networks.save(tmp_path, module, contract(row))
    tracking.export(tmp_path, tmp_path / "served")
    loaded, loaded_contract = networks.load(tmp_path)
    with torch.inference_mode():
        before, after = (each(torch.from_numpy(image)).softmax(1).numpy() for each in (module, loaded))
    assert loaded_contract == contract(row)
    np.testing.assert_allclose(after, before, atol=1e-5)
    np.testing.assert_allclose(mlflow.pyfunc.load_model(str(tmp_path / "served")).predict(image), before, atol=1e-5)
    needed = (tmp_path / "served" / "requirements.txt").read_text()
    assert "torch==" in needed
    assert ("transformers==" in needed) == (loaded_contract.model.name == "swin_unet")


@every_row
def test_it_learns_four_patches_by_heart(row: str) -> None:
    module = normalised(row)
    image, label = (torch.from_numpy(array) for array in blobs())
    optimiser = torch.optim.Adam(module.parameters(), lr=0.005)
    right, step = 0.0, 0
    while right <= 0.95 and step < MOST_STEPS:
        for _ in range(10):
            step += 1
            optimiser.zero_grad()
            F.cross_entropy(module.train()(image), label.long()).backward()
            optimiser.step()
        with torch.inference_mode():
            right = (module.eval()(image).max(1).indices == label).double().mean().item()
    assert right > 0.95
