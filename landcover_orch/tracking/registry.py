"""Model registry: versions of a dataset's model, the aliases challenger and champion, and model serving."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch import custom
from landcover_orch.errors import BusyError, Problem, TrackingError
from landcover_orch.models.contract import CONTRACT, WEIGHTS, Contract, load_contract
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.products import HISTORY, MODEL, SUMMARY, THROUGHPUT
from landcover_orch.store.publish import Product
from landcover_orch.tracking import notes
from landcover_orch.tracking.describe import CHAMPION, REPORTED, describe, describe_scored
from landcover_orch.tracking.metrics import epoch_metrics, report_metrics, training_metrics
from landcover_orch.tracking.runs import (
    DATA_DIGEST,
    DATASET,
    EXPERIMENT,
    FINGERPRINT,
    MODEL_FAMILY,
    PARENT,
    TAGS,
    MetricEntry,
    Start,
    Tracker,
    find_run,
    flattened,
    run_url,
)
from landcover_orch.tracking.server import address, fluent, known_warnings, reachable, version_page

CHALLENGER = "challenger"
REQUIREMENTS = ("mlflow", "numpy", "pydantic", "PyYAML", "safetensors", "torch")
"""Requirements of a registered model wherever it is served; the library's own code travels with it."""

FAMILY_REQUIREMENTS = {
    "swin_unet": ("transformers",),
    "zoo": ("segmentation-models-pytorch", "timm", "torchvision"),
}
"""Additional requirements of some families."""

PROMOTED = "landcover.champion.at"
"""Tag of a version that this project gave the alias `champion`: when."""

LOCK, PATIENCE_S = "registry", 60.0
"""Name of the lock in a dataset's folder while a model is registered, and how long others wait for it."""

TAGGED_ALREADY = {"data_digest", "experiment", "fingerprint", "model", "previous"}
"""Parts of a decision on the champion that the version has as tags anyway."""

EXAMPLE_SIDE = 32
"""Largest side of an input example in pixels: it travels as JSON."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; `url` leads to it in MLflow's pages."""

    name: str
    version: str
    run_id: str
    url: str
    run_url: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Name of the model's product: experiment and fingerprint."""
        return f"{self.tags.get(EXPERIMENT)}-{self.tags.get(FINGERPRINT)}"

    @classmethod
    def of(cls, version: Any, home: Path) -> ModelVersion:
        """The version as MLflow's client gives it."""
        return cls(
            name=version.name,
            version=str(version.version),
            run_id=version.run_id,
            url=version_page(version.name, str(version.version)),
            run_url=run_url(version.run_id, home) if version.run_id else "",  # one that was registered without a run
            tags=dict(version.tags or {}),
        )


def find_version(name: str, product: Product, home: Path) -> ModelVersion | None:
    """The version that a model is registered as under its dataset's name."""
    experiment = load_contract(product.path).experiment
    with reachable(home, "looking up a model") as client:
        versions = client.search_model_versions(f"name = '{name}'")
    key = (product.fingerprint, experiment)
    same = [v for v in versions if (v.tags.get(FINGERPRINT), v.tags.get(EXPERIMENT)) == key]
    return ModelVersion.of(same[0], home) if same else None


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
        TrackingError: MLflow does not answer, or another process registers for longer than a minute.
    """
    name = manifest.dataset.name
    with one_at_a_time(name, home):
        known = find_version(name, product, home)
        if known is None:
            return new_version(product, manifest, home, tags, challenger)
    with reachable(home, "describing a model") as client:
        describe(client, name, known.version, home)
    return known


@contextmanager
def one_at_a_time(name: str, home: Path) -> Iterator[None]:
    """Lock of a dataset's registered model: two processes that find a model unregistered register it once."""
    (home / name).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(publish.locked(home / name, LOCK, PATIENCE_S))
        except BusyError as error:
            raise TrackingError(*error.problems) from error
        yield


def new_version(
    product: Product, manifest: DatasetManifest, home: Path, tags: Mapping[str, str] | None, challenger: bool
) -> ModelVersion:
    """Registers a model; arguments as those of `register`."""
    name = manifest.dataset.name
    contract = load_contract(product.path)
    fold = contract.fold if contract.data_digest != manifest.digest else None
    seen = folds.described(manifest, fold) if fold else manifest
    run_id = find_run(product, home) or log_history(product, seen, home, tags)
    with reachable(home, "registering a model") as client:
        version = log_model(product, name, run_id, home)
        run_tags = client.get_run(run_id).data.tags
        tags_of_model = {
            DATASET: name,
            EXPERIMENT: contract.experiment,
            FINGERPRINT: product.fingerprint,
            DATA_DIGEST: contract.data_digest,
            MODEL_FAMILY: contract.model.name,
        }
        for tag, value in ({tag: run_tags[tag] for tag in TAGS if tag in run_tags} | tags_of_model).items():
            client.set_model_version_tag(name, version, tag, value)
        client.set_registered_model_tag(name, DATASET, name)
        if challenger:
            client.set_registered_model_alias(name, CHALLENGER, version)
        describe(client, name, version, home)
        return ModelVersion.of(client.get_model_version(name, version), home)


def log_history(product: Product, manifest: DatasetManifest, home: Path, tags: Mapping[str, str] | None) -> str:
    """Logs a run from the product's own history: of a training whose MLflow never answered, or was lost since."""
    experiment = load_contract(product.path).experiment
    with tempfile.TemporaryDirectory() as scratch:
        start = Start.of(manifest, experiment, product.recipe, Path(scratch) / "journal.jsonl")
        start = replace(start, afterwards=True)
        with Tracker(start, home, tags) as tracker:
            measured = product.json(THROUGHPUT)
            for row, seconds in zip(product.json(HISTORY), measured["epoch_seconds"], strict=True):
                tracker.epoch(row["epoch"], epoch_metrics(row, seconds))
            accumulate = product.json(SUMMARY).get("accumulate", 1)
            return finish_run(tracker, product, training_metrics(measured["images_per_second"], accumulate))


def finish_run(tracker: Tracker, product: Product, metrics: Mapping[str, float]) -> str:
    """Ends a run with a product's files and the last metrics; gives the run's id.

    Raises:
        TrackingError: MLflow does not answer.
    """
    if not tracker.finish(product.path, metrics) or tracker.run_id is None:
        where, fix = f"MLflow at {address(tracker.home)}", "start it, and materialise again"
        raise TrackingError(Problem(where, "no answer", "a run", fix))
    return tracker.run_id


def log_model(product: Product, name: str, run_id: str, home: Path) -> str:
    """Logs a model to its run and registers it; gives the version."""
    with known_warnings():
        import mlflow
        import mlflow.pyfunc

    scratches = tempfile.TemporaryDirectory()
    with scratches as scratch, fluent(home), mlflow.start_run(run_id=run_id), known_warnings():
        parts = _parts(product.path, Path(scratch))
        logged = mlflow.pyfunc.log_model(name="model", registered_model_name=name, **parts)
    return str(logged.registered_model_version)


def export(trained: Path, target: Path) -> None:
    """Writes the trained model of a folder as an MLflow model, the same that `register` registers, without a server."""
    with known_warnings():
        import mlflow.pyfunc

        with tempfile.TemporaryDirectory() as scratch:
            mlflow.pyfunc.save_model(path=str(target), **_parts(trained, Path(scratch)))


def _parts(trained: Path, scratch: Path) -> dict[str, Any]:
    """Parts of an MLflow model: script, weights, contract and custom code, the library, signature and requirements."""
    library = Path(__file__).parent.parent
    folder = scratch / "trained"
    folder.mkdir()
    for file in (WEIGHTS, CONTRACT):
        shutil.copy(trained / file, folder)
    if (trained / custom.FOLDER).is_dir():
        shutil.copytree(trained / custom.FOLDER, folder / custom.FOLDER)
    contract = load_contract(trained)
    code = scratch / library.name
    shutil.copytree(library, code, ignore=shutil.ignore_patterns("__pycache__"))
    return {
        "python_model": str(library / "tracking" / "serve.py"),
        "artifacts": {"trained": str(folder)},
        "code_paths": [str(code)],
        "signature": signature(contract),
        "input_example": input_example(contract),
        "pip_requirements": requirements(contract, custom.distributions(trained / custom.FOLDER)),
    }


def requirements(contract: Contract, of_code: Collection[str] = ()) -> list[str]:
    """Requirements of a model's families, pinned to public versions: a local one, as torch's `+cpu`, is on no index.

    Args:
        contract: of the model.
        of_code: distributions that its custom code imports.
    """
    names = (*REQUIREMENTS, *(part for name in contract.families for part in FAMILY_REQUIREMENTS.get(name, ())))
    names = (*names, *sorted({*of_code} - {*names}))
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in names]


def input_example(contract: Contract) -> np.ndarray:
    """Input example of a model, (1, band, y, x): a slope from dark to bright around the means of the train pixels."""
    side = min(contract.patch_size, EXAMPLE_SIDE)
    mean, std = (np.array(values)[:, None, None] for values in (contract.mean, contract.std))
    slope = np.broadcast_to(mean + std * np.linspace(-1, 1, side), (len(contract.bands), side, side))
    dtype = np.dtype(contract.dtype)
    if dtype.kind in "iu":
        slope = slope.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return slope.astype(dtype)[None]


def signature(contract: Contract) -> Any:
    """Signature of a model: pixels (n, band, y, x) to probabilities (n, class, y, x)."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    pixels = TensorSpec(np.dtype(contract.dtype), (-1, len(contract.bands), -1, -1))
    probabilities = TensorSpec(np.dtype("float32"), (-1, len(contract.legend.classes), -1, -1))
    return ModelSignature(inputs=Schema([pixels]), outputs=Schema([probabilities]))


def champion(name: str, home: Path) -> ModelVersion | None:
    """The version that bears the alias `champion`; None where none does."""
    with reachable(home, "looking up the champion") as client:
        models = client.search_registered_models(f"name = '{name}'")
        aliases = dict(client.get_registered_model(name).aliases) if models else {}
        if CHAMPION not in aliases:
            return None
        return ModelVersion.of(client.get_model_version(name, str(aliases[CHAMPION])), home)


def version_of(name: str, number: str, home: Path) -> ModelVersion:
    """The registered version of a number.

    Raises:
        TrackingError: MLflow does not answer, or has no such version of this project's.
    """
    with reachable(home, f"looking up {name} version {number}") as client:
        versions = client.search_model_versions(f"name = '{name}'")
    matches = [v for v in versions if str(v.version) == str(number)]
    if not matches or not {EXPERIMENT, FINGERPRINT} <= set(matches[0].tags or {}):
        known = ", ".join(str(n) for n in sorted(int(v.version) for v in versions)) or "none"
        fix = "look it up in MLflow (`make ui`)"
        raise TrackingError(Problem(f"registry, {name}", f"no version {number}", f"one of: {known}", fix))
    return ModelVersion.of(matches[0], home)


def registered(product: Product, home: Path) -> ModelVersion:
    """The version that a model is registered as; where MLflow has none, it is made again from the product.

    Raises:
        TrackingError: MLflow does not answer, or what the model was trained on is no longer on disk.
    """
    contract = load_contract(product.path)
    version = find_version(contract.dataset, product, home)
    if version is not None:
        return version
    manifest = notes.manifest_of(contract.dataset, contract.data_digest, home)
    if manifest is None:
        fix = f"promote another version by `landcover promote {contract.dataset} VERSION`, or restore a backup"
        reason = f"no version of {product.path.name}, and its manifest {contract.data_digest} is gone"
        raise TrackingError(Problem(f"registry, {contract.dataset}", reason, "a version, or its manifest", fix))
    return register(product, manifest, home, challenger=False)


def set_challenger(name: str, product: Product, home: Path) -> None:
    """Gives the alias `challenger` to a model's version, which is registered where it is not.

    Raises:
        TrackingError: as `registered`.
    """
    version = registered(product, home)
    with reachable(home, "naming a challenger") as client:
        client.set_registered_model_alias(name, CHALLENGER, version.version)


def promote(name: str, product: Product, facts: Mapping[str, Any], promoter: str, home: Path) -> ModelVersion:
    """Gives a model's version the alias `champion`, with tags `landcover.champion.*`: when, by whom, after whom, why.

    A model that is not registered is.

    Args:
        name: the dataset.
        product: the model.
        facts: what it was chosen by (score, digest of the test tiles...): one tag each, less what its version's own
            tags say.
        promoter: the Dagster run that chose it.
        home: folder everything is written below.

    Raises:
        TrackingError: as `registered`.
    """
    version = registered(product, home)
    chosen_by = {key: fact for key, fact in facts.items() if fact is not None and key not in TAGGED_ALREADY}
    current_champion = champion(name, home)
    if current_champion is not None and current_champion.version == version.version:
        return current_champion
    tags = {
        PROMOTED: datetime.now(UTC).isoformat(timespec="seconds"),
        "landcover.champion.run": promoter,
        "landcover.champion.previous": current_champion.version if current_champion else "none",
        **flattened(chosen_by, "landcover.champion"),
    }
    with reachable(home, "promoting a model") as client:
        for tag, value in tags.items():
            client.set_model_version_tag(name, version.version, tag, value)
        client.set_registered_model_alias(name, CHAMPION, version.version)
        changed = {version.version} | ({current_champion.version} if current_champion else set())
        describe_scored(client, name, home, changed)
        return ModelVersion.of(client.get_model_version(name, version.version), home)


def log_report(run_id: str, product: Product, home: Path) -> None:
    """Adds a report's files (folder `report`) and its numbers (`test/...`) to a run, once.

    Where the run is a repetition's, its parent run has them too.

    Raises:
        TrackingError: MLflow does not answer.
    """
    with reachable(home, "logging a report") as client:
        parent = client.get_run(run_id).data.tags.get(PARENT)
        for run in (run_id, parent) if parent else (run_id,):
            if client.get_run(run).data.tags.get(REPORTED) == product.fingerprint:
                continue
            client.log_artifacts(run, str(product.path), "report")
            MetricEntry.now(0, report_metrics(product.json(SUMMARY))).log(client, run)
            client.set_tag(run, REPORTED, product.fingerprint)
        versions = client.search_model_versions(f"run_id = '{run_id}'")
        for name in {version.name for version in versions}:
            describe_scored(client, name, home, {str(version.version) for version in versions})


def product_of(version: str, home: Path) -> Product:
    """The product that a registered version (models:/DATASET/VERSION) was made of, below `home`.

    Raises:
        TrackingError: MLflow does not answer, has no such version, or not one of this project's.
        IncompleteError: the product is no longer there, or damaged.
    """
    match = re.fullmatch(r"models:/([A-Za-z0-9_-]+)/([0-9]+)", version)
    expected, fix = "models:/DATASET/VERSION of a model this project registered", "look it up in MLflow (`make ui`)"
    if match is None:
        raise TrackingError(Problem(version, "not a registered version", expected, fix))
    name, number = match.groups()
    with reachable(home, f"looking up {version}") as client:
        versions = client.search_model_versions(f"name = '{name}'")
    tags = next((dict(v.tags or {}) for v in versions if str(v.version) == number), {})
    if not {EXPERIMENT, FINGERPRINT} <= set(tags):
        known = sorted(int(v.version) for v in versions)
        raise TrackingError(Problem(version, f"versions {known} of {name}", expected, fix))
    return publish.load(home / name / MODEL / f"{tags[EXPERIMENT]}-{tags[FINGERPRINT]}")


def download_model(uri: str, home: Path, folder: Path) -> Path:
    """Downloads a registered model (models:/NAME@ALIAS or models:/NAME/VERSION) into a folder; gives where it lies.

    Raises:
        TrackingError: MLflow does not answer, or has no such model.
    """
    with reachable(home, f"loading {uri}") as client, known_warnings(), fluent(home):
        if problem := unknown_model(client, uri):
            raise TrackingError(problem)
        import mlflow.artifacts

        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))


def unknown_model(client: Any, uri: str) -> Problem | None:
    """What is wrong with the address of a registered model; None where there is one."""
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/([0-9]+))", uri)
    models = {model.name: model for model in client.search_registered_models()}
    fix = "name one of them; `landcover ui` shows them in MLflow"
    if match is None or match[1] not in models:
        expected = f"models:/NAME@champion or models:/NAME/VERSION, with NAME one of: {', '.join(models) or 'none yet'}"
        return Problem(uri, "no registered model", expected, fix)
    name, alias, version = match.groups()
    aliases = dict(client.get_registered_model(name).aliases)
    versions = [str(v.version) for v in client.search_model_versions(f"name = '{name}'")]
    if alias in aliases or version in versions:
        return None
    known = ", ".join([*(f"@{a}" for a in aliases), *(f"/{v}" for v in sorted(versions, key=int))])
    return Problem(uri, f"no such version of {name}", f"one of: {known or 'none yet'}", fix)


def serve() -> None:
    """Sets MLflow's model of the script it is loading: `predict` gives probabilities (n, class, y, x) float32."""
    with known_warnings():
        import mlflow.models
        from mlflow.pyfunc.model import PythonModel

    class LandCover(PythonModel):
        """Raw pixels (n, band, y, x) in the contract's dtype to probabilities."""

        def load_context(self, context: Any) -> None:
            from landcover_orch.models import networks

            # MLflow has run the model's script by now: the custom code beside it needs no switch.
            self.model, self.contract = networks.load(Path(context.artifacts["trained"]), trusted=True)

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
