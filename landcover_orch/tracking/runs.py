"""MLflow runs: parameters, data and metrics of a training, which never stops for MLflow: a journal keeps what waits."""

from __future__ import annotations

import getpass
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from landcover_orch.models.contract import load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.canonical import canonical
from landcover_orch.store.products import DATASET_MANIFEST, REPETITIONS_JSON, THROUGHPUT
from landcover_orch.store.publish import Product, Recipe
from landcover_orch.tracking import notes
from landcover_orch.tracking.server import artifacts, client, failures, reachable, run_page

log = logging.getLogger(__name__)

DATASET = "landcover.dataset"
EXPERIMENT = "landcover.experiment"
FINGERPRINT = "landcover.fingerprint"
DATA_DIGEST = "landcover.data_digest"
MODEL_FAMILY = "landcover.model"
COMMIT, USER = "mlflow.source.git.commit", "mlflow.user"
TAGS = (
    DATASET,
    EXPERIMENT,
    FINGERPRINT,
    DATA_DIGEST,
    MODEL_FAMILY,
    COMMIT,
    USER,
    "dagster.run_id",
    "dagster.asset_key",
)
"""Tags of a training's run, and of the version that comes of it."""

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow nests runs."""

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's or an experiment's description."""

PAUSE_S = 60.0
"""How long an unreachable MLflow is left alone; each attempt costs seconds of training."""

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ended, in MLflow's words."""

PARAMETER_CHARACTERS = 6000
PARAMETERS_A_CALL = 100
FIGURES = (
    "curves.png",
    "history.csv",
    THROUGHPUT,
    "contract.json",
    REPETITIONS_JSON,
    "lr_finder.png",
    "lr_finder.csv",
    "trials.csv",
    "best.yaml",
    "trials.png",
    "choices.png",
    "heatmap.png",
)


class Log(Protocol):
    """Training logger: takes epochs and the end; `run_id` is that of MLflow's run, None while there is none."""

    run_id: str | None

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch, counted from 1, is over."""
        ...

    def finish(self, folder: Path, metrics: Mapping[str, float], status: Status = "FINISHED") -> bool:
        """The training is over; its files lie in `folder`. Gives whether all was logged."""
        ...


@dataclass(frozen=True)
class Start:
    """Start of a run: its parameters, data, configuration and description.

    `parent` is the id of the run it belongs to, if any; `afterwards`: the training is over, so that its user and commit
    are not those of this process.
    """

    dataset: str
    experiment: str
    fingerprint: str
    parameters: dict[str, str]
    configuration: dict[str, Any]
    data_digest: str
    journal: Path
    parent: str | None = None
    note: str = ""
    afterwards: bool = False

    @classmethod
    def of(cls, manifest: DatasetManifest, experiment: str, recipe: Recipe, journal: Path) -> Start:
        """The start of the training that `recipe` describes."""
        dataset = manifest.dataset.model_dump(mode="json")
        settings = {**recipe.configuration, "dataset": dataset, "classes": manifest.legend.names}
        data = {**dataset, "digest": manifest.digest, "classes": manifest.legend.names}
        return cls(
            dataset=manifest.dataset.name,
            experiment=experiment,
            fingerprint=recipe.fingerprint,
            parameters=flattened({"recipe": {**recipe.configuration, "name": experiment}, "dataset": data}),
            configuration={**settings, "legend": manifest.legend.model_dump(mode="json"), "recipe": recipe.as_dict()},
            data_digest=manifest.digest,
            journal=journal,
            note=notes.training_note(experiment, manifest),
        )

    @property
    def tags(self) -> dict[str, str]:
        """What the run is a training of."""
        family = self.parameters.get("recipe.model.name")
        return {
            DATASET: self.dataset,
            EXPERIMENT: self.experiment,
            FINGERPRINT: self.fingerprint,
            DATA_DIGEST: self.data_digest,
            **({MODEL_FAMILY: family} if family else {}),
            **({PARENT: self.parent} if self.parent else {}),
        }


@dataclass(frozen=True)
class MetricEntry:
    """Line of the journal: metrics of a step (epoch), with the time in milliseconds since 1970."""

    step: int
    metrics: dict[str, float]
    time: int

    @classmethod
    def now(cls, step: int, metrics: Mapping[str, float]) -> MetricEntry:
        """The metrics of a step that ends now."""
        return cls(step, dict(metrics), time.time_ns() // 1_000_000)

    def log(self, client: Any, run_id: str) -> None:
        """Logs the metrics to a run in one batch."""
        from mlflow.entities import Metric

        values = [Metric(_parameter_name(name), v, self.time, self.step) for name, v in self.metrics.items()]
        client.log_batch(run_id, metrics=values)


@contextmanager
def untracked(start: Start) -> Iterator[Log]:
    """Null logger."""
    yield NullLog()


class NullLog:
    """Null logger: takes everything, keeps nothing."""

    run_id: str | None = None

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def finish(self, folder: Path, metrics: Mapping[str, float], status: Status = "FINISHED") -> bool:
        """Nothing; True."""
        return True


def flattened(value: Any, prefix: str = "") -> dict[str, str]:
    """Flattens nested settings to 'a.b.c' -> text, cut to what MLflow takes; all of it goes in as an artifact.

    Settings in a list count from 0, 'loss.0.name'; a list of plain values is one text.
    """
    if isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        parts = [flattened(part, f"{prefix}.{name}" if prefix else str(name)) for name, part in value.items()]
        return {name: text for part in parts for name, text in part.items()}
    text = value if isinstance(value, str) else json.dumps(value)
    return {_parameter_name(prefix): text[:PARAMETER_CHARACTERS]}


def _parameter_name(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name)


class Tracker:
    """MLflow logger: resumes the unfinished run of this fingerprint, or creates one.

    Entries that fail are written to the start's journal and logged later, at the latest by `finish`; no failure reaches
    the training. An epoch that the run has already is not logged again, so a resumed training may log all of them.
    """

    def __init__(self, start: Start, home: Path, tags: Mapping[str, str] | None = None) -> None:
        self.start, self.home, self.tags = start, home, dict(tags or {})
        self.run_id: str | None = None
        lines = start.journal.read_text(encoding="utf-8").split("\n")[:-1] if start.journal.exists() else []
        self._pending = [MetricEntry(**json.loads(line)) for line in lines]
        self._logged_steps: dict[str, set[int]] = {}
        self._not_before = 0.0

    def __enter__(self) -> Tracker:
        self._flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.run_id is not None:
            with suppress(*failures()):
                client(self.home).set_terminated(self.run_id, "KILLED")

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Logs the metrics of an epoch, counted from 1."""
        self._append(MetricEntry.now(epoch, metrics))

    def finish(self, folder: Path, metrics: Mapping[str, float], status: Status = "FINISHED") -> bool:
        """Logs the last metrics and files and ends the run; whether all was taken."""
        self._not_before = 0.0
        self._append(MetricEntry.now(0, metrics))
        if self._pending:
            return False

        def end() -> None:
            mlflow_client = client(self.home)
            for name in FIGURES:
                if (folder / name).exists():
                    mlflow_client.log_artifact(self.run_id, str(folder / name))
            mlflow_client.set_terminated(self.run_id, status)

        return self._try(end)

    def _append(self, entry: MetricEntry) -> None:
        if entry.step not in (waiting.step for waiting in self._pending):
            self._pending.append(entry)
        _write_journal(self.start.journal, self._pending)
        self._flush()

    def _flush(self) -> None:
        if time.monotonic() >= self._not_before and self._try(self.send):
            _write_journal(self.start.journal, self._pending)

    def send(self) -> None:
        """Sends all pending entries; begins or resumes the run first.

        Raises:
            one of `failures()`: MLflow does not answer; what was not sent stays pending.
        """
        if self.run_id is None:
            self.run_id = begin(client(self.home), self.start, self.home, self.tags)
        while self._pending:
            entry = self._pending[0]
            steps = self.steps(entry.metrics)
            if entry.step not in steps:
                entry.log(client(self.home), self.run_id)
            steps.add(entry.step)
            del self._pending[0]

    def steps(self, metrics: Mapping[str, float]) -> set[int]:
        """Epochs that the run has, by the history of the first of these metrics."""
        name = _parameter_name(min(metrics, default=""))
        if name and name not in self._logged_steps:
            self._logged_steps[name] = {point.step for point in client(self.home).get_metric_history(self.run_id, name)}
        return self._logged_steps.get(name, set())

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except failures() as error:
            self._not_before = time.monotonic() + PAUSE_S
            log.warning("MLflow does not answer; metrics wait in a journal (%s)", " ".join(str(error).split())[:200])
            return False
        return True


def _write_journal(path: Path, entries: list[MetricEntry]) -> None:
    if not entries and not path.exists():
        return
    partial = path.with_name(path.name + ".new")
    partial.write_text("".join(canonical(asdict(entry)) + "\n" for entry in entries), encoding="utf-8")
    partial.replace(path)


def begin(mlflow_client: Any, start: Start, home: Path, tags: dict[str, str]) -> str:
    """Resumes the unfinished run of a start's fingerprint, or creates it; gives its id."""
    experiment = experiment_of(mlflow_client, start.dataset, home)
    same = [run for run in runs_of(mlflow_client, experiment, start) if run.info.status != "FINISHED"]
    if same:
        run_id = str(same[0].info.run_id)
        mlflow_client.update_run(run_id, status="RUNNING")
        for name, value in tags.items():
            mlflow_client.set_tag(run_id, name, value)
        return run_id
    origin = {} if start.afterwards else provenance()
    described = {NOTE: "\n\n".join(text for text in (start.note, notes.trained_by(tags)) if text)}
    marks = {**start.tags, **origin, **described, **tags}
    run_id = str(mlflow_client.create_run(experiment, tags=marks, run_name=run_name(start)).info.run_id)
    log_inputs(mlflow_client, run_id, start)
    return run_id


def run_name(start: Start) -> str:
    """Name of a run: experiment, main choices, fingerprint: 'quick: unet, cross_entropy, adam, one_cycle (1a2b3c4d)'.

    The fingerprint tells trainings of one experiment apart: on other data, or after a change of the recipe.
    """
    choices = ("model", "loss.0", "optimiser", "schedule")
    parts = [start.parameters.get(f"recipe.{part}.name") for part in choices]
    chosen = ", ".join(part for part in parts if part)
    return f"{start.experiment}{f': {chosen}' if chosen else ''} ({start.fingerprint[:8]})"


def provenance() -> dict[str, str]:
    """User and git commit of this process, where they are known, and the program."""
    from mlflow.utils.git_utils import get_git_commit

    commit = get_git_commit(str(Path(__file__).parent))
    tags = {
        "mlflow.source.name": "landcover_orch",
        "mlflow.source.type": "LOCAL",
        **({COMMIT: commit} if commit else {}),
    }
    with suppress(KeyError, OSError):  # a user id without a name
        tags[USER] = getpass.getuser()
    return tags


def experiment_of(mlflow_client: Any, name: str, home: Path) -> str:
    """Id of the MLflow experiment of that name, made if there is none."""
    experiment = mlflow_client.get_experiment_by_name(name)
    if experiment is None:
        kind = {"mlflow.experimentKind": "custom_model_development", DATASET: name}  # its page opens with runs
        return str(mlflow_client.create_experiment(name, artifact_location=artifacts(home, name), tags=kind))
    if experiment.lifecycle_stage == "deleted":  # in MLflow's pages; nothing can be logged to it
        mlflow_client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def runs_of(mlflow_client: Any, experiment: str, start: Start) -> list[Any]:
    """The runs of a start's fingerprint and experiment."""
    query = f"tags.`{FINGERPRINT}` = '{start.fingerprint}' and tags.`{EXPERIMENT}` = '{start.experiment}'"
    return list(mlflow_client.search_runs([experiment], filter_string=query))


def log_inputs(mlflow_client: Any, run_id: str, start: Start) -> None:
    """Logs the parameters, the dataset and the configuration of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    parameters = [Param(name, value) for name, value in start.parameters.items()]
    for first in range(0, len(parameters), PARAMETERS_A_CALL):
        mlflow_client.log_batch(run_id, params=parameters[first : first + PARAMETERS_A_CALL])
    source = json.dumps({"uri": f"{start.dataset}/{DATASET_MANIFEST}"})  # below LANDCOVER_HOME, which may move
    data = Dataset(start.dataset, start.data_digest, source_type="local", source=source)
    tags = [InputTag("mlflow.data.context", "training")]
    mlflow_client.log_inputs(run_id, [DatasetInput(data, tags)])
    mlflow_client.log_dict(run_id, start.configuration, "configuration.json")


def run_url(run_id: str, home: Path) -> str:
    """Address of a run in MLflow's pages."""
    with reachable(home, "looking up a run") as mlflow_client:
        experiment = mlflow_client.get_run(run_id).info.experiment_id
    return run_page(experiment, run_id)


def find_run(product: Product, home: Path) -> str | None:
    """The finished run that a model came from."""
    contract = load_contract(product.path)
    return finished_run(contract.dataset, contract.experiment, product.fingerprint, home)


def finished_run(dataset: str, experiment: str, fingerprint: str, home: Path) -> str | None:
    """The finished run of an experiment that gave the product of a fingerprint."""
    with reachable(home, "looking up a run") as mlflow_client:
        mlflow_experiment = mlflow_client.get_experiment_by_name(dataset)
        if mlflow_experiment is None:
            return None
        start = Start(dataset, experiment, fingerprint, {}, {}, "", Path())
        runs = runs_of(mlflow_client, mlflow_experiment.experiment_id, start)
    return next((str(run.info.run_id) for run in runs if run.info.status == "FINISHED"), None)
