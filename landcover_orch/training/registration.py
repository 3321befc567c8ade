"""Registration of trainings in MLflow: a model, or all repetitions of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from landcover_orch.models.contract import CONTRACT, load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.products import SUMMARY
from landcover_orch.store.publish import Product
from landcover_orch.tracking import ModelVersion, RegisteredRepetitions, register, register_repetitions
from landcover_orch.training import protocol


def register_training(
    trained: Product,
    experiment: str,
    manifest: DatasetManifest,
    home: Path,
    *,
    tags: Mapping[str, str] | None = None,
    challenger: bool = True,
) -> ModelVersion | RegisteredRepetitions:
    """Registers the product of a training: its model, or all repetitions; what MLflow has is left as it is.

    Args:
        trained: the product.
        experiment: name of the experiment.
        manifest: what it was trained on.
        home: folder everything is written below.
        tags: of the runs, where they are made.
        challenger: whether a version that is made gets this alias.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if CONTRACT in trained.files:
        return register(trained, manifest, home, tags=tags, challenger=challenger)
    models, figures = protocol.models_of(trained, home), protocol.figures(trained.json(SUMMARY))
    return register_repetitions(trained, models, experiment, figures, manifest, home, tags=tags, challenger=challenger)


def manifest_digest(trained: Product) -> str:
    """Digest of the manifest that a training was of: the dataset's, or that of a fold."""
    if CONTRACT in trained.files:
        return load_contract(trained.path).data_digest
    return str(trained.recipe.inputs["manifest"])
