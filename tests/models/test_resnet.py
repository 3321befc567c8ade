"""The ResNet trunk: torchvision's names and sizes, strides, and weights from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from landcover_orch.config.experiments import Model, models
from landcover_orch.errors import ConfigError, TrainingError
from landcover_orch.models import networks
from landcover_orch.models.pretrained import load_pretrained
from landcover_orch.models.resnet import ResNet, adapted

FILE = "resnet18.safetensors"


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("depth", "total", "features"),
    [(18, 11_689_512, 512), (34, 21_797_672, 512), (50, 25_557_032, 2048), (101, 44_549_160, 2048)],
)
def test_it_has_torchvisions_number_of_parameters_without_the_classifier(depth: Any, total: int, features: int) -> None:
    assert _count(ResNet(3, models.Trunk(depth=depth))) == total - 1000 * (features + 1)


def test_parameters_bear_torchvisions_names() -> None:
    names = set(ResNet(3, models.Trunk(depth=50)).state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer4.2.conv3.weight"} <= names
    assert {"layer1.0.downsample.1.bias", "layer3.5.bn3.num_batches_tracked"} <= names
    assert len(names) == 318
    assert "layer1.0.downsample.0.weight" not in ResNet(3, models.Trunk(depth=18)).state_dict()


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_stages_end_at_the_output_stride(depth: Any, stride: int) -> None:
    trunk = ResNet(1, models.Trunk(depth=depth, width=4), stride).eval()
    with torch.inference_mode():
        features = trunk(torch.rand(1, 1, 64, 64))
    assert [64 // f.shape[-1] for f in features] == [min(s, stride) for s in (4, 8, 16, 32)]
    assert [f.shape[1] for f in features] == trunk.channels


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("stride", [8, 16])
def test_a_dilated_trunk_sees_what_the_plain_one_sees(depth: Any, stride: int) -> None:
    """At the places both compute, features agree: dilation replaces stride without changing a weight."""
    plain, dilated = (ResNet(1, models.Trunk(depth=depth, width=4), step).eval() for step in (32, stride))
    dilated.load_state_dict(plain.state_dict())
    image = torch.rand(1, 1, 160, 160)
    with torch.inference_mode():
        coarse, fine = plain(image)[-1], dilated(image)[-1]
    step = 32 // stride
    torch.testing.assert_close(fine[..., ::step, ::step], coarse, atol=1e-4 * float(coarse.max()), rtol=1e-4)


@examples(max_examples=15, deadline=None)
@given(bands=st.integers(1, 8), seed=st.integers(0, 99))
def test_adapted_kernels_give_the_same_features_of_bands_that_are_alike(bands: int, seed: int) -> None:
    torch.manual_seed(seed)
    kernels, band = torch.randn(4, 3, 3, 3), torch.rand(1, 1, 8, 8)
    before = torch.conv2d(band.expand(-1, 3, -1, -1), kernels)
    after = torch.conv2d(band.expand(-1, bands, -1, -1), adapted(kernels, bands))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


def test_kernels_for_as_many_bands_stay_as_they_are() -> None:
    kernels = torch.randn(4, 3, 3, 3)
    assert torch.equal(adapted(kernels, 3), kernels)


def _settings(weights: str | None = FILE, name: str = "resnet_fcn", **trunk: Any) -> Model:
    kinds = {"resnet_fcn": models.ResNetFCN, "pspnet": models.PSPNet, "deeplabv3": models.DeepLabV3}
    texts: Model = kinds[name].model_validate({"trunk": {"depth": 18, "weights": weights, **trunk}})
    return texts


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A state dict as torchvision's, of random numbers."""
    torch.manual_seed(5)
    tensors = ResNet(3, models.Trunk(depth=18)).state_dict()
    return {**tensors, "fc.weight": torch.rand(1000, 512), "fc.bias": torch.rand(1000)}


def _filled(folder: Path, settings: Model, bands: int = 3) -> Any:
    network = networks.build(settings, bands, 2)
    load_pretrained(network, settings, folder)
    return network


@pytest.mark.parametrize("name", ["resnet_fcn", "pspnet", "deeplabv3"])
@pytest.mark.parametrize("file", [FILE, "resnet18.pth"])
def test_a_local_state_dict_fills_the_trunk(tmp_path: Path, state: dict[str, Tensor], name: str, file: str) -> None:
    write = save_file if file == FILE else torch.save
    write(state, tmp_path / file)
    loaded = _filled(tmp_path, _settings(file, name)).trunk.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_other_bands_biases_and_missing_counters_follow_the_rules(tmp_path: Path, state: dict[str, Tensor]) -> None:
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    save_file(old, tmp_path / FILE)
    trunk = _filled(tmp_path, _settings(biases=True), bands=5).trunk
    torch.testing.assert_close(trunk.conv1.weight, adapted(state["conv1.weight"], 5))
    assert trunk.layer4[1].conv2.bias.abs().sum() == 0
    assert trunk.bn1.num_batches_tracked == 0


def test_without_weights_nothing_is_read_and_building_never_needs_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = networks.build(_settings(None), 3, 2).state_dict()
    torch.manual_seed(0)
    again = _filled(tmp_path, _settings(None)).state_dict()
    assert all(torch.equal(value, start[key]) for key, value in again.items())
    assert networks.build(_settings(FILE), 3, 2).training


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"resnet18\.safetensors: no such file.* Fix: copy the state dict to"):
        _filled(tmp_path, _settings())


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leaves"):
        _filled(tmp_path, _settings("../resnet18.pth"))


def test_all_that_does_not_fit_is_one_error(tmp_path: Path, state: dict[str, Tensor]) -> None:
    misfit = {**state, "layer9.weight": torch.zeros(2), "bn1.weight": torch.zeros(3)}
    del misfit["layer1.0.conv1.weight"]
    save_file(misfit, tmp_path / FILE)
    with pytest.raises(TrainingError) as caught:
        _filled(tmp_path, _settings())
    texts = [problem.found for problem in caught.value.problems]
    assert texts == [
        "1 missing: layer1.0.conv1.weight",
        "1 not of this network: layer9.weight",
        "1 of another shape: bn1.weight (3,) for (64,)",
    ]


def test_the_weights_of_another_depth_are_told_in_short(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / FILE)
    with pytest.raises(TrainingError, match=r"missing: .* and \d+ more") as caught:
        _filled(tmp_path, _settings(depth=50))
    assert len(str(caught.value)) < 2500


@pytest.mark.parametrize("content", [b"", b"not weights", {"epoch": 3}, [torch.zeros(1)]])
@pytest.mark.parametrize("file", [FILE, "resnet18.pth"])
def test_a_file_that_is_no_state_dict_is_a_sentence(tmp_path: Path, content: Any, file: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / file).write_bytes(content)
    else:
        torch.save(content, tmp_path / file)
    with pytest.raises(TrainingError, match="expected a state dict"):
        _filled(tmp_path, _settings(file))


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (print, ("run",))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(TrainingError, match="expected a state dict"):
        _filled(tmp_path, _settings("trap.pth"))
    assert capsys.readouterr().out == ""
