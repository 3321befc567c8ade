"""A search at work: trials are trained one after another in this process, and no model is kept.

Killed anywhere, the next run draws the same trials and goes on with the epoch it was at.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from landcover_orch.config.experiments import Experiment, Metric
from landcover_orch.config.experiments.search import Choices, Search, variant
from landcover_orch.errors import ConfigError, LandcoverError, Problem, RecipeError
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.store import publish
from landcover_orch.store.canonical import digest
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import Log, Start, untracked
from landcover_orch.tracking.runs import Status
from landcover_orch.training import VERSION, checkpoint, product
from landcover_orch.training.fit import EpochCallback
from landcover_orch.training.history import Row
from landcover_orch.training.product import Progress, Tracker
from landcover_orch.training.search import page as search_page
from landcover_orch.training.search.trials import (
    Asked,
    Repetition,
    State,
    Trial,
    best,
    draw,
    each_reached,
    mean,
    reached,
)

ASSET = "search"
TRIALS = "trials"
JOURNAL = "tracking.jsonl"
OVER = "over.json"
ENDINGS: dict[State, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Stopped(Exception):  # noqa: N818 - no error
    """A trial is behind the others."""


def recipe(manifest: DatasetManifest, search: Search, base: Experiment, home: Path) -> Recipe:
    """What a search is made of: the manifest's digest, the search, and the recipe that it varies.

    Raises:
        ConfigError, TrainingError: as for the recipe of a training.
    """
    inputs = product.recipe(manifest, base, home)["inputs"]
    configuration = {"search": search.model_dump(mode="json"), "recipe": base.model_dump(mode="json")}
    return {"room": ASSET, "version": VERSION, "inputs": inputs, "configuration": configuration}


def run(
    manifest_product: Product,
    search: Search,
    base: Experiment,
    home: Path,
    *,
    tracker: Tracker = untracked,
    progress: Progress = lambda line: None,
) -> Product:
    """The trials of a search and the best one's recipe: found where they exist, gone on with where interrupted.

    The product holds best.yaml (a recipe for configs/experiments), trials.csv, trials/<number>.json (every epoch),
    summary.json, index.html and figures. All of it follows from search, recipe and manifest, but for the seconds.

    Args:
        manifest_product: the dataset's published manifest.
        search: what is varied, and how.
        base: the recipe that is varied.
        home: folder everything is written below.
        tracker: gives the log of the search, and that of each trial, whose run is nested in the search's.
        progress: takes lines for people.

    Raises:
        CatalogueError: the dataset has no such folds.
        RecipeError: no trial could be trained to its end; each says why.
        TrainingError: as for any training: data, weights or a device are missing.
    """
    manifest = load_manifest(manifest_product.path)
    made_of = recipe(manifest, search, base, home)

    def build(stage: Stage) -> None:
        start = Start.of(manifest, search.name, made_of, stage.path / JOURNAL)
        with tracker(start) as log:
            study = Study(manifest_product, manifest, search, base, home, stage, start, log, tracker, progress)
            trials = study.trials()
            search_page.write(stage, manifest, search, base, trials)
            log.finish(stage.path, {})
            for trial in trials:  # of which MLflow could not hear before
                study.tell(trial)
        start.journal.unlink(missing_ok=True)

    return publish.publish(home / manifest.dataset.name / ASSET, search.name, made_of, build)


@dataclass(frozen=True)
class Study:
    """A search at work: a trial has a folder in the stage while it trains, and a file once it is over."""

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
            done.append(self._saved(number) or self._tried(number, done))
            shutil.rmtree(self._folder(number), ignore_errors=True)
            self._report(done)
        if not best(done, self.metric):
            raise RecipeError(*(_failure(trial, self.search) for trial in done))
        return done

    def _saved(self, number: int) -> Trial | None:
        name = f"{TRIALS}/{number}.json"
        return Trial.of(_read(self.stage.path / name)) if self.stage.done(name) else None

    def _tried(self, number: int, before: Sequence[Trial]) -> Trial:
        asked = draw(self.search, self.metric, before)
        self.progress(f"trial {number} of {self.search.number}: {search_page.words(asked.choices)}")
        trial = self._trained(asked)
        _save(self.stage, f"{TRIALS}/{number}.json", asdict(trial))
        return trial

    def _trained(self, asked: Asked) -> Trial:
        found: list[Repetition] = []

        def ended(state: State, value: float | None, reason: str | None) -> Trial:
            return Trial(asked.number, asked.choices, state, value, reason, found)

        try:
            self._repeat(asked, found)
        except Stopped:
            return ended("pruned", None, "behind the median of earlier trials")
        except ConfigError as error:
            return ended("pruned", None, _reason(error))
        except RecipeError as error:
            return ended("failed", None, _reason(error))
        value = mean(each_reached(found, self.metric))
        return (
            ended("failed", None, f"{self.metric} is not defined") if value is None else ended("complete", value, None)
        )

    def _repeat(self, asked: Asked, found: list[Repetition]) -> None:
        """Trains a trial's repetitions into `found`; MLflow and Optuna hear of the first one's epochs."""
        experiment = self._experiment(asked.number, asked.choices)
        with self._tracker(self._start(asked.number, experiment)) as log:

            def first(row: Row, seconds: float) -> None:
                log.epoch(row.epoch, {**row.numbers(), "seconds": seconds})
                if asked.behind(found[0].rows) and row.epoch < experiment.epochs:
                    raise Stopped

            for one in folds.repetitions(self.manifest, experiment):
                found.append(Repetition(one.name))
                self._learn(one, self._folder(asked.number), found[-1], first if len(found) == 1 else _nobody)

    def _learn(self, one: Experiment, folder: Path, found: Repetition, told: EpochCallback) -> None:
        """Trains a repetition into `found`; one that is over is read."""
        (folder / one.name).mkdir(parents=True, exist_ok=True)
        stage = Stage(folder / one.name)
        if stage.done(OVER):
            over = Repetition.of(_read(stage.path / OVER))
            found.rows, found.seconds = over.rows, over.seconds
            return

        def heard(row: Row, seconds: float, again: bool) -> None:
            found.add(row, seconds)
            if not again:
                kept = _shown(found, self.metric)
                self.progress(f"{one.name}, epoch {row.epoch} of {one.epochs}: {self.metric} {kept}")
            told(row, seconds)

        ground = load_manifest(product.ground(self.manifest_product, one, self.home).path)
        product.learn(stage, ground, one, self.home, heard, self.progress)
        _save(stage, OVER, asdict(found))
        (stage.path / checkpoint.FILE).unlink(missing_ok=True)

    def _experiment(self, number: int, choices: Choices) -> Experiment:
        """The recipe of a trial, which is called <search>.trial-<number>."""
        found = variant(self.search, self.base, choices)
        own = self.search.repetitions == "own"
        repeated = found.protocol if own else self.search.repetitions
        return found.model_copy(update={"name": f"{self.search.name}.trial-{number}", "protocol": repeated})

    def _folder(self, number: int) -> Path:
        return self.stage.path / f"trial-{number}"

    @property
    def _tracker(self) -> Tracker:
        """Of trials: nobody, as long as the search has no run they could belong to."""
        return self.tracker if self.log.run_id else untracked

    def _start(self, number: int, experiment: Experiment) -> Start:
        made_of = product.recipe(self.manifest, experiment, self.home)
        start = Start.of(self.manifest, experiment.name, made_of, self.stage.path / f"trial-{number}.jsonl")
        return replace(start, fingerprint=digest([self.start.fingerprint, number]), parent=self.log.run_id)

    def _report(self, done: Sequence[Trial]) -> None:
        trial, standing = done[-1], best(done, self.metric)
        found = f"{self.metric} {trial.value:.4f}" if trial.value is not None else f"{trial.state}: {trial.reason}"
        better = f"; best: trial {standing.number}, {standing.value:.4f}" if standing else ""
        self.progress(f"trial {trial.number}: {found}{better}")
        values = {"value": trial.value, "best": standing.value if standing else None}
        self.log.epoch(trial.number, _known(values))
        self.tell(trial)

    def tell(self, trial: Trial) -> None:
        """Ends a trial's run in MLflow with what it reached, once; does nothing while the search has no run."""
        part = f"trial {trial.number} told"
        if self.log.run_id is None or not trial.repetitions or self.stage.done(part):
            return
        start = self._start(trial.number, self._experiment(trial.number, trial.choices))
        with self.tracker(start) as log:
            for row, seconds in trial.repetitions[0].epochs:
                log.epoch(row.epoch, {**row.numbers(), "seconds": seconds})
            values = {"value": trial.value, "sd": trial.spread(self.metric), "seconds/all": trial.seconds}
            if log.finish(self._folder(trial.number), _known(values), ENDINGS[trial.state]):
                self.stage.mark(part)
        start.journal.unlink(missing_ok=True)


def _nobody(row: Row, seconds: float) -> None:
    """Hears of epochs and does nothing."""


def _save(stage: Stage, name: str, value: object) -> None:
    stage.write_json(name, value)
    stage.mark(name, stage.path / name)


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _shown(found: Repetition, metric: Metric) -> str:
    value = reached(found.rows, metric)
    return "not defined" if value is None else f"{value:.4f} kept, {found.seconds[-1]:.1f} s"


def _reason(error: LandcoverError) -> str:
    return "; ".join(problem.found for problem in error.problems)


def _failure(trial: Trial, search: Search) -> Problem:
    where = f"configs/searches/{search.name}.yaml: trial {trial.number} ({search_page.words(trial.choices)})"
    return Problem(where, trial.reason or trial.state, "a training that ends", "take other values into `space`")
