"""The only importer of MLflow: runs, their datasets and metrics, registered models and their aliases.

Everything goes to SQLite below LANDCOVER_HOME, or to the server at MLFLOW_TRACKING_URI. A training never stops for
MLflow: what cannot be said is journalled beside the checkpoint and said later.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from landcover_orch.config import canonical, digest
from landcover_orch.errors import Problem, TrackingError
from landcover_orch.model.contract import CONTRACT, WEIGHTS, load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.publish import Product, Recipe

log = logging.getLogger(__name__)

FINGERPRINT = "landcover.fingerprint"
EXPERIMENT = "landcover.experiment"
CHALLENGER, CHAMPION = "challenger", "champion"
PAUSE_S = 60.0
"""How long an unreachable MLflow is left alone; each attempt costs seconds of training."""

PARAMETER_CHARACTERS = 6000
PARAMETERS_A_CALL = 100
FIGURES = ("curves.png", "history.csv", "throughput.json", "contract.json")
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
REQUIREMENTS = ("mlflow", "numpy", "pydantic", "PyYAML", "safetensors", "torch")
"""What a registered model needs wherever it is served; the library's own code travels with it."""


class Log(Protocol):
    """Who hears of a training's epochs and its end."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch, counted from 1, is over."""
        ...

    def finish(self, folder: Path, metrics: Mapping[str, float]) -> object:
        """The training is over; its files lie in `folder`."""
        ...


@dataclass(frozen=True)
class Start:
    """What a run is about, said when it begins."""

    dataset: str
    experiment: str
    fingerprint: str
    parameters: dict[str, str]
    configuration: dict[str, Any]
    data_digest: str
    journal: Path

    @classmethod
    def of(cls, manifest: DatasetManifest, experiment: str, recipe: Recipe, journal: Path) -> Start:
        """The start of the training that `recipe` describes."""
        dataset = manifest.dataset.model_dump(mode="json")
        told = {**recipe["configuration"], "dataset": dataset, "classes": manifest.legend.names}
        return cls(
            dataset=manifest.dataset.name,
            experiment=experiment,
            fingerprint=digest(recipe),
            parameters={"experiment": experiment, "manifest": manifest.digest, **flattened(told)},
            configuration={**told, "legend": manifest.legend.model_dump(mode="json"), "recipe": recipe},
            data_digest=manifest.digest,
            journal=journal,
        )


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; `url` leads to it in MLflow's pages."""

    name: str
    version: str
    run_id: str
    url: str
    run_url: str
    tags: dict[str, str] = field(default_factory=dict)


@contextmanager
def untracked(start: Start) -> Iterator[Log]:
    """A log that nobody reads."""
    yield _Silence()


class _Silence:
    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        pass

    def finish(self, folder: Path, metrics: Mapping[str, float]) -> None:
        pass


def flattened(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as 'a.b.c' -> text, cut to what MLflow takes; the whole goes in as an artifact."""
    if isinstance(value, Mapping):
        parts = [flattened(part, f"{prefix}.{name}" if prefix else str(name)) for name, part in value.items()]
        return {name: text for part in parts for name, text in part.items()}
    text = value if isinstance(value, str) else json.dumps(value)
    return {_allowed(prefix): text[:PARAMETER_CHARACTERS]}


def _allowed(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name)


def address(home: Path) -> str:
    """Where MLflow is: MLFLOW_TRACKING_URI, or the database below `home`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.resolve() / 'mlflow.db'}"


def _artifacts(home: Path) -> str | None:
    """Where a new experiment keeps its files; a server decides by itself."""
    return (home.resolve() / "mlartifacts").as_uri() if address(home).startswith("sqlite:") else None


def _interface() -> str:
    return os.environ.get("LANDCOVER_MLFLOW_UI", "http://127.0.0.1:5000").rstrip("/")


def client(home: Path) -> Any:
    """A client of the MLflow of `home`; its database is made by one process while the others wait."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    uri = address(home)
    if not uri.startswith("sqlite:"):
        return MlflowClient(uri, uri)
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".mlflow.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _require_database(Path(uri.removeprefix("sqlite:///")))
        with _known_warnings():
            return MlflowClient(uri, uri)


def _require_database(path: Path) -> None:
    """Raises sqlite3.Error where MLflow could not open its database: it would try again for 100 seconds."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA schema_version")


@contextmanager
def _known_warnings() -> Iterator[None]:
    """Leaves out what MLflow 3.17 says of itself: a loader of SQLAlchemy that is to go, its own type hints,
    and that a signature without an example may be wrong (a test serves the model)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*type hint", category=UserWarning)
        warnings.filterwarnings("ignore", message=r".*input example was not provided", category=UserWarning)
        yield


def _failures() -> tuple[type[Exception], ...]:
    """What MLflow raises when it cannot be reached or its database cannot be written."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, sqlite3.Error, OSError


@contextmanager
def _reachable(home: Path, doing: str) -> Iterator[Any]:
    try:
        yield client(home)
    except _failures() as error:
        raise TrackingError(
            Problem(
                f"MLflow at {address(home)}",
                f"{doing} failed ({' '.join(str(error).split())[:300]})",
                "an answer",
                "start it (`make ui`), or correct MLFLOW_TRACKING_URI, and materialise again",
            )
        ) from error


class Tracker:
    """A log that MLflow keeps: goes on with the unfinished run of this fingerprint, or creates one.

    Failures are written to the start's journal and said later, at the latest by `finish`; none reaches the training.
    """

    def __init__(self, start: Start, home: Path, tags: Mapping[str, str] | None = None) -> None:
        self.start, self.home, self.tags = start, home, dict(tags or {})
        self.run_id: str | None = None
        self._pending = _read_lines(start.journal)
        self._not_before = 0.0

    def __enter__(self) -> Tracker:
        self._flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.run_id is not None:
            with suppress(*_failures()):
                client(self.home).set_terminated(self.run_id, "KILLED")

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Says the metrics of an epoch, counted from 1."""
        self._say({"step": epoch, "metrics": dict(metrics), "time": time.time_ns() // 1_000_000})

    def finish(self, folder: Path, metrics: Mapping[str, float]) -> bool:
        """Says the last metrics and files and ends the run; whether all was taken."""
        self._not_before = 0.0
        self._say({"step": 0, "metrics": dict(metrics), "time": time.time_ns() // 1_000_000})
        if self._pending:
            return False
        return self._try(lambda: self._end(folder))

    def _end(self, folder: Path) -> None:
        speaker = client(self.home)
        for name in FIGURES:
            if (folder / name).exists():
                speaker.log_artifact(self.run_id, str(folder / name))
        speaker.set_terminated(self.run_id, "FINISHED")

    def _say(self, entry: dict[str, Any]) -> None:
        self._pending.append(entry)
        _write_lines(self.start.journal, self._pending)
        self._flush()

    def _flush(self) -> None:
        if time.monotonic() >= self._not_before and self._try(self._send):
            _write_lines(self.start.journal, self._pending)

    def _send(self) -> None:
        if self.run_id is None:
            self.run_id = _begin(client(self.home), self.start, self.home, self.tags)
        while self._pending:
            _log_metrics(client(self.home), self.run_id, self._pending[0])
            del self._pending[0]

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except _failures() as error:
            self._not_before = time.monotonic() + PAUSE_S
            log.warning("MLflow does not answer; it will be told later (%s)", " ".join(str(error).split())[:200])
            return False
        return True


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole]


def _write_lines(path: Path, entries: list[dict[str, Any]]) -> None:
    if not entries and not path.exists():
        return
    fresh = path.with_name(path.name + ".new")
    fresh.write_text("".join(canonical(entry) + "\n" for entry in entries), encoding="utf-8")
    fresh.replace(path)


def _log_metrics(speaker: Any, run_id: str, entry: dict[str, Any]) -> None:
    from mlflow.entities import Metric

    values = [Metric(_allowed(k), v, entry["time"], entry["step"]) for k, v in entry["metrics"].items()]
    speaker.log_batch(run_id, metrics=values)


def _begin(speaker: Any, start: Start, home: Path, tags: dict[str, str]) -> str:
    experiment = _experiment(speaker, start.dataset, home)
    same = [run for run in _runs(speaker, experiment, start) if run.info.status != "FINISHED"]
    if same:
        run_id = str(same[0].info.run_id)
        speaker.update_run(run_id, status="RUNNING")
        for name, value in tags.items():
            speaker.set_tag(run_id, name, value)
        return run_id
    marks = {FINGERPRINT: start.fingerprint, EXPERIMENT: start.experiment, **tags}
    run_id = str(speaker.create_run(experiment, tags=marks, run_name=start.experiment).info.run_id)
    _describe(speaker, run_id, start, home)
    return run_id


def _experiment(speaker: Any, name: str, home: Path) -> str:
    found = speaker.get_experiment_by_name(name)
    if found is None:
        return str(speaker.create_experiment(name, artifact_location=_artifacts(home)))
    return str(found.experiment_id)


def _runs(speaker: Any, experiment: str, start: Start) -> list[Any]:
    wanted = f"tags.`{FINGERPRINT}` = '{start.fingerprint}' and tags.`{EXPERIMENT}` = '{start.experiment}'"
    return list(speaker.search_runs([experiment], filter_string=wanted))


def _describe(speaker: Any, run_id: str, start: Start, home: Path) -> None:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource
    from mlflow.entities import DatasetInput, InputTag, Param

    parameters = [Param(name, value) for name, value in start.parameters.items()]
    for first in range(0, len(parameters), PARAMETERS_A_CALL):
        speaker.log_batch(run_id, params=parameters[first : first + PARAMETERS_A_CALL])
    source = LocalArtifactDatasetSource(str(home / start.dataset / "dataset_manifest"))
    data = MetaDataset(source, name=start.dataset, digest=start.data_digest)
    tags = [InputTag("mlflow.data.context", "training")]
    speaker.log_inputs(run_id, [DatasetInput(data._to_mlflow_entity(), tags)])
    speaker.log_dict(run_id, start.configuration, "configuration.json")


def run_url(run_id: str, home: Path) -> str:
    """Address of a run in MLflow's pages."""
    with _reachable(home, "looking up a run") as speaker:
        experiment = speaker.get_run(run_id).info.experiment_id
    return f"{_interface()}/#/experiments/{experiment}/runs/{run_id}"


def find_run(product: Product, home: Path) -> str | None:
    """The finished run that a model came from."""
    contract = load_contract(product.path)
    with _reachable(home, "looking up a run") as speaker:
        found = speaker.get_experiment_by_name(contract.dataset)
        if found is None:
            return None
        start = Start(contract.dataset, contract.experiment, product.fingerprint, {}, {}, "", Path())
        runs = _runs(speaker, found.experiment_id, start)
    return next((str(run.info.run_id) for run in runs if run.info.status == "FINISHED"), None)


def find_version(name: str, product: Product, home: Path) -> ModelVersion | None:
    """The version that a model is registered as under its dataset's name."""
    experiment = load_contract(product.path).experiment
    with _reachable(home, "looking up a model") as speaker:
        versions = speaker.search_model_versions(f"name = '{name}'")
    wanted = (product.fingerprint, experiment)
    same = [v for v in versions if (v.tags.get(FINGERPRINT), v.tags.get(EXPERIMENT)) == wanted]
    return _version(same[0], home) if same else None


def _version(found: Any, home: Path) -> ModelVersion:
    url = f"{_interface()}/#/models/{found.name}/versions/{found.version}"
    return ModelVersion(
        found.name, str(found.version), found.run_id, url, run_url(found.run_id, home), dict(found.tags or {})
    )


def register(
    product: Product, manifest: DatasetManifest, home: Path, *, tags: Mapping[str, str] | None = None
) -> ModelVersion:
    """The registered version of a model, alias `challenger`; made if there is none, with its run if that is missing.

    The model is a script, its weights and its contract, without pickles: raw pixels in, probabilities out.

    Raises:
        TrackingError: MLflow does not answer.
    """
    name = manifest.dataset.name
    known = find_version(name, product, home)
    if known is not None:
        return known
    run_id = find_run(product, home) or _run_afterwards(product, manifest, home, tags)
    with _reachable(home, "registering a model") as speaker:
        version = _log_model(product, name, run_id, home)
        for tag, value in {
            FINGERPRINT: product.fingerprint,
            EXPERIMENT: load_contract(product.path).experiment,
            "landcover.data_digest": manifest.digest,
        }.items():
            speaker.set_model_version_tag(name, version, tag, value)
        speaker.set_registered_model_alias(name, CHALLENGER, version)
        return _version(speaker.get_model_version(name, version), home)


def _run_afterwards(product: Product, manifest: DatasetManifest, home: Path, tags: Mapping[str, str] | None) -> str:
    """A run told from the product's own history: of a training whose MLflow never answered, or was lost since."""
    experiment = load_contract(product.path).experiment
    with tempfile.TemporaryDirectory() as scratch:
        start = Start.of(manifest, experiment, product.recipe, Path(scratch) / "journal.jsonl")
        with Tracker(start, home, tags) as told:
            for row in product.json("history.json"):
                told.epoch(row["epoch"], _numbers(row))
            taken = told.finish(product.path, {})
    if not taken or told.run_id is None:
        raise TrackingError(
            Problem(f"MLflow at {address(home)}", "no answer", "a run", "start it, and materialise again")
        )
    return told.run_id


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    each = {f"iou/{name}": value for name, value in row["iou"].items()}
    flat = {**{k: v for k, v in row.items() if k not in ("iou", "epoch")}, **each}
    return {name: float(value) for name, value in flat.items() if value is not None}


def _log_model(product: Product, name: str, run_id: str, home: Path) -> str:
    with _known_warnings():
        import mlflow
        import mlflow.pyfunc

    library = Path(__file__).parent
    mlflow.set_tracking_uri(address(home))
    mlflow.set_registry_uri(address(home))
    with tempfile.TemporaryDirectory() as scratch, mlflow.start_run(run_id=run_id), _known_warnings():
        folder = Path(scratch) / "trained"
        folder.mkdir()
        for file in (WEIGHTS, CONTRACT):
            shutil.copy(product.file(file), folder)
        told = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(library / "model" / "serve.py"),
            artifacts={"trained": str(folder)},
            code_paths=[str(_code(Path(scratch), library))],
            signature=_signature(product),
            pip_requirements=[f"{part}=={importlib.metadata.version(part)}" for part in REQUIREMENTS],
            registered_model_name=name,
        )
    return str(told.registered_model_version)


def _code(scratch: Path, library: Path) -> Path:
    """A copy of the library, without what Python compiled of it."""
    copy = scratch / library.name
    shutil.copytree(library, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _signature(product: Product) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    contract = load_contract(product.path)
    pixels = TensorSpec(np.dtype(contract.dtype), (-1, len(contract.bands), -1, -1))
    shares = TensorSpec(np.dtype("float32"), (-1, len(contract.legend.classes), -1, -1))
    return ModelSignature(inputs=Schema([pixels]), outputs=Schema([shares]))


def champion(name: str, home: Path) -> ModelVersion | None:
    """The version that bears the alias `champion`; None where none does."""
    with _reachable(home, "looking up the champion") as speaker:
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
    with _reachable(home, "promoting a model") as speaker:
        for tag, value in tags.items():
            speaker.set_model_version_tag(name, version.version, tag, value)
        speaker.set_registered_model_alias(name, CHAMPION, version.version)
        return _version(speaker.get_model_version(name, version.version), home)


def log_report(run_id: str, product: Product, home: Path) -> None:
    """Adds a report's files (folder `report`) and its numbers (`test/...`) to a run, once.

    Raises:
        TrackingError: MLflow does not answer.
    """
    with _reachable(home, "logging a report") as speaker:
        if speaker.get_run(run_id).data.tags.get("landcover.report") == product.fingerprint:
            return
        speaker.log_artifacts(run_id, str(product.path), "report")
        numbers = {f"test/{name}": float(text) for name, text in _figures(product.json("summary.json")).items()}
        _log_metrics(speaker, run_id, {"metrics": numbers, "time": time.time_ns() // 1_000_000, "step": 0})
        speaker.set_tag(run_id, "landcover.report", product.fingerprint)


def _figures(summary: Any) -> dict[str, str]:
    flat = flattened(summary)
    return {name: text for name, text in flat.items() if re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text)}


def serve() -> None:
    """Hands MLflow the model of the script it is loading: `predict` gives probabilities (n, class, y, x) float32."""
    with _known_warnings():
        import mlflow.models
        from mlflow.pyfunc import PythonModel

    class LandCover(PythonModel):  # type: ignore[misc]
        """Raw pixels (n, band, y, x) in the contract's dtype to probabilities."""

        def load_context(self, context: Any) -> None:
            from landcover_orch import model

            self.model, self.contract = model.load(Path(context.artifacts["trained"]))

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
