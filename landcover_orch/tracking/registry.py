"""The registry: versions of a dataset's model, the aliases challenger and champion, and how a version is served."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch.errors import Problem, TrackingError
from landcover_orch.models.contract import CONTRACT, WEIGHTS, Contract, load_contract
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.publish import Product
from landcover_orch.tracking.runs import (
    EXPERIMENT,
    FINGERPRINT,
    PARENT,
    Start,
    Tracker,
    find_run,
    flattened,
    log_metrics,
    run_url,
)
from landcover_orch.tracking.server import address, interface, known_warnings, reachable

CHALLENGER, CHAMPION = "challenger", "champion"
REQUIREMENTS = ("mlflow", "numpy", "pydantic", "PyYAML", "safetensors", "torch")
"""What a registered model needs wherever it is served; the library's own code travels with it."""

FAMILY_REQUIREMENTS = {
    "swin_unet": ("transformers",),
    "zoo": ("segmentation-models-pytorch", "timm", "torchvision"),
}
"""What some families need besides."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; `url` leads to it in MLflow's pages."""

    name: str
    version: str
    run_id: str
    url: str
    run_url: str
    tags: dict[str, str] = field(default_factory=dict)


def find_version(name: str, product: Product, home: Path) -> ModelVersion | None:
    """The version that a model is registered as under its dataset's name."""
    experiment = load_contract(product.path).experiment
    with reachable(home, "looking up a model") as speaker:
        versions = speaker.search_model_versions(f"name = '{name}'")
    wanted = (product.fingerprint, experiment)
    same = [v for v in versions if (v.tags.get(FINGERPRINT), v.tags.get(EXPERIMENT)) == wanted]
    return _version(same[0], home) if same else None


def _version(found: Any, home: Path) -> ModelVersion:
    url = f"{interface()}/#/models/{found.name}/versions/{found.version}"
    return ModelVersion(
        found.name, str(found.version), found.run_id, url, run_url(found.run_id, home), dict(found.tags or {})
    )


def register(
    product: Product,
    manifest: DatasetManifest,
    home: Path,
    *,
    tags: Mapping[str, str] | None = None,
    challenger: bool = True,
) -> ModelVersion:
    """The registered version of a model; made if there is none, with its run if that is missing.

    The model is a script, its weights and its contract, without pickles: raw pixels in, probabilities out.

    Args:
        product: the model.
        manifest: that of its dataset, or of the fold it was trained on.
        home: folder everything is written below.
        tags: of the run, where it is made.
        challenger: whether a version that is made gets this alias.

    Raises:
        TrackingError: MLflow does not answer.
    """
    name = manifest.dataset.name
    known = find_version(name, product, home)
    if known is not None:
        return known
    contract = load_contract(product.path)
    fold = contract.fold if contract.data_digest != manifest.digest else None
    seen = folds.described(manifest, fold) if fold else manifest
    run_id = find_run(product, home) or _run_afterwards(product, seen, home, tags)
    with reachable(home, "registering a model") as speaker:
        version = _log_model(product, name, run_id, home)
        for tag, value in {
            FINGERPRINT: product.fingerprint,
            EXPERIMENT: contract.experiment,
            "landcover.data_digest": contract.data_digest,
        }.items():
            speaker.set_model_version_tag(name, version, tag, value)
        if challenger:
            speaker.set_registered_model_alias(name, CHALLENGER, version)
        return _version(speaker.get_model_version(name, version), home)


def _run_afterwards(product: Product, manifest: DatasetManifest, home: Path, tags: Mapping[str, str] | None) -> str:
    """A run told from the product's own history: of a training whose MLflow never answered, or was lost since."""
    experiment = load_contract(product.path).experiment
    with tempfile.TemporaryDirectory() as scratch:
        start = Start.of(manifest, experiment, product.recipe, Path(scratch) / "journal.jsonl")
        with Tracker(start, home, tags) as told:
            measured = product.json("throughput.json")
            for row, seconds in zip(product.json("history.json"), measured["epoch_seconds"], strict=True):
                told.epoch(row["epoch"], {**_numbers(row), "seconds": seconds})
            rates = {f"throughput/{name}": rate for name, rate in measured["images_per_second"].items() if rate}
            return told_whole(told, product, rates)


def told_whole(told: Tracker, product: Product, metrics: Mapping[str, float]) -> str:
    """Ends a run with a product's files and the last metrics; gives the run's id.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if not told.finish(product.path, metrics) or told.run_id is None:
        where, fix = f"MLflow at {address(told.home)}", "start it, and materialise again"
        raise TrackingError(Problem(where, "no answer", "a run", fix))
    return told.run_id


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    each = {f"iou/{name}": value for name, value in row["iou"].items()}
    flat = {**{k: v for k, v in row.items() if k not in ("iou", "epoch", "metrics")}, **row["metrics"], **each}
    return {name: float(value) for name, value in flat.items() if value is not None}


def _log_model(product: Product, name: str, run_id: str, home: Path) -> str:
    with known_warnings():
        import mlflow
        import mlflow.pyfunc

    mlflow.set_tracking_uri(address(home))
    mlflow.set_registry_uri(address(home))
    with tempfile.TemporaryDirectory() as scratch, mlflow.start_run(run_id=run_id), known_warnings():
        parts = _parts(product.path, Path(scratch))
        told = mlflow.pyfunc.log_model(name="model", registered_model_name=name, **parts)
    return str(told.registered_model_version)


def export(trained: Path, target: Path) -> None:
    """Writes the trained model of a folder as an MLflow model, the same that `register` registers, without a server."""
    with known_warnings():
        import mlflow.pyfunc

        with tempfile.TemporaryDirectory() as scratch:
            mlflow.pyfunc.save_model(path=str(target), **_parts(trained, Path(scratch)))


def _parts(trained: Path, scratch: Path) -> dict[str, Any]:
    """What MLflow makes a model of: a script, weights and contract, the library, its signature and requirements."""
    library = Path(__file__).parent.parent
    folder = scratch / "trained"
    folder.mkdir()
    for file in (WEIGHTS, CONTRACT):
        shutil.copy(trained / file, folder)
    contract = load_contract(trained)
    needed = (*REQUIREMENTS, *(part for name in contract.families for part in FAMILY_REQUIREMENTS.get(name, ())))
    return {
        "python_model": str(library / "tracking" / "serve.py"),
        "artifacts": {"trained": str(folder)},
        "code_paths": [str(_code(scratch, library))],
        "signature": _signature(contract),
        "pip_requirements": [f"{part}=={importlib.metadata.version(part)}" for part in needed],
    }


def _code(scratch: Path, library: Path) -> Path:
    """A copy of the library, without what Python compiled of it."""
    copy = scratch / library.name
    shutil.copytree(library, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _signature(contract: Contract) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    pixels = TensorSpec(np.dtype(contract.dtype), (-1, len(contract.bands), -1, -1))
    shares = TensorSpec(np.dtype("float32"), (-1, len(contract.legend.classes), -1, -1))
    return ModelSignature(inputs=Schema([pixels]), outputs=Schema([shares]))


def champion(name: str, home: Path) -> ModelVersion | None:
    """The version that bears the alias `champion`; None where none does."""
    with reachable(home, "looking up the champion") as speaker:
        aliases = _aliases(speaker, name)
        if CHAMPION not in aliases:
            return None
        return _version(speaker.get_model_version(name, str(aliases[CHAMPION])), home)


def _aliases(speaker: Any, name: str) -> dict[str, Any]:
    models = speaker.search_registered_models(f"name = '{name}'")
    return dict(speaker.get_registered_model(name).aliases) if models else {}


def promote(name: str, product: Product, facts: Mapping[str, Any], promoter: str, home: Path) -> ModelVersion:
    """Gives a registered model the alias `champion`, with tags that say when, by which run, after whom and why.

    Args:
        name: the dataset.
        product: the model.
        facts: what it was chosen by (score, digest of the test tiles...): one tag each.
        promoter: the Dagster run that chose it.
        home: folder everything is written below.

    Raises:
        TrackingError: MLflow does not answer, or the model is not registered.
    """
    version = find_version(name, product, home)
    if version is None:
        fix = "materialise `model` while MLflow is reachable"
        raise TrackingError(Problem(f"registry, {name}", f"no version of {product.path.name}", "one", fix))
    standing = champion(name, home)
    if standing is not None and standing.version == version.version:
        return standing
    tags = {
        "promoted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "promoted_by_run": promoter,
        "previous_champion": standing.version if standing else "none",
        **flattened(facts, "champion"),
    }
    with reachable(home, "promoting a model") as speaker:
        for tag, value in tags.items():
            speaker.set_model_version_tag(name, version.version, tag, value)
        speaker.set_registered_model_alias(name, CHAMPION, version.version)
        return _version(speaker.get_model_version(name, version.version), home)


def log_report(run_id: str, product: Product, home: Path) -> None:
    """Adds a report's files (folder `report`) and its numbers (`test/...`) to a run, once.

    Where the run is a repetition's, the run of the whole recipe has them too.

    Raises:
        TrackingError: MLflow does not answer.
    """
    with reachable(home, "logging a report") as speaker:
        above = speaker.get_run(run_id).data.tags.get(PARENT)
        for one in (run_id, above) if above else (run_id,):
            _log_report(speaker, one, product)


def _log_report(speaker: Any, run_id: str, product: Product) -> None:
    if speaker.get_run(run_id).data.tags.get("landcover.report") == product.fingerprint:
        return
    speaker.log_artifacts(run_id, str(product.path), "report")
    numbers = {f"test/{name}": float(text) for name, text in _figures(product.json("summary.json")).items()}
    log_metrics(speaker, run_id, {"metrics": numbers, "time": time.time_ns() // 1_000_000, "step": 0})
    speaker.set_tag(run_id, "landcover.report", product.fingerprint)


def _figures(summary: Any) -> dict[str, str]:
    flat = flattened(summary)
    return {name: text for name, text in flat.items() if re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text)}


def serve() -> None:
    """Hands MLflow the model of the script it is loading: `predict` gives probabilities (n, class, y, x) float32."""
    with known_warnings():
        import mlflow.models
        from mlflow.pyfunc import PythonModel

    class LandCover(PythonModel):  # type: ignore[misc]
        """Raw pixels (n, band, y, x) in the contract's dtype to probabilities."""

        def load_context(self, context: Any) -> None:
            from landcover_orch.models import networks

            self.model, self.contract = networks.load(Path(context.artifacts["trained"]))

        def predict(
            self,
            context: Any,
            model_input: np.ndarray,  # MLflow reads this, and knows the bare class alone
            params: dict[str, Any] | None = None,
        ) -> Any:
            import torch

            with torch.inference_mode():
                return self.model(torch.from_numpy(model_input)).float().softmax(1).numpy()

    mlflow.models.set_model(LandCover())
