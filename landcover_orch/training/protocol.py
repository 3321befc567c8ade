"""Repetitions of an experiment (seeds, cross-validation folds): a model each, and their mean and spread."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from landcover_orch.config import Dataset, experiments_of, load_experiment
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import LandcoverError
from landcover_orch.metrics.metric import Value
from landcover_orch.metrics.spread import spreads
from landcover_orch.models.contract import CONTRACT, load_contract
from landcover_orch.pages.chart import as_png, canvas
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.store import products, publish
from landcover_orch.store.products import HISTORY, MODEL, REPETITIONS_JSON, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import Start, untracked
from landcover_orch.tracking.metrics import repetition_metrics
from landcover_orch.training import history, product
from landcover_orch.training.history import Row
from landcover_orch.training.hooks import JOURNAL, Progress, Tracker

CURVES = "curves.png"
LEGEND_ENTRIES = 20
"""Most entries of the figure's legend."""


@dataclass(frozen=True)
class TrainedRepetition:
    """A repetition and its model."""

    experiment: Experiment
    product: Product

    @property
    def name(self) -> str:
        """Name of its product."""
        return self.experiment.name

    @property
    def best_row(self) -> Row:
        """The epoch whose weights were kept, measured on the repetition's own validation split."""
        return self.rows[int(self.product.json(SUMMARY)["best_epoch"]) - 1]

    @property
    def rows(self) -> list[Row]:
        """All its epochs."""
        return [Row(**row) for row in self.product.json(HISTORY)]

    def metrics(self) -> dict[str, Value]:
        """Validation metrics of the kept weights; None where undefined."""
        row = self.best_row
        iou = {f"iou {name}": value for name, value in row.iou.items()}
        return {"validation_loss": row.validation_loss, **row.metrics, **iou}

    def entry(self, home: Path) -> RepetitionEntry:
        """Its line of repetitions.json."""
        return RepetitionEntry(
            name=self.name,
            seed=self.experiment.seed,
            fold=self.experiment.protocol.fold,
            fingerprint=self.product.fingerprint,
            path=self.product.path.resolve().relative_to(home.resolve()).as_posix(),
            metrics=self.metrics(),
        )


@dataclass(frozen=True)
class RepetitionEntry:
    """A line of repetitions.json: a repetition's model, `path` below LANDCOVER_HOME, and its validation metrics."""

    name: str
    seed: int
    fold: int | None
    fingerprint: str
    path: str
    metrics: dict[str, Value]


def repetition_entries(summary: Product) -> list[RepetitionEntry]:
    """The lines of a summary's repetitions.json."""
    return [RepetitionEntry(**entry) for entry in summary.json(REPETITIONS_JSON)]


def recipe(manifest: DatasetManifest, experiment: Experiment, home: Path) -> Recipe:
    """Build recipe of the repetitions' summary: their fingerprints, which are known before any is trained.

    Raises:
        CatalogueError: the dataset has no such folds.
    """
    single = product.recipe(manifest, experiment, home)
    repetitions = folds.repetitions(manifest, experiment)
    inputs = {
        f"repetition {repetition.name}": product.fingerprint_of(manifest, repetition, home)
        for repetition in repetitions
    }
    configuration = {**single.configuration, "protocol": experiment.protocol.model_dump(mode="json")}
    return replace(single, inputs={"manifest": manifest.digest, **inputs}, configuration=configuration)


def train(
    manifest_product: Product,
    experiment: Experiment,
    home: Path,
    *,
    tracker: Tracker = untracked,
    progress: Progress = lambda line: None,
) -> Product:
    """Trains an experiment: its model if it does not repeat, else all repetitions and the summary of their models.

    Each repetition is found where it exists and resumed where it was interrupted. The summary holds
    repetitions.json (a model each, with the validation metrics of the weights that were kept), summary.json (mean,
    standard deviation and number of each metric, and the chosen repetition's summary) and curves.png; no weights.

    Args:
        manifest_product: the dataset's published manifest.
        experiment: what is trained, how, and how often.
        home: folder everything is written below.
        tracker: gives the log of each training, and of their summary; see `landcover_orch.tracking`.
        progress: takes lines of the log.

    Raises:
        CatalogueError: the dataset has no such folds, or one of them lacks labels in a split.
        TrainingError: as `training.product.train`.
    """
    if not experiment.protocol.repeats:
        return product.train(manifest_product, experiment, home, tracker=tracker, progress=progress)
    manifest = load_manifest(manifest_product.path)
    build_recipe, repetitions = recipe(manifest, experiment, home), folds.repetitions(manifest, experiment)
    build_folds(manifest_product, repetitions, home)
    done: list[TrainedRepetition] = []

    def train_all(parent: str | None) -> None:
        for number, repetition in enumerate(repetitions, 1):
            progress(f"{repetition.name}: repetition {number} of {len(repetitions)}")
            model = product.train(manifest_product, repetition, home, tracker=tracker, progress=progress, parent=parent)
            done.append(TrainedRepetition(repetition, model))

    def build(stage: Stage) -> None:
        with tracker(Start.of(manifest, experiment.name, build_recipe, stage.path / JOURNAL)) as log:
            train_all(log.run_id)
            log.finish(stage.path, write_summary(stage, experiment, done, home))
        (stage.path / JOURNAL).unlink(missing_ok=True)

    summary = publish.publish(home / manifest.dataset.name / MODEL, experiment.name, build_recipe, build)
    if not done:
        train_all(None)  # those that were removed since
    return summary


def build_folds(manifest_product: Product, repetitions: Sequence[Experiment], home: Path) -> None:
    """Builds all cross-validation folds, so that one without labels is an error before hours of training."""
    settings = repetitions[0].protocol.folds
    if settings is not None:
        for fold in sorted({repetition.protocol.fold for repetition in repetitions if repetition.protocol.fold}):
            folds.build(manifest_product, settings, fold, home)


def write_summary(
    stage: Stage, experiment: Experiment, repetitions: Sequence[TrainedRepetition], home: Path
) -> dict[str, float]:
    """Writes the summary's files; gives its figures by name."""
    best = max(repetitions, key=lambda repetition: history.score(repetition.best_row, experiment.metric))
    summary = {
        **best.product.json(SUMMARY),
        "repetitions": len(repetitions),
        "chosen": best.name,
        "spread": {name: asdict(spread) for name, spread in spreads([r.metrics() for r in repetitions]).items()},
    }
    stage.write_json(REPETITIONS_JSON, [asdict(repetition.entry(home)) for repetition in repetitions])
    stage.write_json(SUMMARY, summary)
    draw(stage.path / CURVES, repetitions, experiment)
    return figures(summary)


def figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of a summary for its run: mean and standard deviation over the repetitions."""
    return repetition_metrics(summary["spread"], summary["repetitions"])


def models_of(trained: Product, home: Path) -> dict[str, Product]:
    """Name -> model of each repetition; of a model that does not repeat, it alone.

    Raises:
        IncompleteError: a repetition's model is no longer there.
    """
    if CONTRACT in trained.files:
        return {load_contract(trained.path).experiment: trained}
    return {entry.name: publish.load(home / entry.path) for entry in repetition_entries(trained)}


def chosen_of(trained: Product, home: Path) -> tuple[str, Product]:
    """The repetition with the best validation metric and its model; of a model that does not repeat, it alone."""
    models = models_of(trained, home)
    name = next(iter(models)) if CONTRACT in trained.files else str(trained.json(SUMMARY)["chosen"])
    return name, models[name]


def current_models(home: Path, dataset: str, experiment: str) -> dict[str, Product]:
    """Name -> model of each repetition of an experiment, as last trained.

    Raises:
        IncompleteError: there is none, or a repetition's model is no longer there.
    """
    return models_of(products.current(home, dataset, products.MODEL, experiment), home)


def current_choice(home: Path, dataset: str, experiment: str) -> tuple[str, Product]:
    """The repetition with the best validation metric and its model, as last trained.

    Raises:
        IncompleteError: as `current_models`.
    """
    return chosen_of(products.current(home, dataset, products.MODEL, experiment), home)


def draw(path: Path, repetitions: Sequence[TrainedRepetition], experiment: Experiment) -> None:
    """The validation metric of every repetition over the epochs as a PNG.

    One line each, in the colour of its fold, or of its seed where there are no folds; a dot marks the kept epoch. The
    mean is dashed, as far as all repetitions went.
    """
    from matplotlib.ticker import MaxNLocator

    figure = canvas(9, 4.2)
    axes, metric = figure.subplots(), experiment.metric
    for repetition, style in zip(repetitions, line_styles(repetitions), strict=True):
        axes.plot(
            [row.epoch for row in repetition.rows], _values(repetition, metric), linewidth=1.2, alpha=0.8, **style
        )
        axes.plot(
            repetition.best_row.epoch,
            _values(repetition, metric)[repetition.best_row.epoch - 1],
            "o",
            color=style["color"],
            markersize=5,
        )
    means = [
        statistics.fmean(at) for at in zip(*(_values(repetition, metric) for repetition in repetitions), strict=False)
    ]
    axes.plot(range(1, len(means) + 1), means, "--", color="black", linewidth=2, label="mean")
    title = f"{experiment.name}: {len(repetitions)} repetitions, the kept epochs dotted"
    axes.set(title=title, xlabel="epoch", ylabel=f"validation {metric.replace('_', ' ').replace('iou', 'IoU')}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    path.write_bytes(as_png(figure))


def line_styles(repetitions: Sequence[TrainedRepetition]) -> list[dict[str, Any]]:
    """Line styles: the colour of each line, and its name in the legend where it is the first of that colour."""
    from matplotlib import colormaps

    folds = [repetition.experiment.protocol.fold for repetition in repetitions]
    groups = [
        f"fold {k}" if k else f"seed {repetition.experiment.seed}"
        for k, repetition in zip(folds, repetitions, strict=True)
    ]
    different = list(dict.fromkeys(groups))
    few = len(different) <= LEGEND_ENTRIES
    shades = colormaps["tab10" if len(different) <= 10 else "viridis"]
    if len(different) > 10:
        shades = shades.resampled(len(different))
    return [
        {
            "color": shades(different.index(group)),
            "label": group if few and group not in groups[:index] else None,
        }
        for index, group in enumerate(groups)
    ]


def _values(repetition: TrainedRepetition, metric: str) -> list[float]:
    values = (row.validation_loss if metric == "loss" else row.metrics[metric] for row in repetition.rows)
    return [float("nan") if value is None else value for value in values]


def failures(manifest: DatasetManifest, dataset: Dataset, home: Path) -> dict[str, str]:
    """Experiment -> why its last training on a manifest failed, of those whose recipe is still the one that failed."""
    failed = {}
    for name in experiments_of(dataset):
        failure = publish.failure(products.folder(home, dataset.name, MODEL), name)
        if failure is None:
            continue
        with suppress(LandcoverError):
            experiment = load_experiment(name)
            repeats = experiment.protocol.repeats
            present = (
                recipe(manifest, experiment, home).fingerprint
                if repeats
                else product.fingerprint_of(manifest, experiment, home)
            )
            if present == failure.fingerprint:
                failed[name] = "; ".join(problem.found for problem in failure.problems)
    return failed
