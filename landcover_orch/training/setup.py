"""Training setup from a manifest and an experiment: the task, the model, and the contract the model travels with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from landcover_orch import config
from landcover_orch.config.experiments import Classical, Experiment
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.errors import Problem, TrainingError
from landcover_orch.models import pretrained, weights
from landcover_orch.models.contract import Contract
from landcover_orch.models.networks import Normalised, build
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.publish import Product
from landcover_orch.training import classical, device, ensemble
from landcover_orch.training.augmentation import Bands
from landcover_orch.training.cache import open_source
from landcover_orch.training.task import Task

NO_MEMBERS: Mapping[str, Product] = MappingProxyType({})


def task(manifest: DatasetManifest, experiment: Experiment, home: Path, code: Path | None = None) -> Task:
    """The training task: the train split, the split that chooses the checkpoint, and their statistics.

    Custom code is that of the folder `code`; by default that of the configurations.

    Raises:
        TrainingError: a split is empty, nothing is labelled, or the device asked for is not there.
    """
    train, validation = (open_source(manifest, home, split, experiment) for split in _splits(manifest))
    empty = [s for s in _splits(manifest) if not any(sum(t.class_pixels[s]) for t in manifest.tiles)]
    if empty:
        where, fix = f"dataset {manifest.dataset.name}", "choose tiles that have labels"
        raise TrainingError(*(Problem(f"{where}, {s} split", "no labelled pixel", "some", fix) for s in empty))
    return Task(
        experiment=experiment,
        train=train,
        validation=validation,
        classes=manifest.legend.names,
        bands=bands(manifest),
        class_pixels=pixels(manifest, "train"),
        device=classical.DEVICE if isinstance(experiment.model, Classical) else device.choose(experiment),
        code=code or config.code_folder(),
    )


def _splits(manifest: DatasetManifest) -> tuple[str, str]:
    """The split that is learnt from, and the one that chooses the checkpoint."""
    return "train", manifest.dataset.splits.checkpoint_split


def pixels(manifest: DatasetManifest, split: str) -> tuple[int, ...]:
    """Labelled pixels of each class in a split."""
    return tuple(np.sum([tile.class_pixels[split] for tile in manifest.tiles], axis=0).tolist())


def bands(manifest: DatasetManifest) -> Bands:
    """Mean, standard deviation, least and largest value of each band over the train pixels."""
    columns = ([getattr(band, key) for band in manifest.bands] for key in ("mean", "std", "minimum", "maximum"))
    return Bands(*(np.array(column, np.float32) for column in columns))


def model(
    manifest: DatasetManifest,
    experiment: Experiment,
    home: Path,
    members: Mapping[str, Product] = NO_MEMBERS,
    code: Path | None = None,
) -> Normalised:
    """The initialised model before its first step, drawn from the experiment's seed; of an ensemble all members.

    Custom code is that of the folder `code`; by default that of the configurations.

    Raises:
        TrainingError: pretrained weights do not fit.
        CodeError: custom code is switched off, cannot be imported, or builds no network.
    """
    if isinstance(experiment.model, Ensemble):
        return ensemble.assemble(members, experiment.model, *_statistics(manifest))
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        network = build(experiment.model, len(manifest.bands), len(manifest.legend.classes), code)
    pretrained.load_pretrained(network, experiment.model, home / weights.FOLDER)
    return Normalised(network, *_statistics(manifest))


def _statistics(manifest: DatasetManifest) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band over the train pixels."""
    return tuple(band.mean for band in manifest.bands), tuple(band.std for band in manifest.bands)


def contract(manifest: DatasetManifest, experiment: Experiment, members: Mapping[str, Product]) -> Contract:
    """The model's contract: what it needs of a raster, and the data it was trained on."""
    mean, std = _statistics(manifest)
    return Contract(
        model=experiment.model,
        bands=manifest.dataset.bands,
        dtype=manifest.dataset.dtype,
        resolution=manifest.resolution,
        mean=mean,
        std=std,
        legend=manifest.legend,
        patch_size=manifest.dataset.patches.size,
        dataset=manifest.dataset.name,
        data_digest=manifest.digest,
        fold=folds.seen_by(manifest, experiment),
        experiment=experiment.name,
        members=ensemble.contract_members(members),
    )
