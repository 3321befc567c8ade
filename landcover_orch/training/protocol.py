"""A recipe's repetitions: each trained to a model of its own, and what they reached together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landcover_orch.config.experiments import Experiment
from landcover_orch.metrics.confusion import Value
from landcover_orch.metrics.spread import spreads
from landcover_orch.models.contract import CONTRACT, load_contract
from landcover_orch.pages.chart import as_png, canvas
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.store import products, publish
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import Start, untracked
from landcover_orch.training import history, product
from landcover_orch.training.history import Row
from landcover_orch.training.product import Progress, Tracker

REPETITIONS, SUMMARY, CURVES = "repetitions.json", "summary.json", "curves.png"
NAMED = 20
"""Most colours that a picture names."""


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


def recipe(manifest: DatasetManifest, experiment: Experiment, home: Path) -> Recipe:
    """What the summary of a recipe's repetitions is made of: their fingerprints, which are known before any is trained.

    Raises:
        CatalogueError: the dataset has no such folds.
    """
    alone = product.recipe(manifest, experiment, home)
    wanted = folds.repetitions(manifest, experiment)
    inputs = {f"repetition {one.name}": product.fingerprint_of(manifest, one, home) for one in wanted}
    said = {**alone.configuration, "protocol": experiment.protocol.model_dump(mode="json")}
    return replace(alone, inputs={"manifest": manifest.digest, **inputs}, configuration=said)


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
        tracker: gives the log of each training, and of their summary; see `landcover_orch.tracking`.
        progress: takes lines for people.

    Raises:
        CatalogueError: the dataset has no such folds, or one of them lacks labels on a side.
        TrainingError: as `training.product.run`.
    """
    if not experiment.protocol.repeats:
        return product.run(manifest_product, experiment, home, tracker=tracker, progress=progress)
    manifest = load_manifest(manifest_product.path)
    made_of, wanted = recipe(manifest, experiment, home), folds.repetitions(manifest, experiment)
    _require_folds(manifest_product, wanted, home)
    found: list[Trained] = []

    def train(parent: str | None) -> None:
        for number, one in enumerate(wanted, 1):
            progress(f"{one.name}: repetition {number} of {len(wanted)}")
            trained = product.run(manifest_product, one, home, tracker=tracker, progress=progress, parent=parent)
            found.append(Trained(one, trained))

    def build(stage: Stage) -> None:
        with tracker(Start.of(manifest, experiment.name, made_of, stage.path / product.JOURNAL)) as log:
            train(log.run_id)
            log.finish(stage.path, _write(stage, experiment, found, home))
        (stage.path / product.JOURNAL).unlink(missing_ok=True)

    summary = publish.publish(home / manifest.dataset.name / product.ASSET, experiment.name, made_of, build)
    if not found:
        train(None)  # those that somebody has removed since
    return summary


def _require_folds(manifest_product: Product, wanted: Sequence[Experiment], home: Path) -> None:
    """Builds all folds, so that one without labels is found before hours go into another."""
    for fold in sorted({one.protocol.fold for one in wanted if one.protocol.fold}):
        dealt = wanted[0].protocol.folds
        if dealt is not None:
            folds.build(manifest_product, dealt, fold, home)


def _write(stage: Stage, experiment: Experiment, found: Sequence[Trained], home: Path) -> dict[str, float]:
    """Writes the summary's files; gives its figures by name."""
    summary = _summary(experiment, found)
    stage.write_json(REPETITIONS, [_entry(one, home) for one in found])
    stage.write_json(SUMMARY, summary)
    draw(stage.path / CURVES, found, experiment)
    return figures(summary)


def figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """A summary's defined numbers as 'mean/accuracy' and 'sd/accuracy'."""
    spread = summary["spread"]
    return {
        f"{part}/{name}": float(value)
        for name, found in spread.items()
        for part, value in found.items()
        if part in ("mean", "sd") and value is not None
    } | {"repetitions": float(summary["repetitions"])}


def _entry(one: Trained, home: Path) -> dict[str, Any]:
    return {
        "name": one.name,
        "seed": one.experiment.seed,
        "fold": one.experiment.protocol.fold,
        "fingerprint": one.product.fingerprint,
        "path": one.product.path.resolve().relative_to(home.resolve()).as_posix(),
        "metrics": one.metrics(),
    }


def _summary(experiment: Experiment, found: Sequence[Trained]) -> dict[str, Any]:
    best = max(found, key=lambda one: history.score(one.kept, experiment.metric))
    return {
        **best.product.json(SUMMARY),
        "repetitions": len(found),
        "chosen": best.name,
        "spread": spreads([one.metrics() for one in found]),
    }


def models_of(trained: Product, home: Path) -> dict[str, Product]:
    """Name -> model of each repetition; of a model that does not repeat, it alone.

    Raises:
        IncompleteError: a repetition's model is no longer there.
    """
    if CONTRACT in trained.files:
        return {load_contract(trained.path).experiment: trained}
    return {entry["name"]: publish.load(home / entry["path"]) for entry in trained.json(REPETITIONS)}


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


def draw(path: Path, found: Sequence[Trained], experiment: Experiment) -> None:
    """The validation metric of every repetition over the epochs as a PNG.

    One line each, in the colour of its fold, or of its seed where there are no folds; a dot marks the kept epoch. The
    mean is dashed, as far as all repetitions went.
    """
    from matplotlib.ticker import MaxNLocator

    figure = canvas(9, 4.2)
    axes, metric = figure.subplots(), experiment.metric
    for one, style in zip(found, _styles(found), strict=True):
        axes.plot([row.epoch for row in one.rows], _values(one, metric), linewidth=1.2, alpha=0.8, **style)
        axes.plot(one.kept.epoch, _values(one, metric)[one.kept.epoch - 1], "o", color=style["color"], markersize=5)
    means = [statistics.fmean(at) for at in zip(*(_values(one, metric) for one in found), strict=False)]
    axes.plot(range(1, len(means) + 1), means, "--", color="black", linewidth=2, label="mean")
    title = f"{experiment.name}: {len(found)} repetitions, the kept epochs dotted"
    axes.set(title=title, xlabel="epoch", ylabel=f"validation {metric.replace('_', ' ').replace('iou', 'IoU')}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    path.write_bytes(as_png(figure))


def _styles(found: Sequence[Trained]) -> list[dict[str, Any]]:
    """Colour of each line, and its name in the legend where it is the first of that colour."""
    from matplotlib import colormaps

    folds = [one.experiment.protocol.fold for one in found]
    groups = [f"fold {k}" if k else f"seed {one.experiment.seed}" for k, one in zip(folds, found, strict=True)]
    different = list(dict.fromkeys(groups))
    few = len(different) <= NAMED
    shades = colormaps["tab10" if len(different) <= 10 else "viridis"]
    if len(different) > 10:
        shades = shades.resampled(len(different))
    return [
        {
            "color": shades(different.index(group)),
            "label": group if few and group not in groups[:place] else None,
        }
        for place, group in enumerate(groups)
    ]


def _values(one: Trained, metric: str) -> list[float]:
    found = (row.validation_loss if metric == "loss" else row.metrics[metric] for row in one.rows)
    return [float("nan") if value is None else value for value in found]
