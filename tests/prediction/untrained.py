"""A network nobody trained, whose answers vary all the same, and orthophotos of noise for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landcover_orch import raster
from landcover_orch.config.experiments import Experiment, Prediction, models
from landcover_orch.legend import LandClass, Legend
from landcover_orch.models import networks
from landcover_orch.models.contract import Contract
from landcover_orch.prediction.source import ImageSource
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe
from tests.scenes import write_geotiff

BANDS = ("red", "green", "blue", "nir")
MODEL = models.UNet(width=4, levels=2)
LEGEND = Legend(
    name="five",
    classes=tuple(LandClass(id=i, name=f"class {i}", colour=f"#{40 * i:02x}8040") for i in range(5)),
    codes={},
)
CONTRACT = Contract(
    model=MODEL,
    bands=BANDS,
    dtype="uint8",
    resolution=1.0,
    mean=(128,) * 4,
    std=(70,) * 4,
    legend=LEGEND,
    patch_size=32,
    dataset="noise",
    data_digest="none",
    experiment="small",
)


def module(contract: Contract = CONTRACT, seed: int = 39) -> networks.Normalised:
    """A network with weights large enough that every class wins somewhere."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = networks.build(contract.model, len(contract.bands), len(contract.legend.classes))
        for weight in network.parameters():
            if weight.dim() == 4:
                torch.nn.init.normal_(weight, std=0.4)
    return networks.Normalised(network, contract.mean, contract.std).eval()


def model(folder: Path, contract: Contract = CONTRACT) -> Product:
    """The network as a published product."""
    recipe = Recipe("model", 1, {}, {"of": contract.model_dump(mode="json")})
    return publish.publish(folder, "model", recipe, lambda stage: networks.save(stage.path, module(contract), contract))


def noise(shape: tuple[int, int], seed: int = 1) -> NDArray[np.uint8]:
    """An image (band, y, x) of coarse noise."""
    coarse = np.random.default_rng(seed).integers(1, 255, (len(BANDS), shape[0] // 4 + 1, shape[1] // 4 + 1))
    return coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : shape[0], : shape[1]].astype(np.uint8)


def source(path: Path, image: NDArray[Any], **profile: Any) -> ImageSource:
    """The image as a GeoTIFF, described as a dataset does."""
    write_geotiff(path, image, photometric="minisblack", **profile)
    return ImageSource(raster.inspect(path), BANDS, str(image.dtype), "file", f"of {path.name}")


def experiment(
    window: int = 32, stride: int = 24, batch: int = 8, precision: Any = "float32", **more: Any
) -> Experiment:
    """Settings of a small prediction on the CPU."""
    settings = Prediction(window=window, stride=stride, batch_size=batch, **more)
    return Experiment(name="small", model=MODEL, precision=precision, device="cpu", prediction=settings)
