"""What MLflow has of a dataset's models, reports and leaderboard, to be compared with what is on disk."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_orch.models.contract import CONTRACT, WEIGHTS
from landcover_orch.store.fingerprint import file_hash
from landcover_orch.store.publish import Product
from landcover_orch.tracking.describe import REPORTED
from landcover_orch.tracking.leaderboard import LEADERBOARD, RUN
from landcover_orch.tracking.registry import CHALLENGER, PROMOTED, export
from landcover_orch.tracking.retention import has_database
from landcover_orch.tracking.runs import EXPERIMENT, FINGERPRINT
from landcover_orch.tracking.server import fluent, reachable

TRAINED = "artifacts/trained"
"""Folder of a registered model that weights and contract lie in."""

COMPARED = (WEIGHTS, CONTRACT)
DELETED = "deleted"


@dataclass(frozen=True)
class LoggedModel:
    """What MLflow has of a model: its version and run, the report in that run, whether the version has its files."""

    number: str
    run_id: str
    report: str | None
    """Fingerprint of the report that was logged last; None: none was."""

    has_files: bool
    """Whether the version can be loaded: weights and contract lie in MLflow's artifacts, as they are on disk."""

    is_deleted: bool = False
    """Whether its run was deleted in MLflow, which keeps it for a while."""


def logged_models(
    dataset: str, models: Mapping[str, Product], home: Path, *, deep: bool = False
) -> dict[str, LoggedModel]:
    """Name of a model's product (experiment and fingerprint) -> what MLflow has of it, of some models.

    Args:
        dataset: whose models they are.
        models: by the names of their products.
        home: folder everything is written below.
        deep: whether files are compared byte by byte, not by their sizes alone.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if not models or not has_database(home):
        return {}
    with reachable(home, "comparing the registry with the disk") as client, fluent(home):
        versions = [v for v in client.search_model_versions(f"name = '{dataset}'") if v.run_id]
        by_name = {f"{v.tags.get(EXPERIMENT)}-{v.tags.get(FINGERPRINT)}": v for v in reversed(versions)}
        return {
            name: logged_model(client, by_name[name], product, deep=deep)
            for name, product in models.items()
            if name in by_name
        }


def logged_model(client: Any, version: Any, product: Product, *, deep: bool) -> LoggedModel:
    """What MLflow has of the model of a version, which a product is."""
    run = client.get_run(version.run_id)
    complete = has_files(client, version, product) and (not deep or same_bytes(version, product))
    is_deleted = run.info.lifecycle_stage == DELETED
    return LoggedModel(str(version.version), version.run_id, run.data.tags.get(REPORTED), complete, is_deleted)


def has_files(client: Any, version: Any, product: Product) -> bool:
    """Whether MLflow's artifacts have the weights and the contract that a version is of, in their sizes."""
    model_id = model_id_of(version)
    if model_id is None:
        return True
    sizes = {Path(file.path).name: file.file_size for file in client.list_logged_model_artifacts(model_id, TRAINED)}
    return all(sizes.get(name) == product.files[name]["bytes"] for name in COMPARED)


def same_bytes(version: Any, product: Product) -> bool:
    """Whether MLflow's artifacts have the very bytes of weights and contract."""
    import mlflow.artifacts

    if (model_id := model_id_of(version)) is None:
        return True
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{model_id}", dst_path=scratch))
        return all(file_hash(folder / TRAINED / name) == product.files[name]["sha256"] for name in COMPARED)


def model_id_of(version: Any) -> str | None:
    """Id of the logged model that a version is of; None of a version that was registered otherwise."""
    match = re.fullmatch(r"models:/(m-[0-9a-f]+)", version.source or "")
    return match[1] if match else None


def logged_leaderboard(dataset: str, home: Path) -> str | None:
    """Fingerprint of the leaderboard that MLflow shows; None where it shows none.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if not has_database(home):
        return None
    with reachable(home, "looking up the leaderboard") as client:
        experiment = client.get_experiment_by_name(dataset)
        if experiment is None:
            return None
        runs = client.search_runs([experiment.experiment_id], filter_string=f"attributes.run_name = '{RUN}'")
    return next((run.data.tags[LEADERBOARD] for run in runs if LEADERBOARD in run.data.tags), None)


def has_challenger(dataset: str, home: Path) -> bool:
    """Whether a version bears the alias `challenger`."""
    if not has_database(home):
        return False
    with reachable(home, "looking up the challenger") as client:
        models = client.search_registered_models(f"name = '{dataset}'")
        return bool(models) and CHALLENGER in client.get_registered_model(dataset).aliases


def was_promoted(dataset: str, number: str, home: Path) -> bool:
    """Whether MLflow has a version of a number that this project once gave the alias `champion`."""
    with reachable(home, "looking up a former champion") as client:
        versions = client.search_model_versions(f"name = '{dataset}'")
    return any(str(version.version) == number and PROMOTED in version.tags for version in versions)


def restore_run(run_id: str, home: Path) -> None:
    """Brings a run back that was deleted in MLflow's pages.

    Raises:
        TrackingError: MLflow does not answer, or has removed it for good.
    """
    with reachable(home, "restoring a run") as client:
        experiment = client.get_experiment(client.get_run(run_id).info.experiment_id)
        if experiment.lifecycle_stage == DELETED:
            client.restore_experiment(experiment.experiment_id)
        if client.get_run(run_id).info.lifecycle_stage == DELETED:
            client.restore_run(run_id)


def restore_files(dataset: str, number: str, product: Product, home: Path) -> None:
    """Writes the files of a registered version again, from the product that it is of.

    Raises:
        TrackingError: MLflow does not answer.
    """
    with tempfile.TemporaryDirectory() as scratch, reachable(home, "restoring a model's files") as client:
        exported = Path(scratch) / "model"
        export(product.path, exported)
        client.log_model_artifacts(model_id_of(client.get_model_version(dataset, number)), str(exported))
