"""Runs: parameters, data and metrics of a training, which never stops for MLflow: what cannot be said is journalled."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from landcover_orch.models.contract import load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.canonical import canonical
from landcover_orch.store.publish import Product, Recipe
from landcover_orch.tracking.server import artifacts, client, failures, interface, reachable

log = logging.getLogger(__name__)

FINGERPRINT = "landcover.fingerprint"
EXPERIMENT = "landcover.experiment"
PARENT = "mlflow.parentRunId"
"""The tag by which MLflow nests runs."""

PAUSE_S = 60.0
"""How long an unreachable MLflow is left alone; each attempt costs seconds of training."""

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ended, in MLflow's words."""

PARAMETER_CHARACTERS = 6000
PARAMETERS_A_CALL = 100
FIGURES = (
    "curves.png",
    "history.csv",
    "throughput.json",
    "contract.json",
    "repetitions.json",
    "lr_finder.png",
    "lr_finder.csv",
    "trials.csv",
    "best.yaml",
    "trials.png",
    "choices.png",
    "heatmap.png",
)


class Log(Protocol):
    """Who hears of a training's epochs and its end; `run_id` is that of MLflow's run, None while there is none."""

    run_id: str | None

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch, counted from 1, is over."""
        ...

    def finish(self, folder: Path, metrics: Mapping[str, float], status: Status = "FINISHED") -> bool:
        """The training is over; its files lie in `folder`. Gives whether all was heard."""
        ...


@dataclass(frozen=True)
class Start:
    """What a run is about, said when it begins; `parent` is the id of the run it belongs to, where it does."""

    dataset: str
    experiment: str
    fingerprint: str
    parameters: dict[str, str]
    configuration: dict[str, Any]
    data_digest: str
    journal: Path
    parent: str | None = None

    @classmethod
    def of(cls, manifest: DatasetManifest, experiment: str, recipe: Recipe, journal: Path) -> Start:
        """The start of the training that `recipe` describes."""
        dataset = manifest.dataset.model_dump(mode="json")
        told = {**recipe.configuration, "dataset": dataset, "classes": manifest.legend.names}
        return cls(
            dataset=manifest.dataset.name,
            experiment=experiment,
            fingerprint=recipe.fingerprint,
            parameters={"experiment": experiment, "manifest": manifest.digest, **flattened(told)},
            configuration={**told, "legend": manifest.legend.model_dump(mode="json"), "recipe": recipe.as_dict()},
            data_digest=manifest.digest,
            journal=journal,
        )


@contextmanager
def untracked(start: Start) -> Iterator[Log]:
    """A log that nobody reads."""
    yield _Silence()


class _Silence:
    run_id: str | None = None

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        pass

    def finish(self, folder: Path, metrics: Mapping[str, float], status: Status = "FINISHED") -> bool:
        return True


def flattened(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as 'a.b.c' -> text, cut to what MLflow takes; the whole goes in as an artifact.

    Settings in a list count from 0, 'loss.0.name'; a list of plain values is one text.
    """
    if isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        parts = [flattened(part, f"{prefix}.{name}" if prefix else str(name)) for name, part in value.items()]
        return {name: text for part in parts for name, text in part.items()}
    text = value if isinstance(value, str) else json.dumps(value)
    return {_allowed(prefix): text[:PARAMETER_CHARACTERS]}


def _allowed(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name)


class Tracker:
    """A log that MLflow keeps: goes on with the unfinished run of this fingerprint, or creates one.

    Failures are written to the start's journal and said later, at the latest by `finish`; none reaches the training.
    An epoch that the run has already is not said again, so whoever goes on may tell all epochs from the first.
    """

    def __init__(self, start: Start, home: Path, tags: Mapping[str, str] | None = None) -> None:
        self.start, self.home, self.tags = start, home, dict(tags or {})
        self.run_id: str | None = None
        self._pending = _read_lines(start.journal)
        self._told: dict[str, set[int]] = {}
        self._not_before = 0.0

    def __enter__(self) -> Tracker:
        self._flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.run_id is not None:
            with suppress(*failures()):
                client(self.home).set_terminated(self.run_id, "KILLED")

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Says the metrics of an epoch, counted from 1."""
        self._say({"step": epoch, "metrics": dict(metrics), "time": time.time_ns() // 1_000_000})

    def finish(self, folder: Path, metrics: Mapping[str, float], status: Status = "FINISHED") -> bool:
        """Says the last metrics and files and ends the run; whether all was taken."""
        self._not_before = 0.0
        self._say({"step": 0, "metrics": dict(metrics), "time": time.time_ns() // 1_000_000})
        if self._pending:
            return False
        return self._try(lambda: self._end(folder, status))

    def _end(self, folder: Path, status: Status) -> None:
        speaker = client(self.home)
        for name in FIGURES:
            if (folder / name).exists():
                speaker.log_artifact(self.run_id, str(folder / name))
        speaker.set_terminated(self.run_id, status)

    def _say(self, entry: dict[str, Any]) -> None:
        if entry["step"] not in (waiting["step"] for waiting in self._pending):
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
            steps = self._steps(self._pending[0]["metrics"])
            if self._pending[0]["step"] not in steps:
                log_metrics(client(self.home), self.run_id, self._pending[0])
            steps.add(self._pending[0]["step"])
            del self._pending[0]

    def _steps(self, metrics: Mapping[str, float]) -> set[int]:
        """Epochs that the run has, as the first of these metrics tells."""
        name = _allowed(min(metrics, default=""))
        if name and name not in self._told:
            self._told[name] = {point.step for point in client(self.home).get_metric_history(self.run_id, name)}
        return self._told.get(name, set())

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except failures() as error:
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


def log_metrics(speaker: Any, run_id: str, entry: dict[str, Any]) -> None:
    from mlflow.entities import Metric

    values = [Metric(_allowed(k), v, entry["time"], entry["step"]) for k, v in entry["metrics"].items()]
    speaker.log_batch(run_id, metrics=values)


def _begin(speaker: Any, start: Start, home: Path, tags: dict[str, str]) -> str:
    experiment = experiment_of(speaker, start.dataset, home)
    same = [run for run in runs_of(speaker, experiment, start) if run.info.status != "FINISHED"]
    if same:
        run_id = str(same[0].info.run_id)
        speaker.update_run(run_id, status="RUNNING")
        for name, value in tags.items():
            speaker.set_tag(run_id, name, value)
        return run_id
    above = {PARENT: start.parent} if start.parent else {}
    marks = {FINGERPRINT: start.fingerprint, EXPERIMENT: start.experiment, **above, **tags}
    run_id = str(speaker.create_run(experiment, tags=marks, run_name=_run_name(start)).info.run_id)
    _describe(speaker, run_id, start, home)
    return run_id


def _run_name(start: Start) -> str:
    """The experiment and what it chose: 'quick: unet, cross_entropy, adam, one_cycle'."""
    parts = [start.parameters.get(f"{part}.name") for part in ("model", "loss.0", "optimiser", "schedule")]
    chosen = ", ".join(part for part in parts if part)
    return f"{start.experiment}: {chosen}" if chosen else start.experiment


def experiment_of(speaker: Any, name: str, home: Path) -> str:
    """Id of the MLflow experiment of that name, made if there is none."""
    found = speaker.get_experiment_by_name(name)
    if found is None:
        kind = {"mlflow.experimentKind": "custom_model_development"}  # its page opens with runs, not with traces
        return str(speaker.create_experiment(name, artifact_location=artifacts(home), tags=kind))
    return str(found.experiment_id)


def runs_of(speaker: Any, experiment: str, start: Start) -> list[Any]:
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
    with reachable(home, "looking up a run") as speaker:
        experiment = speaker.get_run(run_id).info.experiment_id
    return f"{interface()}/#/experiments/{experiment}/runs/{run_id}"


def find_run(product: Product, home: Path) -> str | None:
    """The finished run that a model came from."""
    contract = load_contract(product.path)
    return finished_run(contract.dataset, contract.experiment, product.fingerprint, home)


def finished_run(dataset: str, experiment: str, fingerprint: str, home: Path) -> str | None:
    """The finished run of an experiment that gave the product of a fingerprint."""
    with reachable(home, "looking up a run") as speaker:
        found = speaker.get_experiment_by_name(dataset)
        if found is None:
            return None
        start = Start(dataset, experiment, fingerprint, {}, {}, "", Path())
        runs = runs_of(speaker, found.experiment_id, start)
    return next((str(run.info.run_id) for run in runs if run.info.status == "FINISHED"), None)
