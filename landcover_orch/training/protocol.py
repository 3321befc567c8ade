"""A recipe's repetitions: each trained to a model of its own, and what they reached together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_orch import publish
from landcover_orch.confusion import Value
from landcover_orch.experiment import Experiment
from landcover_orch.experiment.protocol import repetitions
from landcover_orch.model.contract import CONTRACT, load_contract
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.publish import Product, Recipe, Stage
from landcover_orch.tracking import untracked
from landcover_orch.training import VERSION, history
from landcover_orch.training.history import Row
from landcover_orch.training.product import ASSET, Progress, Tracker
from landcover_orch.training.product import run as train

REPETITIONS, SUMMARY, CURVES = "repetitions.json", "summary.json", "curves.png"


@dataclass(frozen=True)
class Trained:
    """A repetition and its model."""

    experiment: Experiment
    product: Product

    @property
    def name(self) -> str:
        """As its product is called."""
        return self.experiment.name

    @property
    def kept(self) -> Row:
        """The epoch whose weights were kept, measured on the repetition's own validation ground."""
        return self.rows[int(self.product.json(SUMMARY)["best_epoch"]) - 1]

    @property
    def rows(self) -> list[Row]:
        """All its epochs."""
        return [Row(**row) for row in self.product.json("history.json")]

    def metrics(self) -> dict[str, Value]:
        """Validation metrics of the kept weights; None where undefined."""
        row = self.kept
        each = {f"iou {name}": value for name, value in row.iou.items()}
        return {"validation_loss": row.validation_loss, **row.metrics, **each}


def of(manifest: DatasetManifest, experiment: Experiment) -> tuple[Experiment, ...]:
    """The repetitions of a recipe on a dataset, the recipe itself where it has none.

    Raises:
        CatalogueError: the dataset has no such folds.
    """
    dealt = experiment.protocol.folds if experiment.protocol.repeats else None
    if dealt is not None:
        folds.count_of(manifest, dealt)
    return repetitions(experiment, len(folds.beside(manifest)))


def run(
    manifest_product: Product,
    experiment: Experiment,
    home: Path,
    *,
    tracker: Tracker = untracked,
    progress: Progress = lambda line: None,
) -> Product:
    """The trained model of a recipe that does not repeat, else the summary of its repetitions' models.

    Each repetition is found where it exists and gone on with where it was interrupted. The summary holds
    repetitions.json (a model each, with the validation metrics of the weights that were kept), summary.json (mean,
    standard deviation and number of each metric, and the chosen repetition's summary) and curves.png; no weights.

    Args:
        manifest_product: the dataset's published manifest.
        experiment: the recipe.
        home: folder everything is written below.
        tracker: gives the log of each training; see `landcover_orch.tracking`.
        progress: takes lines for people.

    Raises:
        CatalogueError: the dataset has no such folds, or one of them lacks labels on a side.
        TrainingError: as `landcover_orch.training.run`.
    """
    if not experiment.protocol.repeats:
        return train(manifest_product, experiment, home, tracker=tracker, progress=progress)
    manifest = load_manifest(manifest_product.path)
    wanted = of(manifest, experiment)
    if experiment.protocol.folds:  # all of them before hours go into the first
        for index in sorted({one.protocol.fold for one in wanted if one.protocol.fold}):
            folds.build(manifest_product, experiment.protocol.folds, index, home)
    found = []
    for number, one in enumerate(wanted, 1):
        progress(f"{one.name}, repetition {number} of {len(wanted)}")
        found.append(Trained(one, train(manifest_product, one, home, tracker=tracker, progress=progress)))
    return _publish(manifest, experiment, found, home)


def _publish(manifest: DatasetManifest, experiment: Experiment, found: list[Trained], home: Path) -> Product:
    made_of: Recipe = {
        "room": ASSET,
        "version": VERSION,
        "inputs": {"manifest": manifest.digest, **{one.name: one.product.fingerprint for one in found}},
        "configuration": {"metric": experiment.metric},
    }

    def write(stage: Stage) -> None:
        stage.write_json(REPETITIONS, [_entry(one, home) for one in found])
        stage.write_json(SUMMARY, _summary(experiment, found))
        draw(stage.path / CURVES, found, experiment.metric)

    return publish.publish(home / manifest.dataset.name / ASSET, experiment.name, made_of, write)


def _entry(one: Trained, home: Path) -> dict[str, Any]:
    return {
        "name": one.name,
        "seed": one.experiment.seed,
        "fold": one.experiment.protocol.fold,
        "fingerprint": one.product.fingerprint,
        "path": one.product.path.resolve().relative_to(home.resolve()).as_posix(),
        "metrics": one.metrics(),
    }


def _summary(experiment: Experiment, found: list[Trained]) -> dict[str, Any]:
    best = max(found, key=lambda one: history.score(one.kept, experiment.metric))
    return {
        **best.product.json(SUMMARY),
        "repetitions": len(found),
        "chosen": best.name,
        "spread": spread([one.metrics() for one in found]),
    }


def spread(found: list[dict[str, Value]]) -> dict[str, dict[str, Value]]:
    """Metric -> `mean`, `sd` (of a sample: n - 1; None for one) and `n`, over the repetitions that define it."""
    known = {name: [value for one in found if (value := one[name]) is not None] for name in found[0]}
    return {
        name: {
            "mean": statistics.fmean(values) if values else None,
            "sd": statistics.stdev(values) if len(values) > 1 else None,
            "n": len(values),
        }
        for name, values in known.items()
    }


def models_of(product: Product, home: Path) -> dict[str, Product]:
    """Name -> model of each repetition; of a model that does not repeat, it alone.

    Raises:
        IncompleteError: a repetition's model is no longer there.
    """
    if CONTRACT in product.files:
        return {load_contract(product.path).experiment: product}
    return {entry["name"]: publish.load(home / entry["path"]) for entry in product.json(REPETITIONS)}


def chosen_of(product: Product, home: Path) -> tuple[str, Product]:
    """The repetition with the best validation metric and its model; of a model that does not repeat, it alone."""
    models = models_of(product, home)
    name = next(iter(models)) if CONTRACT in product.files else str(product.json(SUMMARY)["chosen"])
    return name, models[name]


def draw(path: Path, found: list[Trained], metric: str) -> None:
    """The validation metric of every repetition over the epochs as a PNG; their mean is dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for one in found:
        axes.plot([row.epoch for row in one.rows], [_value(row, metric) for row in one.rows], label=one.name)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _value(row: Row, metric: str) -> float:
    value = row.validation_loss if metric == "loss" else row.metrics[metric]
    return float("nan") if value is None else value
