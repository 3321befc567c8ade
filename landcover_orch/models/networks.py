"""Model factory: networks by name, their input normalisation, and a trained one's files (weights and contract)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from landcover_orch import config, custom
from landcover_orch.config.experiments import Model
from landcover_orch.config.experiments.models import CustomNetwork, Ensemble
from landcover_orch.errors import CodeError, ContractError, Problem
from landcover_orch.models.contract import WEIGHTS, Contract, load_contract
from landcover_orch.models.operators import declare_operators

# Here, since training and prediction import this module before lightning and transformers look for torchvision.
declare_operators()


def family(settings: Model) -> ModuleType:
    """Module of a model's family: that of `landcover_orch.models` which is called as the settings are named."""
    return importlib.import_module(f"landcover_orch.models.{settings.name}")


def build(settings: Model, bands: int, classes: int, code: Path | None = None, *, trusted: bool = False) -> nn.Module:
    """An untrained network: normalised float (n, band, y, x) in, logits (n, class, y, x) out; sizes need not divide.

    Args:
        settings: which network, and how large.
        bands: of the images.
        classes: of the logits.
        code: folder of custom code; None: that of the configurations.
        trusted: whether custom code runs without being switched on.

    Raises:
        CodeError: custom code is switched off, cannot be imported, or builds no torch module.
    """
    if isinstance(settings, CustomNetwork):
        return custom_network(settings, bands, classes, code or config.code_folder(), trusted=trusted)
    network: nn.Module = family(settings).build(settings, bands, classes)
    return network


def custom_network(settings: CustomNetwork, bands: int, classes: int, code: Path, *, trusted: bool) -> nn.Module:
    """Custom network: what `build(bands=..., classes=..., **arguments)` gives; its logits are held to their shape."""
    network = custom.create(settings, code, trusted=trusted, bands=bands, classes=classes)
    where = f"`build: {settings.build}`"
    if not isinstance(network, nn.Module):
        fix = f"return a torch.nn.Module from {settings.attribute}"
        raise CodeError(Problem(where, f"gives a {type(network).__name__}", "a torch module", fix))

    def require_logits(module: nn.Module, images: tuple[Tensor], logits: object) -> None:
        expected = (len(images[0]), classes, *images[0].shape[2:])
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if shape != expected:
            text = f"{shape} of images {tuple(images[0].shape)}"
            fix = "give each pixel of the input a logit for each class"
            raise CodeError(Problem(where, text, f"logits (n, class, y, x) {expected}", fix))

    network.register_forward_hook(require_logits)
    return network


def untrained(contract: Contract, folder: Path, *, trusted: bool = False) -> nn.Module:
    """The network of a contract before its weights: of an ensemble the networks of all members.

    Args:
        contract: of the model.
        folder: of the model, with its custom code where it has some; that of a member is below its fingerprint.
        trusted: whether custom code runs without being switched on.
    """
    bands, classes, code = len(contract.bands), len(contract.legend.classes), folder / custom.FOLDER
    if not isinstance(contract.model, Ensemble):
        return build(contract.model, bands, classes, code, trusted=trusted)
    from landcover_orch.models import ensemble

    shared = contract.mean, contract.std
    members = (
        build(member.model, bands, classes, code / member.fingerprint, trusted=trusted) for member in contract.members
    )
    statistics = ((member.mean or contract.mean, member.std or contract.std) for member in contract.members)
    networks = [
        ensemble.with_input_statistics(network, each, shared) for network, each in zip(members, statistics, strict=True)
    ]
    return ensemble.Ensemble(contract.model, networks)


def parameters(module: nn.Module) -> int:
    """Numbers a module holds: trainable parameters and running statistics (the counters of batches left out)."""
    return sum(value.numel() for value in module.state_dict().values() if value.is_floating_point())


class Normalised(nn.Module):
    """Input normalisation in front of a network: logits (n, class, y, x) of raw images (n, band, y, x).

    Bands are brought to mean 0 and standard deviation 1 of the train pixels; a pixel without a value (NaN) becomes
    the mean. The statistics belong to the contract and are not among the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        # A constant band has no spread to divide by; 1 leaves it at 0.
        scale = [1 / value if value > 0 else 1.0 for value in std]
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(scale).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x) of pixels of any dtype."""
        logits: Tensor = self.network(self.normalise(x).contiguous(memory_format=torch.channels_last))
        return logits

    def normalise(self, x: Tensor) -> Tensor:
        """What the network sees of raw images (n, band, y, x): float32."""
        values = (x.to(torch.float32) - self.mean) * self.scale
        return values.nan_to_num(nan=0.0) if x.is_floating_point() else values


def save(folder: Path, module: Normalised, contract: Contract) -> None:
    """Writes model.safetensors (the network's weights) and contract.json into a folder."""
    state = {name: value.detach().cpu().contiguous().clone() for name, value in module.network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    contract.with_checksum(folder / WEIGHTS).save(folder)


def require_checksum(folder: Path, contract: Contract) -> None:
    """Raises ContractError where weights or contract have other bytes than were trained: a flipped bit maps wrongly."""
    weights = folder / WEIGHTS
    if contract.checksum is None or not weights.is_file():
        return  # of an earlier version, or told where they are loaded
    if contract.with_checksum(weights).checksum != contract.checksum:
        fix = "train the experiment again (`landcover materialise`), or restore the whole folder"
        raise ContractError(Problem(str(weights), "damaged, or those of another contract.json", "its checksum", fix))


def load(folder: Path, device: str | torch.device = "cpu", *, trusted: bool = False) -> tuple[Normalised, Contract]:
    """Loads the trained model of a folder, in evaluation mode on a device, and its contract less the checksum.

    Args:
        folder: of the model.
        device: where it goes.
        trusted: whether custom code that the model brings runs without being switched on.

    Raises:
        ContractError: the weights are missing, damaged, or not those of the contract's network.
        CodeError: its network is custom code that is switched off, or cannot be imported.
    """
    stored = load_contract(folder)
    require_checksum(folder, stored)
    contract = stored.model_copy(update={"checksum": None})
    network = untrained(contract, folder, trusted=trusted)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ContractError(
            Problem(
                str(folder / WEIGHTS),
                " ".join(str(error).split())[:300],
                f"the weights of a {contract.model.name} as contract.json describes it",
                "train the experiment again, or restore the whole folder",
            )
        ) from error
    module = Normalised(network, contract.mean, contract.std)
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.to(device).eval(), contract
