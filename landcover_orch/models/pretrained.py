"""Pretrained weights from a local file: read when a training starts, not when a trained model is loaded."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from landcover_orch.config.experiments import Model
from landcover_orch.errors import Problem, TrainingError
from landcover_orch.models.networks import family
from landcover_orch.models.weights import named_by

COUNTER = ".num_batches_tracked"
SHOWN = 4


def load_pretrained(network: nn.Module, settings: Model, folder: Path) -> None:
    """Fills a network from the state dict that its settings name, by its family's `pretrained`; nothing where none is.

    Args:
        network: as `networks.build` made it of the same settings.
        settings: of the model; a trunk or the model itself may name `weights`.
        folder: the folder state dicts lie in.

    Raises:
        ConfigError: the path leaves the folder.
        TrainingError: there is no such file, or it does not fit the network.
    """
    if named_by(settings) is not None:
        family(settings).pretrained(network, settings, folder)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth or .pt file that holds nothing but them.

    Raises:
        TrainingError: the file is damaged, holds code, or is no state dict.
    """
    try:
        held = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise _no_state_dict(path, " ".join(str(error).split())[:200]) from error
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise _no_state_dict(path, "something else than named tensors")
    return dict(held)


def _no_state_dict(path: Path, found: str) -> TrainingError:
    fix = "save the network's state_dict() itself, as .safetensors or by torch.save"
    return TrainingError(Problem(str(path), found, "a state dict", fix))


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, zero: Collection[str] = ()) -> None:
    """Gives a module the tensors of a state dict, all of them and no others.

    Args:
        module: what is filled.
        state: name -> tensor.
        path: where the state comes from, for the error.
        zero: parameters that become 0 where the state lacks them; counters of batches always may.

    Raises:
        TrainingError: tensors are missing, unknown, or of another shape.
    """
    expected = module.state_dict()
    spare = {name for name in expected if name in zero or name.endswith(COUNTER)}
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    misfits = {
        "missing": [name for name in expected if name not in state and name not in spare],
        "not of this network": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {shapes[name]} for {tuple(value.shape)}"
            for name, value in expected.items()
            if name in state and shapes[name] != value.shape
        ],
    }
    fix = "name the file of this depth and width in the experiment, or change the experiment's model"
    problems = [
        Problem(
            str(path),
            f"{len(names)} {kind}: {', '.join(names[:SHOWN])}"
            + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""),
            "the state dict of the experiment's network",
            fix,
        )
        for kind, names in misfits.items()
        if names
    ]
    if problems:
        raise TrainingError(*problems)
    rest = {name: torch.zeros_like(expected[name]) for name in spare if name not in state}
    module.load_state_dict({**rest, **state})
