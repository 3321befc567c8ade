"""The report of an experiment: matrices, metrics, figures and costs as one page, as JSON and as CSV.

Matrix, figures and tables are those of the repetition that validation chose; all repetitions stand beside it with their
spread. Everything but the table of costs follows from the recipe; the costs are those of the products as they were
built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landcover_orch.config import Dataset, experiments_of
from landcover_orch.config.experiments import Classical, Experiment
from landcover_orch.errors import IncompleteError
from landcover_orch.evaluation import VERSION, by_polygon, views
from landcover_orch.evaluation.choices import choices
from landcover_orch.evaluation.evaluate import tiles_to_predict
from landcover_orch.evaluation.repetition import TEST_SIDE, Repetition, Score, Scores, scores
from landcover_orch.evaluation.tables import CORNER, averaged, class_rows, csv_text, summary, words
from landcover_orch.metrics import confusion
from landcover_orch.metrics.spread import spreads
from landcover_orch.models.contract import load_contract
from landcover_orch.pages import page, picture
from landcover_orch.patches.manifest import DatasetManifest, load_current
from landcover_orch.store import products, publish
from landcover_orch.store.costs import Cost
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.training.protocol import current_models

PAGE, REPORT, MATRIX, METRICS, SUMMARY = "index.html", "report.json", "matrix.csv", "metrics.csv", "summary.json"
REPETITIONS = "repetitions.csv"
PICTURED = 4
"""Tiles that are drawn; all are counted."""

HEADLINE = ("accuracy", "mean_iou", "mean_f1", "mean_precision", "mean_recall", "kappa", "mcc")


@dataclass(frozen=True)
class Subject:
    """What a report is about."""

    manifest: DatasetManifest
    experiment: Experiment
    repetitions: tuple[Repetition, ...]
    chosen: Repetition
    home: Path

    @property
    def minor(self) -> tuple[str, ...]:
        """The classes that a second set of means leaves out."""
        return self.manifest.dataset.minor

    def metrics(self, score: Score) -> dict[str, Any]:
        """The headline metrics of a score, flat."""
        return summary(score.found.classes, score.found.tiles.values(), self.minor)


def build(
    manifest: DatasetManifest, experiment: Experiment, repetitions: Sequence[Repetition], chosen: str, home: Path
) -> Product:
    """The published report of an experiment: index.html, report.json, CSV tables and figures.

    Args:
        manifest: the dataset's.
        experiment: the recipe.
        repetitions: its trained models with their maps; one, where it does not repeat.
        chosen: name of the repetition that is best on validation: choosing by test would flatter.
        home: folder everything is written below.

    Raises:
        ContractError: a model was trained on other data than the manifest's or its fold's.
        IncompleteError: a map is missing, or there is nothing to score on.
        GridError: a map does not fit its labels.
    """
    drawn = next(one for one in repetitions if one.name == chosen)
    subject = Subject(manifest, experiment, tuple(repetitions), drawn, home)
    folder = home / manifest.dataset.name / "report"
    return publish.publish(folder, experiment.name, _recipe(subject), lambda stage: _write(stage, subject))


def _recipe(subject: Subject) -> Recipe:
    manifest, experiment = subject.manifest, subject.experiment
    inputs = {"manifest": manifest.digest}
    for one in subject.repetitions:
        inputs |= {f"model {one.name}": one.model.fingerprint, f"data {one.name}": one.manifest.digest}
        inputs |= {f"prediction {one.name} {tile}": product.fingerprint for tile, product in one.maps.items()}
    told = {"experiment": experiment, "chosen": subject.chosen.name, "legend": manifest.legend, "minor": subject.minor}
    told["years"] = [asdict(years) for years in manifest.years()]
    return Recipe(asset="report", version=VERSION, inputs=inputs, configuration=told)


def _write(stage: Stage, subject: Subject) -> None:
    found = scores(subject.manifest, subject.repetitions, subject.chosen.name, subject.home)
    polygons = by_polygon.rows(subject.manifest, subject.chosen.maps, subject.home)
    told = _report(subject, found) | _composites(subject, polygons)
    _write_tables(stage, subject, found, told)
    if polygons:
        lines = (row.values() for row in polygons)
        (stage.path / by_polygon.TABLE).write_text(csv_text([*polygons[0]], lines), encoding="utf-8")
    figures = _write_figures(stage, subject, found, told, polygons)
    (stage.path / PAGE).write_text(_page(subject, found, told, figures), encoding="utf-8")


def _write_tables(stage: Stage, subject: Subject, found: Scores, told: Mapping[str, Any]) -> None:
    names, pooled = found.chosen.found.classes, found.chosen.found.pooled
    stage.write_json(REPORT, told)
    stage.write_json(SUMMARY, _summary(told))
    rows = ([name, *counts] for name, counts in zip(names, pooled.tolist(), strict=True))
    (stage.path / MATRIX).write_text(csv_text([CORNER, *names], rows), encoding="utf-8")
    measures = class_rows(names, pooled)
    (stage.path / METRICS).write_text(csv_text(measures[0], (row.values() for row in measures)), encoding="utf-8")
    each = told["repetitions"]
    lines = ([one["name"], one["seed"], one["fold"], *one["metrics"].values()] for one in each)
    header = ["repetition", "seed", "fold", *each[0]["metrics"]]
    (stage.path / REPETITIONS).write_text(csv_text(header, lines), encoding="utf-8")


def _composites(subject: Subject, polygons: Sequence[by_polygon.Row]) -> dict[str, Any]:
    """How well the map keeps to declared shares, and what was decided on composites; nothing where labels have none."""
    kept = {"by_polygon": by_polygon.summary(polygons, subject.manifest.legend)} if polygons else {}
    decided = by_polygon.decisions(subject.manifest, subject.home)
    return kept | ({"decisions": decided} if decided else {})


def _summary(told: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen repetition's metrics, then mean and standard deviation of all where there are several."""
    several = len(told["repetitions"]) > 1
    names = [name for name in told["spread"] if name != "pixels"] if several else []
    spread = {f"{kind} of {name}": told["spread"][name][kind] for name in names for kind in ("mean", "sd")}
    return {**told["metrics"], "repetitions": len(told["repetitions"]), "chosen": told["chosen"], **spread}


def _report(subject: Subject, found: Scores) -> dict[str, Any]:
    manifest, evaluation = subject.manifest, found.chosen.found
    pooled = evaluation.pooled
    years = {tile.name: {"year": tile.year, "label_year": tile.label_year} for tile in manifest.tiles}
    return {
        "dataset": manifest.dataset.name,
        "experiment": subject.experiment.name,
        "model": subject.chosen.model.fingerprint,
        "models": {one.name: one.model.fingerprint for one in subject.repetitions},
        "trained_on": {one.name: one.manifest.digest for one in subject.repetitions},
        "choices": choices(subject.experiment, manifest.dataset.patches),
        "prediction": subject.experiment.prediction.words(),
        "data_digest": manifest.digest,
        "test_digest": manifest.test_digest,
        "scored_on": found.side,
        "chosen": subject.chosen.name,
        "chosen_by": f"validation {words(subject.experiment.metric)}",
        "classes": list(evaluation.classes),
        "axes": ["actual", "predicted"],
        "matrix": pooled.tolist(),
        "normalised_by_actual": confusion.normalised(pooled, "actual"),
        "normalised_by_predicted": confusion.normalised(pooled, "predicted"),
        "metrics": subject.metrics(found.chosen),
        "means_over": averaged(evaluation.classes, pooled),
        "per_class": class_rows(evaluation.classes, pooled),
        "tiles": {
            name: {
                **years[name],
                "matrix": matrix.tolist(),
                "metrics": summary(evaluation.classes, [matrix], subject.minor),
            }
            for name, matrix in evaluation.tiles.items()
        },
        **_repeated(subject, found),
    }


def _repeated(subject: Subject, found: Scores) -> dict[str, Any]:
    each = [_told(subject, score) for score in found.compared]
    return {
        "repetitions": each,
        "spread": spreads([one["metrics"] for one in each]),
        "out_of_fold": _out_of_fold(subject, found) if found.across else None,
    }


def _told(subject: Subject, score: Score) -> dict[str, Any]:
    return {
        "name": score.name,
        "seed": score.seed,
        "fold": score.fold,
        "stands_on": list(score.stands_on),
        "matrix": score.found.pooled.tolist(),
        "metrics": subject.metrics(score),
    }


def _out_of_fold(subject: Subject, found: Scores) -> dict[str, Any]:
    """All folds as one matrix, of the seed that was chosen; each seed's; each fold by itself, and their spread."""
    seeds = {score.name: _told(subject, score) for score in found.across}
    folds = [_told(subject, score) for score in found.folds]
    own = seeds[subject.chosen.across]
    return {
        **{key: own[key] for key in ("seed", "matrix", "metrics")},
        "seeds": [*seeds.values()],
        "folds": folds,
        "spread": spreads([one["metrics"] for one in folds]),
    }


def _write_figures(
    stage: Stage, subject: Subject, found: Scores, told: Mapping[str, Any], polygons: Sequence[by_polygon.Row]
) -> dict[str, bytes]:
    """Writes each figure as PNG; gives them by caption."""
    from landcover_orch.evaluation import dots, figures

    legend, pooled = subject.manifest.legend, found.chosen.found.pooled
    drawn = {
        "matrix.png": ("Confusion matrix", figures.matrices(pooled, legend.names)),
        "classes.png": ("Precision, recall, F1 and IoU of each class", figures.class_bars(pooled, legend)),
    }
    if len(told["repetitions"]) > 1:
        shown = [*HEADLINE, *(f"iou {name}" for name in legend.names)]
        values = {words(name): [one["metrics"][name] for one in told["repetitions"]] for name in shown}
        drawn["repetitions.png"] = "What each repetition scored", dots.dots(values)
    if polygons:
        drawn[by_polygon.FIGURE] = by_polygon.CAPTION, by_polygon.picture(polygons, legend)
    for name, (caption, view) in _looks(subject, found).items():
        drawn[name] = caption, figures.maps(view, legend)
        if name.endswith("-detail.png") or found.side != TEST_SIDE:
            _keep_preview(stage, view, subject.manifest)
    for name, (_, data) in drawn.items():
        (stage.path / name).write_bytes(data)
    return dict(drawn.values())


def _looks(subject: Subject, found: Scores) -> dict[str, tuple[str, Any]]:
    """File -> caption and view: test tiles whole and in detail, then tiles as their folds see them."""
    manifest, maps, home = subject.manifest, subject.chosen.maps, subject.home
    looks: dict[str, tuple[str, Any]] = {}
    for entry in tiles_to_predict(manifest)[:PICTURED]:
        whole = views.whole(manifest, entry, maps[entry.name], home)
        looks[f"tile-{entry.name}.png"] = f"Tile {entry.name}{f', {entry.year}' if entry.year else ''}", whole
        detail = views.detail(manifest, entry, maps[entry.name], home, whole)
        looks[f"tile-{entry.name}-detail.png"] = f"Tile {entry.name}, a detail at full resolution", detail
    folds = [one for one in subject.repetitions if one.fold is not None and one.across == subject.chosen.across]
    for entry in tiles_to_predict(*(one.manifest for one in folds))[:PICTURED] if folds else []:
        view = views.out_of_fold([(one.manifest, one.maps) for one in folds], entry, home)
        looks[f"tile-{entry.name}-out-of-fold.png"] = f"Tile {entry.name}, out of fold", view
    return looks


def _keep_preview(stage: Stage, view: Any, manifest: DatasetManifest) -> None:
    """Writes the first view that is asked for as the product's preview."""
    if (stage.path / "preview.png").exists():
        return
    maps = [picture.colourise(classes, manifest.legend.palette) for classes in (view.scored, view.predicted)]
    errors = picture.errors(view.scored, view.predicted)
    (stage.path / "preview.png").write_bytes(picture.small_png(picture.hstack([view.image, *maps, errors])))


def costs(
    manifest: DatasetManifest, models: Sequence[Product], predictions: Sequence[Product], home: Path
) -> dict[str, tuple[int, Cost]]:
    """Stage -> number of products and what building them took: times and bytes summed, the highest peak."""
    stages = {
        "ground_truth": [publish.load(home / entry.ground_truth) for entry in manifest.tiles],
        "patches": [publish.load(home / entry.patches) for entry in manifest.tiles],
        "dataset_manifest": _manifests(manifest, home),
        "model": models,
        "prediction": predictions,
    }
    return {name: (len(products), _total([p.cost for p in products])) for name, products in stages.items()}


def _manifests(manifest: DatasetManifest, home: Path) -> list[Product]:
    try:
        return [publish.current(home / manifest.dataset.name / "dataset_manifest", "dataset")]
    except IncompleteError:
        return []


def _total(found: Sequence[Cost]) -> Cost:
    def known(name: str) -> list[Any]:
        return [value for cost in found if (value := getattr(cost, name)) is not None]

    def total(name: str) -> Any:
        return sum(known(name)) if len(known(name)) == len(found) and found else None

    return Cost(total("wall_s"), total("cpu_s"), max(known("peak_bytes"), default=None), total("bytes"), total("files"))


def _page(subject: Subject, found: Scores, told: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    manifest, experiment, model = subject.manifest, subject.experiment, subject.chosen.model
    products = [product for one in subject.repetitions for product in one.maps.values()]
    return page.render(
        "report.html",
        title=f"{manifest.dataset.name} · {experiment.name}",
        manifest=manifest,
        experiment=experiment,
        contract=load_contract(model.path),
        classical=isinstance(experiment.model, Classical),
        model=model,
        learnt=model.json(SUMMARY) if SUMMARY in model.files else {},
        told=told,
        shown=HEADLINE,
        words=words,
        found=found.chosen.found,
        test_side=found.side == TEST_SIDE,
        minor=subject.minor,
        seeds_spread=spreads([subject.metrics(score) for score in found.across]),
        figures=figures,
        by_polygon_caption=by_polygon.CAPTION,
        stages=costs(manifest, [one.model for one in subject.repetitions], products, subject.home),
    )


def current_reports(dataset: Dataset, home: Path) -> dict[str, Product]:
    """Experiment -> its report, of those made of the present manifest and the present models.

    Raises:
        IncompleteError: there is no manifest.
    """
    data_digest, reports = load_current(home, dataset.name).digest, {}
    for name in experiments_of(dataset):
        try:
            product = products.current(home, dataset.name, products.REPORT, name)
            models = {key: model.fingerprint for key, model in current_models(home, dataset.name, name).items()}
        except IncompleteError:
            continue
        content = product.json(REPORT)
        if (content["data_digest"], content.get("models")) == (data_digest, models):
            reports[name] = product
    return reports
