"""Hyperparameter search: trials are trained one after another in this process, and no model is stored.

Killed anywhere, the next run draws the same trials and resumes at the epoch it was at.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from landcover_orch import custom
from landcover_orch.config import file_label
from landcover_orch.config.experiments import Experiment, Metric
from landcover_orch.config.experiments.search import Choices, Search, variant
from landcover_orch.custom import Package
from landcover_orch.errors import ConfigError, LandcoverError, Problem, RecipeError
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.store import publish
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import SEARCH
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import Log, Start, untracked
from landcover_orch.tracking.metrics import TRAIN, VALIDATION, defined, epoch_metrics
from landcover_orch.tracking.runs import Status
from landcover_orch.training import VERSION, checkpoint, product
from landcover_orch.training.build import learn
from landcover_orch.training.history import Row
from landcover_orch.training.hooks import JOURNAL, Progress, Tracker
from landcover_orch.training.search import page as search_page
from landcover_orch.training.search.trials import (
    Repetition,
    State,
    SuggestedTrial,
    Trial,
    best,
    draw,
    each_reached,
    mean,
    reached,
)
from landcover_orch.training.task import EpochCallback

TRIALS = "trials"
OVER = "over.json"
ENDINGS: dict[State, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Stopped(Exception):  # noqa: N818 - no error
    """The pruner stops a trial."""


def packages(search: Search, base: Experiment) -> dict[str, Package]:
    """Packages of custom code of a search: those that its experiment, its changes and its choices name."""
    return custom.packages([product.trained_settings(base), search.model_dump(mode="json")])


def recipe(
    manifest: DatasetManifest,
    search: Search,
    base: Experiment,
    home: Path,
    code: Mapping[str, Package] | None = None,
) -> Recipe:
    """Build recipe of a search: the manifest's digest, the search, the experiment that it varies, and custom code.

    Raises:
        ConfigError, TrainingError, CodeError: as for the build recipe of a training.
    """
    inputs = product.recipe(manifest, base, home, code=packages(search, base) if code is None else code).inputs
    configuration = {"search": search.model_dump(mode="json"), "recipe": base.model_dump(mode="json")}
    return Recipe(asset=SEARCH, version=VERSION, inputs=inputs, configuration=configuration)


def run(
    manifest_product: Product,
    search: Search,
    base: Experiment,
    home: Path,
    *,
    tracker: Tracker = untracked,
    progress: Progress = lambda line: None,
) -> Product:
    """Runs a hyperparameter search: its trials and the best experiment, found where they exist, resumed if interrupted.

    The product holds best.yaml (for configs/experiments), trials.csv, trials/<number>.json (every epoch), summary.json,
    index.html and figures. All of it follows from search, experiment and manifest, but for the seconds.

    Args:
        manifest_product: the dataset's published manifest.
        search: what is varied, and how.
        base: the experiment that is varied.
        home: folder everything is written below.
        tracker: gives the log of the search, and that of each trial, whose run is nested in the search's.
        progress: takes lines of the log.

    Raises:
        CatalogueError: the dataset has no such folds.
        RecipeError: no trial could be trained to its end; each says why.
        TrainingError: as for any training: data, weights or a device are missing.
    """
    manifest = load_manifest(manifest_product.path)
    code = packages(search, base)
    build_recipe = recipe(manifest, search, base, home, code)

    def build(stage: Stage) -> None:
        for package in code.values():
            package.write(stage.path / custom.FOLDER)
        start = Start.of(manifest, search.name, build_recipe, stage.path / JOURNAL)
        with tracker(start) as log:
            study = Study(manifest_product, manifest, search, base, home, stage, start, log, tracker, progress)
            trials = study.trials()
            search_page.write(stage, manifest, search, base, trials)
            log.finish(stage.path, {})
            for trial in trials:  # those that MLflow did not take before
                study.finish_run(trial)
        start.journal.unlink(missing_ok=True)

    return publish.publish(home / manifest.dataset.name / SEARCH, search.name, build_recipe, build)


@dataclass(frozen=True)
class Study:
    """Study of a search: a trial has a folder in the stage while it trains, and a file once it is over."""

    manifest_product: Product
    manifest: DatasetManifest
    search: Search
    base: Experiment
    home: Path
    stage: Stage
    start: Start
    log: Log
    tracker: Tracker
    progress: Progress

    @property
    def metric(self) -> Metric:
        """What trials are compared by."""
        return self.search.metric(self.base)

    def trials(self) -> list[Trial]:
        """All trials in the order of their numbers; those of an earlier run are read."""
        (self.stage.path / TRIALS).mkdir(exist_ok=True)
        done: list[Trial] = []
        for number in range(1, self.search.number + 1):
            done.append(self.trial(number, done))
            shutil.rmtree(self._folder(number), ignore_errors=True)
            self.report(done)
        if not best(done, self.metric):
            where, fix = f"{file_label('searches', self.search.name)}: trial", "take other values into `space`"
            raise RecipeError(
                *(
                    Problem(
                        f"{where} {trial.number} ({search_page.words(trial.choices)})",
                        trial.reason or trial.state,
                        "a training that ends",
                        fix,
                    )
                    for trial in done
                )
            )
        return done

    def trial(self, number: int, done: Sequence[Trial]) -> Trial:
        """The trial of a number: read if it is over, else drawn after those that are `done`, trained, and written."""
        name = f"{TRIALS}/{number}.json"
        if self.stage.done(name):
            return Trial.of(_read(self.stage.path / name))
        suggested = draw(self.search, self.metric, done)
        self.progress(f"trial {number} of {self.search.number}: {search_page.words(suggested.choices)}")
        trial = self.train_trial(suggested)
        _save(self.stage, name, asdict(trial))
        return trial

    def train_trial(self, suggested: SuggestedTrial) -> Trial:
        """Trains a trial to its end: complete, pruned, or failed, with the reason."""
        repetitions: list[Repetition] = []

        def ended(state: State, value: float | None, reason: str | None) -> Trial:
            return Trial(suggested.number, suggested.choices, state, value, reason, repetitions)

        try:
            self.train_repetitions(suggested, repetitions)
        except Stopped:
            return ended("pruned", None, "behind the median of earlier trials")
        except ConfigError as error:
            return ended("pruned", None, _reason(error))
        except RecipeError as error:
            return ended("failed", None, _reason(error))
        value = mean(each_reached(repetitions, self.metric))
        return (
            ended("failed", None, f"{self.metric} is not defined") if value is None else ended("complete", value, None)
        )

    def train_repetitions(self, suggested: SuggestedTrial, repetitions: list[Repetition]) -> None:
        """Trains a trial's repetitions into `repetitions`; MLflow and Optuna get the first one's epochs."""
        experiment = self._experiment(suggested.number, suggested.choices)
        tracker = self.tracker if self.log.run_id else untracked  # a trial's run needs the search's
        with tracker(self._start(suggested.number, experiment)) as log:

            def on_first_epochs(row: Row, seconds: float) -> None:
                log.epoch(row.epoch, epoch_metrics(asdict(row), seconds))
                if suggested.should_stop(repetitions[0].rows) and row.epoch < experiment.epochs:
                    raise Stopped

            for repetition in folds.repetitions(self.manifest, experiment):
                repetitions.append(Repetition(repetition.name))
                on_epoch = on_first_epochs if len(repetitions) == 1 else None
                self.train_repetition(repetition, self._folder(suggested.number), repetitions[-1], on_epoch)

    def train_repetition(
        self, experiment: Experiment, folder: Path, repetition: Repetition, on_epoch: EpochCallback | None
    ) -> None:
        """Trains one repetition into `repetition`; one that is over is read."""
        (folder / experiment.name).mkdir(parents=True, exist_ok=True)
        stage = Stage(folder / experiment.name)
        if stage.done(OVER):
            done = Repetition.of(_read(stage.path / OVER))
            repetition.rows, repetition.seconds = done.rows, done.seconds
            return

        def on_any_epoch(row: Row, seconds: float, resumed: bool) -> None:
            repetition.add(row, seconds)
            if not resumed:
                value = reached(repetition.rows, self.metric)
                text = "not defined" if value is None else f"{value:.4f} kept, {seconds:.1f} s"
                self.progress(f"{experiment.name}, epoch {row.epoch} of {experiment.epochs}: {self.metric} {text}")
            if on_epoch is not None:
                on_epoch(row, seconds)

        training_manifest = load_manifest(folds.training_manifest(self.manifest_product, experiment, self.home).path)
        code = self.stage.path / custom.FOLDER
        learn(stage, training_manifest, experiment, self.home, on_any_epoch, self.progress, code=code)
        _save(stage, OVER, asdict(repetition))
        (stage.path / checkpoint.FILE).unlink(missing_ok=True)

    def _experiment(self, number: int, choices: Choices) -> Experiment:
        """The experiment of a trial, named <search>.trial-<number>."""
        experiment = variant(self.search, self.base, choices)
        as_is = self.search.repetitions == "own"
        repeated = experiment.protocol if as_is else self.search.repetitions
        return experiment.model_copy(update={"name": f"{self.search.name}.trial-{number}", "protocol": repeated})

    def _folder(self, number: int) -> Path:
        return self.stage.path / f"trial-{number}"

    def _start(self, number: int, experiment: Experiment) -> Start:
        build_recipe = product.recipe(self.manifest, experiment, self.home)
        start = Start.of(self.manifest, experiment.name, build_recipe, self.stage.path / f"trial-{number}.jsonl")
        return replace(start, fingerprint=digest([self.start.fingerprint, number]), parent=self.log.run_id)

    def report(self, done: Sequence[Trial]) -> None:
        """Reports the last trial that is done, and the best so far, to the log and to MLflow."""
        trial, champion = done[-1], best(done, self.metric)
        value = f"{self.metric} {trial.value:.4f}" if trial.value is not None else f"{trial.state}: {trial.reason}"
        better = f"; best: trial {champion.number}, {champion.value:.4f}" if champion else ""
        self.progress(f"trial {trial.number}: {value}{better}")
        values = {"value": trial.value, "best": champion.value if champion else None}
        self.log.epoch(trial.number, _validation(values))
        self.finish_run(trial)

    def finish_run(self, trial: Trial) -> None:
        """Ends a trial's run in MLflow with what it reached, once; does nothing while the search has no run."""
        part = f"trial {trial.number} logged"
        if self.log.run_id is None or not trial.repetitions or self.stage.done(part):
            return
        start = self._start(trial.number, self._experiment(trial.number, trial.choices))
        with self.tracker(start) as log:
            for row, seconds in trial.repetitions[0].epochs:
                log.epoch(row.epoch, epoch_metrics(asdict(row), seconds))
            values = {"value": trial.value, "sd": trial.spread(self.metric)}
            last = {**_validation(values), f"{TRAIN}/seconds/all": trial.seconds}
            if log.finish(self._folder(trial.number), last, ENDINGS[trial.state]):
                self.stage.mark(part)
        start.journal.unlink(missing_ok=True)


def _save(stage: Stage, name: str, value: object) -> None:
    stage.write_json(name, value)
    stage.mark(name, stage.path / name)


def _validation(values: dict[str, float | None]) -> dict[str, float]:
    return defined({f"{VALIDATION}/{name}": value for name, value in values.items()})


def _read(path: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return plain


def _reason(error: LandcoverError) -> str:
    return "; ".join(problem.found for problem in error.problems)
