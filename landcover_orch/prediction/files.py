"""Prediction of raster files by a trained model, without a dataset: `landcover predict`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from landcover_orch import config, raster, tracking
from landcover_orch.config.datasets import nodata_rule
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.prediction import Prediction
from landcover_orch.errors import ConfigError, ContractError, LandcoverError, Problem
from landcover_orch.models.contract import CONTRACT, WEIGHTS, Contract, load_contract
from landcover_orch.prediction.build import predict
from landcover_orch.prediction.source import ImageSource
from landcover_orch.store.fingerprint import MEMORY, file_hash
from landcover_orch.store.publish import Product
from landcover_orch.tiles.catalogue import raster_fingerprint

REGISTERED = "models:/"


@dataclass(frozen=True)
class TrainedModel:
    """A folder with a model's weights and contract, and the digest of its weights."""

    path: Path
    fingerprint: str


RESTORE = "landcover doctor --deep DATASET --fix, where its dataset lies; or name a folder of the asset `model`"
"""How a registered model is mended whose files MLflow has lost, or that are damaged."""


@contextmanager
def opened(model: str) -> Iterator[TrainedModel]:
    """The trained model at an address.

    Args:
        model: 'models:/NAME@ALIAS' or 'models:/NAME/VERSION' of MLflow's registry, or a folder that holds the model: a
            product of the asset `model`, or an MLflow model.

    Raises:
        TrackingError: MLflow does not answer, or has no such model.
        ContractError: there is no model of this project.
    """
    with tempfile.TemporaryDirectory(prefix="landcover-model-") as scratch:
        registered = model.startswith(REGISTERED)
        folder = tracking.download_model(model, config.home(), Path(scratch)) if registered else Path(model)
        contracts = sorted(path.parent for path in (*folder.glob(CONTRACT), *folder.glob(f"artifacts/*/{CONTRACT}")))
        if not contracts or not (contracts[0] / WEIGHTS).is_file():
            expected = f"{WEIGHTS} and {CONTRACT}"
            fix = RESTORE if registered else "name a folder of the asset `model`, or models:/DATASET@champion"
            raise ContractError(Problem(model, "no model of this project", expected, fix))
        if registered:
            require_whole(model, contracts[0])
        yield TrainedModel(contracts[0], file_hash(contracts[0] / WEIGHTS))


def require_whole(model: str, folder: Path) -> None:
    """Raises ContractError where what MLflow has of a registered model are not the bytes that were registered."""
    from landcover_orch.models.networks import require_checksum  # loads torch

    try:
        require_checksum(folder, load_contract(folder))
    except ContractError as error:
        text = f"MLflow's copy of it is damaged: {Path(error.problems[0].where).name}"
        raise ContractError(Problem(model, text, "the bytes that were registered", RESTORE)) from error


def predict_files(
    model: str, paths: Sequence[Path], output: Path, report: Callable[[str], None]
) -> tuple[dict[Path, Product], dict[Path, LandcoverError]]:
    """Maps raster files by a model; one that is refused stops itself alone.

    Args:
        model: see `opened`.
        paths: GeoTIFFs; their bands are those of the model's contract, in its order.
        output: folder that the maps are written below, one folder a raster; a map that is there already stays.
        report: takes a line a raster.

    Returns:
        the maps, and the errors of what could not be mapped.
    """
    maps: dict[Path, Product] = {}
    errors: dict[Path, LandcoverError] = {}
    require_different_names(paths)
    with opened(model) as trained:
        contract = load_contract(trained.path)
        experiment, memory = prediction_settings(contract), output / f".{MEMORY}"
        for i, path in enumerate(paths):
            try:
                source = image_source(path, contract, memory)
                link = output / path.stem
                former = link.resolve() if link.exists() else None
                present = partial(raster_fingerprint, path, memory)
                maps[path] = predict(trained, source, output, path.stem, experiment, present=present)
                if former is not None and former != link.resolve():
                    report(f"{path}: the former map of this name stays as {former}")
            except LandcoverError as error:
                errors[path] = error
                report(f"{path}: not mapped ({i + 1} of {len(paths)})")
            else:
                report(f"{path}: {output / path.stem} ({i + 1} of {len(paths)})")
    return maps, errors


def require_different_names(paths: Sequence[Path]) -> None:
    """Raises ConfigError where two rasters would have the same map."""
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        fix = "map them by several commands, each with an --output of its own"
        raise ConfigError(*(Problem(name, "the name of several rasters", "a name each", fix) for name in twice))


def image_source(path: Path, contract: Contract, memory: Path) -> ImageSource:
    """A raster file whose bands are taken to be those of a contract, where it has as many.

    Raises:
        RasterError: it cannot be read.
    """
    inspected = replace(raster.inspect(path), nodata_rule=nodata_rule(contract.dtype))
    bands = contract.bands if inspected.count == len(contract.bands) else tuple(map(str, inspected.bands))
    return ImageSource(inspected, bands, inspected.dtype, "file", raster_fingerprint(path, memory))


def prediction_settings(contract: Contract) -> Experiment:
    """The experiment of a contract: that of the configurations where it has the same network; else windows of 256."""
    try:
        experiment = config.load_experiment(contract.experiment)
    except LandcoverError:
        experiment = None
    if experiment is not None and experiment.model == contract.model:
        return experiment
    side = max(256, contract.patch_size)
    return Experiment(name="file", model=contract.model, prediction=Prediction(window=side, stride=side * 3 // 4))
