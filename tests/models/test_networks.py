"""U-Net, SegNet, normalisation, and a stored model."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from landcover_orch.config.experiments import Model, models
from landcover_orch.errors import ContractError
from landcover_orch.legend import LandClass, Legend
from landcover_orch.models import networks
from landcover_orch.models.contract import CONTRACT, WEIGHTS, Contract
from landcover_orch.models.segnet import SegNet, pool, unpool

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "facts" / "oracles.json"
FAMILIES = ("unet", "segnet")


def _settings(name: str, levels: int) -> Model:
    settings: Model = TypeAdapter(Model).validate_python({"name": name, "width": 4, "levels": levels})
    return settings


def test_the_published_unet_has_the_published_number_of_parameters() -> None:
    network = networks.build(models.UNet(width=64, levels=3), bands=4, classes=10)
    assert networks.parameters(network) == 987_242
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 984_234


def test_the_first_and_last_convolution_of_the_unet_have_no_norm_before_them() -> None:
    network = networks.build(models.UNet(width=64, levels=3), bands=4, classes=10)
    kinds = [m for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.BatchNorm2d))]
    assert isinstance(kinds[0], torch.nn.Conv2d)
    assert [type(m) for m in kinds[-2:]] == [torch.nn.Conv2d, torch.nn.Conv2d]
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in kinds) == 19


def test_unpooling_by_stored_indices_gives_the_published_example() -> None:
    if not ORACLES.exists():
        pytest.skip(f"published examples are not at {ORACLES}")
    example = json.loads(ORACLES.read_text())["R1_pnoa_siose"]["unpooling_example"]
    pooled, indices = pool(torch.tensor([[example["input"]]], dtype=torch.float32))
    assert pooled[0, 0].tolist() == example["pooled"]
    back = unpool(torch.tensor([[example["values_to_unpool"]]], dtype=torch.float32), indices)
    assert back[0, 0].tolist() == example["unpooled"]


def test_segnet_at_full_size_has_the_convolutions_of_vgg16_twice() -> None:
    network = SegNet(bands=3, classes=2, width=64, levels=5)
    shapes = [tuple(m.weight.shape[:2]) for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    plan = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert shapes == [(after, before) for before, after in pairwise(plan)]
    assert sum(isinstance(m, torch.nn.Conv2d) for m in network.decoder.modules()) == 13


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(FAMILIES),
    bands=st.integers(1, 13),
    classes=st.integers(2, 6),
    levels=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_any_bands_classes_and_size_give_logits_on_the_inputs_grid(
    name: str, bands: int, classes: int, levels: int, height: int, width: int
) -> None:
    network = networks.build(_settings(name, levels), bands, classes).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, bands, height, width)).shape == (1, classes, height, width)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_size_that_divides_is_not_padded(name: str) -> None:
    network = networks.build(_settings(name, 2), 1, 2).eval()
    image = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        assert torch.equal(network(image), network(torch.nn.functional.pad(image, (0, 0, 0, 0))))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_learns(name: str) -> None:
    network = networks.build(_settings(name, 2), 2, 3)
    network(torch.rand(2, 2, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


class _Echo(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float32])
def test_raw_values_of_any_dtype_are_normalised(dtype: torch.dtype) -> None:
    normalise = networks.Normalised(_Echo(), mean=[100, 50], std=[10, 0])
    raw = torch.tensor([120, 50]).to(dtype).reshape(1, 2, 1, 1)
    assert normalise(raw).flatten().tolist() == [2, 0]


def test_a_pixel_without_a_value_counts_as_the_mean() -> None:
    normalise = networks.Normalised(_Echo(), mean=[100], std=[10])
    assert normalise(torch.tensor([[[[float("nan"), 110]]]])).flatten().tolist() == [0, 1]


def contract(**changed: object) -> Contract:
    classes = (LandClass(id=0, name="a", colour="#000000"), LandClass(id=1, name="b", colour="#ffffff"))
    plain = {
        "model": models.UNet(width=4, levels=1),
        "bands": ("red", "nir"),
        "dtype": "uint8",
        "resolution": 1.0,
        "mean": (100.0, 90.0),
        "std": (10.0, 20.0),
        "legend": Legend(name="two", classes=classes, codes={}),
        "patch_size": 16,
        "dataset": "d",
        "data_digest": "x",
        "experiment": "e",
    }
    return Contract.model_validate({**plain, **changed})


def _stored(folder: Path) -> networks.Normalised:
    module = networks.Normalised(networks.build(contract().model, 2, 2), contract().mean, contract().std)
    networks.save(folder, module, contract())
    return module


def test_a_stored_model_gives_the_same_logits(tmp_path: Path) -> None:
    module = _stored(tmp_path).eval()
    loaded, loaded_contract = networks.load(tmp_path)
    image = torch.randint(0, 255, (2, 2, 16, 16), dtype=torch.uint8)
    assert loaded_contract == contract()
    assert not loaded.training
    with torch.inference_mode():
        assert torch.allclose(loaded(image), module(image), atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contract.json", "model.safetensors"]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    _stored(tmp_path)
    contract(model=models.SegNet(width=4, levels=1)).save(tmp_path)
    with pytest.raises(ContractError, match=r"the weights of a segnet as contract\.json describes it"):
        networks.load(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: str) -> None:
    _stored(tmp_path)
    weights = tmp_path / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:100])
    if damage == "missing":
        weights.unlink()
    with pytest.raises(ContractError, match=r"model\.safetensors"):
        networks.load(tmp_path)


@pytest.mark.parametrize("module", ["landcover_orch.models.networks", "landcover_orch.training.product"])
def test_a_machine_with_torch_alone_suffices(module: str) -> None:
    heavy = "dagster", "mlflow", "rasterio", "odc", "geopandas", "zarr", "tensorstore"
    script = f"import sys, {module}; print(*[name for name in {heavy!r} if name in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", ["landcover_orch.models", "landcover_orch.training", "landcover_orch.tracking"])
def test_naming_the_rooms_loads_no_torch(module: str) -> None:
    script = f"import sys, {module}; print('torch' in sys.modules or 'mlflow' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("file", [WEIGHTS, CONTRACT])
def test_no_bit_of_a_stored_model_is_read_as_another_one(tmp_path: Path, file: str) -> None:
    _stored(tmp_path)
    path = tmp_path / file
    content = path.read_bytes()
    draw = random.Random(0)
    for bit in [draw.randrange(8 * len(content)) for _ in range(300)]:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ContractError, match="Fix: "):
            networks.load(tmp_path)
    path.write_bytes(content)
    assert networks.load(tmp_path)[1] == contract()
