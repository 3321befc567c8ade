"""Decoders over encoders of segmentation-models-pytorch: `make test-zoo` runs this in the zoo's own environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from landcover_orch.config.experiments import models
from landcover_orch.errors import TrainingError
from landcover_orch.legend import LandClass, Legend
from landcover_orch.models import networks
from landcover_orch.models.contract import Contract
from landcover_orch.models.pretrained import load_pretrained
from landcover_orch.models.zoo import Zoo
from landcover_orch.training import product as training
from tests.training import classroom

BANDS, CLASSES = 5, 3
PAIRS = [("unet", "resnet18"), ("deeplabv3plus", "tu-resnet10t"), ("fpn", "tu-convnext_atto")]

every_pair = pytest.mark.parametrize(("decoder", "encoder"), PAIRS)


def _built(decoder: str, encoder: str, bands: int = BANDS) -> Zoo:
    torch.manual_seed(0)
    network = networks.build(models.Zoo(decoder=decoder, encoder=encoder), bands, CLASSES)
    assert isinstance(network, Zoo)
    return network


def _contract(decoder: str, encoder: str) -> Contract:
    classes = tuple(LandClass(id=i, name=f"class {i}", colour=f"#{i:06x}") for i in range(CLASSES))
    return Contract(
        model=models.Zoo(decoder=decoder, encoder=encoder),
        bands=tuple(f"b{i}" for i in range(BANDS)),
        dtype="uint8",
        resolution=1.0,
        mean=(100.0,) * BANDS,
        std=(50.0,) * BANDS,
        legend=Legend(name="three", classes=classes, codes={}),
        patch_size=64,
        dataset="d",
        data_digest="x",
        experiment="e",
    )


@every_pair
def test_one_image_of_an_odd_size_teaches_every_parameter(decoder: str, encoder: str) -> None:
    network = _built(decoder, encoder)
    logits = network(torch.rand(1, BANDS, 37, 70))
    assert logits.shape == (1, CLASSES, 37, 70)
    logits.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@every_pair
def test_one_seed_gives_one_network_and_a_stored_one_the_same_logits(
    decoder: str, encoder: str, tmp_path: Path
) -> None:
    contract, image = _contract(decoder, encoder), torch.randint(0, 255, (2, BANDS, 33, 40), dtype=torch.uint8)
    module = networks.Normalised(_built(decoder, encoder), contract.mean, contract.std).eval()
    same = networks.Normalised(_built(decoder, encoder), contract.mean, contract.std).eval()
    networks.save(tmp_path, module, contract)
    loaded, _ = networks.load(tmp_path)
    with torch.inference_mode():
        assert torch.equal(module(image), same(image))
        torch.testing.assert_close(loaded(image), module(image), rtol=1e-4, atol=1e-5)


def _saved(folder: Path, name: str, encoder: str) -> dict[str, torch.Tensor]:
    """A whole classifier's state dict for 3 bands, as timm or torchvision store it."""
    import timm
    import torchvision

    torch.manual_seed(1)
    plain = encoder.removeprefix("tu-")
    reference = timm.create_model(plain) if encoder.startswith("tu-") else torchvision.models.resnet18()
    state: dict[str, torch.Tensor] = reference.state_dict()
    folder.mkdir(exist_ok=True)
    save_file(state, folder / name)
    return state


@every_pair
def test_an_encoder_starts_from_a_local_file(decoder: str, encoder: str, tmp_path: Path) -> None:
    state = _saved(tmp_path, "encoder.safetensors", encoder)
    settings = models.Zoo(decoder=decoder, encoder=encoder, weights="encoder.safetensors")
    network, rgb = _built(decoder, encoder), _built(decoder, encoder, bands=3)
    load_pretrained(network, settings, tmp_path)
    load_pretrained(rgb, settings, tmp_path)
    grey = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        five, three = (each.eval().encoder(grey.expand(-1, n, -1, -1))[-1] for each, n in ((network, 5), (rgb, 3)))
    torch.testing.assert_close(five, three, rtol=1e-3, atol=1e-4)
    held = sum(value.double().sum() for value in rgb.encoder.state_dict().values())
    reference = sum(value.double().sum() for name, value in state.items() if not name.startswith(("fc.", "head.")))
    torch.testing.assert_close(held, reference)


def test_a_file_that_is_missing_or_of_another_encoder_is_refused(tmp_path: Path) -> None:
    settings = models.Zoo(encoder="resnet18", weights="other.safetensors")
    with pytest.raises(TrainingError, match="no such file"):
        load_pretrained(_built("unet", "resnet18"), settings, tmp_path)
    _saved(tmp_path, "other.safetensors", "tu-convnext_atto")
    with pytest.raises(TrainingError, match=r"missing: conv1\.weight"):
        load_pretrained(_built("unet", "resnet18"), settings, tmp_path)


def test_unknown_names_are_refused_together_with_what_is_near() -> None:
    with pytest.raises(TrainingError) as refused:
        networks.build(models.Zoo(decoder="unett", encoder="tu-resnet5"), BANDS, CLASSES)
    unknown = refused.value.problems
    assert [problem.where for problem in unknown] == ["model zoo, decoder unett", "model zoo, encoder tu-resnet5"]
    assert "unet" in unknown[0].fix
    assert "tu-resnet50" in unknown[1].fix


def test_a_decoder_that_the_encoder_does_not_fit_is_refused_with_the_librarys_words() -> None:
    with pytest.raises(TrainingError, match=r"dpt over resnet18: .*encoder"):
        networks.build(models.Zoo(decoder="dpt", encoder="resnet18"), BANDS, CLASSES)


@pytest.mark.parametrize("decoder", ["deeplabv3", "deeplabv3plus", "upernet"])
def test_decoders_that_pool_the_whole_image_train_on_one(decoder: str) -> None:
    _built(decoder, "resnet18")(torch.rand(1, BANDS, 64, 64)).mean().backward()


def test_what_imports_torchvision_on_its_way_loads_in_this_environment() -> None:
    script = "import landcover_orch.training.build, landcover_orch.models.swin_unet, torchvision"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_recipe_of_the_zoo_trains_from_a_local_file(tmp_path: Path) -> None:
    _saved(tmp_path / "weights", "resnet18.safetensors", "resnet18")
    zoo = {"name": "zoo", "decoder": "unet", "encoder": "resnet18", "weights": "resnet18.safetensors"}
    with classroom.in_memory():
        recipe = classroom.experiment(model=zoo, epochs=2)
        product = training.train(classroom.published(tmp_path), recipe, tmp_path, progress=lambda line: None)
    assert len(product.json("history.json")) == 2
    assert isinstance(networks.load(product.path)[0].network, Zoo)
