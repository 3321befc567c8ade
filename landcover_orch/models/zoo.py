"""Any decoder over any encoder of segmentation-models-pytorch (Iakubovskii 2019), with timm's encoders; extra `zoo`.

Weights are never downloaded: an encoder starts random, or from a local state dict. The library needs torchvision, so
the extra is installed in an environment of its own (`make zoo`) and not in the base one; see `operators`.

Where it differs from the library: inputs of any size are padded, and batch-norm behind a decoder's global pooling is
left out (as the library itself does in its PSPNet), since it cannot train on a batch of one. Encoders that take images
of one size only, as timm's vision transformers, work at that size alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.errors import Problem, TrainingError
from landcover_orch.models.padding import pad_to_multiple
from landcover_orch.models.pretrained import fill, read
from landcover_orch.models.resnet import adapted
from landcover_orch.models.weights import find

LIBRARY = "segmentation_models_pytorch"
TIMM = "tu-"
"""Prefix of timm's encoders in the library."""

MULTIPLE = 64
"""Encoders halve five times; one more, so that the deepest map is never a single pixel, which batch-norm refuses."""


def build(settings: models.Zoo, bands: int, classes: int) -> Zoo:
    """The network that settings describe, started at random.

    Raises:
        TrainingError: the extra `zoo` is not installed, a name is unknown, or decoder and encoder do not fit.
    """
    library = _library(LIBRARY)
    require_names(settings, library)
    try:
        network = library.create_model(
            settings.decoder, settings.encoder, encoder_weights=None, in_channels=bands, classes=classes
        )
    except Exception as error:
        where, text = f"model zoo, {settings.decoder} over {settings.encoder}", " ".join(str(error).split())[:300]
        raise TrainingError(Problem(where, text, "an encoder that fits the decoder", "change one")) from error
    return Zoo(network)


def pretrained(network: Zoo, settings: models.Zoo, folder: Path) -> None:
    """Fills the encoder from the state dict that settings name, in `folder`.

    Tensors of the file that the encoder has not, as a classifier's, are left out; every tensor of the encoder must be
    there. The first convolution follows `resnet.adapted`.

    Raises:
        TrainingError: there is no such file, or it is not the state dict of this encoder.
    """
    if settings.weights is None:
        return
    path = find(settings.weights, folder)
    fill(network.encoder, rename_tensors(read(path), network.encoder.state_dict()), path)


class Zoo(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        drop_pooled_norms(network.get_submodule("decoder"))
        self.network = network

    @property
    def encoder(self) -> nn.Module:
        """The encoder under the decoder."""
        return self.network.get_submodule("encoder")

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        height, width = x.shape[-2:]
        logits: Tensor = self.network(pad_to_multiple(x, MULTIPLE))
        return logits[..., :height, :width]


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        fix = "pip install 'landcover-orch[zoo]', in an environment of its own (in a clone: make zoo)"
        raise TrainingError(Problem("model zoo", f"no module {error.name}", "the extra `zoo`", fix)) from error


def require_names(settings: models.Zoo, library: Any) -> None:
    """Raises TrainingError with every name of decoder and encoder that the library and timm do not have."""
    timm = _library("timm")
    decoders = list(library.MODEL_ARCHITECTURES_MAPPING)
    encoders = [*library.encoders.get_encoder_names(), *(TIMM + name for name in timm.list_models())]
    # timm's names may end with .tag of weights; an architecture knows them all.
    known = settings.encoder.startswith(TIMM) and timm.is_model(settings.encoder.removeprefix(TIMM))
    problems = [
        *([] if settings.decoder in decoders else [_unknown("decoder", settings.decoder, decoders)]),
        *([] if known or settings.encoder in encoders else [_unknown("encoder", settings.encoder, encoders)]),
    ]
    if problems:
        raise TrainingError(*problems)


def _unknown(part: str, name: str, names: Iterable[str]) -> Problem:
    close = ", ".join(get_close_matches(name, names))
    fix = f"perhaps {close}" if close else f"see the library's list of {part}s"
    return Problem(f"model zoo, {part} {name}", "no such name", f"one that {LIBRARY} has", fix)


def drop_pooled_norms(decoder: nn.Module) -> None:
    """Removes each batch-norm that would see one pixel an image."""
    for part in list(decoder.modules()):
        first = part[0] if isinstance(part, nn.Sequential) and len(part) else None
        if not isinstance(first, nn.AdaptiveAvgPool2d) or first.output_size not in (1, (1, 1)):
            continue
        for name, inner in list(part.named_modules()):
            if isinstance(inner, nn.BatchNorm2d):
                part.set_submodule(name, nn.Identity())


def rename_tensors(file: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors by the encoder's names: timm's are wrapped in `model.`, their stages joined by underscores.

    The first convolution follows `resnet.adapted` where the encoder has other bands than three.
    """
    names = {_canonical(name): name for name in expected}
    state = {names[key]: value for name, value in file.items() if (key := _canonical(name)) in names}
    for name, value in state.items():
        if expected[name].ndim == value.ndim == 4 and expected[name].shape[1] != value.shape[1] == 3:
            state[name] = adapted(value, expected[name].shape[1])
    return state


def _canonical(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")
