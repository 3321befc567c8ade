"""Reproducible builds: rasters, stores and weights of a small scene keep the bytes that they always had."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from landcover_orch import config
from landcover_orch.config.experiments.models import UNet
from landcover_orch.ground_truth import build as ground_truth
from landcover_orch.models import networks
from landcover_orch.patches import write as patches
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue
from tests import tiny
from tests.models.test_networks import contract

CLASSES = "39a71bb2521d4d68"
STORE = "aebc9a5f1878a415"
WEIGHTS = "5be116575c6a6d19"


def digest(*paths: Path) -> str:
    """SHA-256 of files one behind the other."""
    joined = hashlib.sha256()
    for path in paths:
        joined.update(path.read_bytes())
    return joined.hexdigest()[:16]


def files(product: Product, *patterns: str) -> list[Path]:
    """The files of a product that match, in order of their names."""
    return sorted(path for pattern in patterns for path in product.path.glob(pattern) if path.is_file())


@pytest.fixture
def built(home: Path, configs: Path, tmp_path: Path) -> tuple[Product, Product]:
    dataset = tiny.write(configs, tmp_path / "raw")
    legend, tile = config.load_legend(dataset.legend), catalogue.tiles(dataset)[1]
    return ground_truth.build(dataset, legend, tile, home), patches.build(dataset, legend, tile, home)


def test_the_class_raster_and_the_patch_store(built: tuple[Product, Product]) -> None:
    truth, store = built
    assert digest(*files(truth, "classes.tif")) == CLASSES
    assert digest(*files(store, "patches.zarr/**/*")) == STORE


def test_the_weights(tmp_path: Path) -> None:
    network = networks.build(UNet(width=4, levels=2), bands=3, classes=2)
    with torch.no_grad():
        for number, value in enumerate(network.state_dict().values()):
            value.copy_(torch.arange(value.numel()).reshape(value.shape) % 7 + number)
    trained = networks.Normalised(network, [0.0] * 3, [1.0] * 3)
    networks.save(tmp_path, trained, contract(model=UNet(width=4, levels=2)))
    assert digest(tmp_path / "model.safetensors") == WEIGHTS
