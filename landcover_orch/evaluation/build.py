"""Evaluation report of an experiment: confusion matrix, metrics, figures and costs as a page, as JSON and as CSV.

Matrix, figures and tables are those of the repetition that validation chose; all repetitions stand beside it with their
spread. Everything but the table of costs follows from the experiment; the costs are those of the products as they were
built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from landcover_orch.config import Dataset, experiments_of
from landcover_orch.config.experiments import Classical, Experiment
from landcover_orch.errors import IncompleteError
from landcover_orch.evaluation import VERSION, by_polygon, views
from landcover_orch.evaluation.choices import choices
from landcover_orch.evaluation.evaluate import Evaluation, tiles_to_predict
from landcover_orch.evaluation.figures import View
from landcover_orch.evaluation.repetition import TEST_SPLIT, Repetition, Score, Scores, score_repetitions
from landcover_orch.evaluation.tables import (
    CORNER,
    absent_classes,
    class_rows,
    csv_text,
    defined_classes,
    summary,
)
from landcover_orch.grid import unit_of_length
from landcover_orch.metrics import catalogue, confusion
from landcover_orch.metrics.catalogue import CLASS_METRICS, RANKED_BY, SHOWN
from landcover_orch.metrics.metric import Value
from landcover_orch.metrics.spread import Spread, spreads
from landcover_orch.models.contract import load_contract
from landcover_orch.pages import page, picture
from landcover_orch.pages.links import asset_link, registered_model_link, training_run_link
from landcover_orch.pages.verdict import software
from landcover_orch.patches.baselines import verdict_on
from landcover_orch.patches.ground import hectares, one_class_warnings, scored_ground
from landcover_orch.patches.manifest import DatasetManifest, TileEntry, load_current
from landcover_orch.store import products, publish
from landcover_orch.store.costs import Cost
from landcover_orch.store.products import (
    DATASET_MANIFEST,
    GROUND_TRUTH,
    MODEL,
    PAGE,
    PATCHES,
    PREDICTION,
    PREVIEW,
    REPORT,
    REPORT_JSON,
    SUMMARY,
)
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.training.protocol import current_models

MATRIX, METRICS, REPETITIONS = "matrix.csv", "metrics.csv", "repetitions.csv"
PICTURED = 4
"""Tiles that are drawn, the worst where there are more; all are counted."""

UNFOLDED = 12
"""Rows up to which the table of tiles is shown unfolded."""

METRIC_NAMES = [metric.name for metric in SHOWN]
"""In a report's build recipe: a metric that is added makes reports stale."""


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

    def recipe(self) -> Recipe:
        """Build recipe of the report: manifest, models and maps of all repetitions."""
        inputs = {"manifest": self.manifest.digest}
        for repetition in self.repetitions:
            name = repetition.name
            inputs |= {f"model {name}": repetition.model.fingerprint, f"data {name}": repetition.manifest.digest}
            inputs |= {f"prediction {name} {tile}": product.fingerprint for tile, product in repetition.maps.items()}
        configuration = {
            "experiment": self.experiment,
            "chosen": self.chosen.name,
            "legend": self.manifest.legend,
            "minor": self.minor,
            "metrics": METRIC_NAMES,
            "software": software(),
            "years": [
                y for t, y in zip(self.manifest.tiles, self.manifest.years(), strict=True) if t.label_fingerprint
            ],
        }
        return Recipe(asset=REPORT, version=VERSION, inputs=inputs, configuration=configuration)


@dataclass(frozen=True)
class ScoreRow:
    """Row of a repetition, seed or fold in a report: its matrix (actual, predicted), its metrics, classes of means."""

    name: str
    seed: int
    fold: int | None
    base_experiments: tuple[str, ...]
    matrix: list[list[int]]
    metrics: dict[str, Value]
    means_over: dict[str, list[str]]


@dataclass(frozen=True)
class Report:
    """Evaluation report: its contents as JSON, tables, figures and page."""

    subject: Subject
    scores: Scores
    polygons: Sequence[by_polygon.PolygonRow]

    def row(self, score: Score) -> ScoreRow:
        """Matrix and metrics of a score."""
        evaluation = score.evaluation
        return ScoreRow(
            score.name,
            score.seed,
            score.fold,
            score.base_experiments,
            evaluation.pooled.tolist(),
            self.metrics(evaluation),
            defined_classes(evaluation.classes, evaluation.pooled),
        )

    def metrics(self, evaluation: Evaluation) -> dict[str, Value]:
        """All metrics of an evaluation, flat."""
        return summary(evaluation.classes, evaluation.pooled, evaluation.stacked_counts, self.subject.minor)

    @cached_property
    def rows(self) -> list[ScoreRow]:
        """The repetitions; of a dataset without test split, the seeds out of fold."""
        return [self.row(score) for score in self.scores.scores]

    @cached_property
    def spread(self) -> dict[str, Spread]:
        """Mean and standard deviation of each metric over the rows."""
        return spreads([row.metrics for row in self.rows])

    @cached_property
    def content(self) -> dict[str, Any]:
        """Contents of report.json."""
        subject, manifest = self.subject, self.subject.manifest
        classes, pooled = self.scores.chosen.evaluation.classes, self.scores.chosen.evaluation.pooled
        return {
            "dataset": manifest.dataset.name,
            "experiment": subject.experiment.name,
            "verdict": self.verdict,
            "warnings": one_class_warnings(manifest),
            "ground": asdict(scored_ground(manifest)),
            "model": subject.chosen.model.fingerprint,
            "models": {repetition.name: repetition.model.fingerprint for repetition in subject.repetitions},
            "trained_on": {repetition.name: repetition.manifest.digest for repetition in subject.repetitions},
            "choices": choices(subject.experiment, manifest.dataset.patches),
            "prediction": subject.experiment.prediction.words(),
            "data_digest": manifest.digest,
            "test_digest": manifest.test_digest,
            "scored_on": self.scores.split,
            "chosen": subject.chosen.name,
            "chosen_by": f"validation {catalogue.title(subject.experiment.metric)}",
            "classes": list(classes),
            "axes": ["actual", "predicted"],
            "matrix": pooled.tolist(),
            "normalised_by_actual": confusion.normalised(pooled, "actual"),
            "normalised_by_predicted": confusion.normalised(pooled, "predicted"),
            "metrics": self.row(self.scores.chosen).metrics,
            "means_over": defined_classes(classes, pooled),
            "without_pixels": absent_classes(classes, pooled),
            "per_class": self.class_rows(),
            "tiles": self.tiles,
            "repetitions": [asdict(row) for row in self.rows],
            "spread": {name: asdict(spread) for name, spread in self.spread.items()},
            "out_of_fold": self.out_of_fold() if self.scores.seed_groups else None,
            **self.composites(),
        }

    @cached_property
    def verdict(self) -> str:
        """Verdict in a sentence: the chosen repetition's scores against the most frequent class alone."""
        metrics = self.row(self.scores.chosen).metrics
        return verdict_on(self.subject.experiment.name, metrics, self.subject.manifest)

    @cached_property
    def entries(self) -> dict[str, TileEntry]:
        """Tile -> its entry in the manifest."""
        return {entry.name: entry for entry in self.subject.manifest.tiles}

    def class_rows(self) -> list[dict[str, Any]]:
        """Per-class metrics, with the hectares of actual and predicted pixels; None where they are not known."""
        evaluation = self.scores.chosen.evaluation
        rows = class_rows(evaluation.classes, evaluation.pooled)
        for i, row in enumerate(rows):
            for name, axis in (("actual", 1), ("predicted", 0)):
                areas = [
                    hectares(self.entries[tile], int(matrix.sum(axis=axis)[i]))
                    for tile, matrix in evaluation.tiles.items()
                ]
                row[f"{name}_hectares"] = total_area(areas)
        return rows

    @cached_property
    def tiles(self) -> dict[str, dict[str, Any]]:
        """Tile -> its years, matrix, metrics, and the hectares that are scored."""
        evaluation, entries = self.scores.chosen.evaluation, self.entries
        return {
            name: {
                "year": entries[name].year,
                "label_year": entries[name].label_year,
                "hectares": hectares(entries[name], int(matrix.sum())),
                "matrix": matrix.tolist(),
                "metrics": self.metrics(evaluation.of(name)),
            }
            for name, matrix in evaluation.tiles.items()
        }

    def out_of_fold(self) -> dict[str, Any]:
        """Cross-validation: all folds of the chosen seed as one matrix; each seed's; each fold, and their spread."""
        seeds = {score.name: self.row(score) for score in self.scores.seed_groups}
        folds = [self.row(score) for score in self.scores.folds]
        chosen = seeds[self.subject.chosen.seed_group]
        return {
            "seed": chosen.seed,
            "matrix": chosen.matrix,
            "metrics": chosen.metrics,
            "seeds": [asdict(row) for row in seeds.values()],
            "folds": [asdict(row) for row in folds],
            "spread": {name: asdict(spread) for name, spread in spreads([row.metrics for row in folds]).items()},
        }

    def composites(self) -> dict[str, Any]:
        """Errors of declared class fractions, and decisions on composites; nothing where labels have none."""
        legend, decided = self.subject.manifest.legend, by_polygon.decisions(self.subject.manifest, self.subject.home)
        errors = {"by_polygon": by_polygon.summary(self.polygons, legend)} if self.polygons else {}
        return errors | ({"decisions": decided} if decided else {})

    def summary(self) -> dict[str, Any]:
        """Contents of summary.json: the chosen one's metrics, then mean and standard deviation of several."""
        spread = {name: asdict(value) for name, value in self.spread.items() if name != "pixels" and len(self.rows) > 1}
        statistics = {f"{kind} of {name}": values[kind] for name, values in spread.items() for kind in ("mean", "sd")}
        chosen = {"repetitions": len(self.rows), "chosen": self.subject.chosen.name}
        return {**self.row(self.scores.chosen).metrics, **chosen, **statistics}

    def tables(self) -> dict[str, str]:
        """CSV tables by file: matrix, metrics of each class, repetitions, polygons."""
        classes, pooled = self.scores.chosen.evaluation.classes, self.scores.chosen.evaluation.pooled
        matrix = ([name, *counts] for name, counts in zip(classes, pooled.tolist(), strict=True))
        metrics = class_rows(classes, pooled)
        repetitions = ([row.name, row.seed, row.fold, *row.metrics.values()] for row in self.rows)
        tables = {
            MATRIX: csv_text([CORNER, *classes], matrix),
            METRICS: csv_text(metrics[0], (row.values() for row in metrics)),
            REPETITIONS: csv_text(["repetition", "seed", "fold", *self.rows[0].metrics], repetitions),
        }
        if self.polygons:
            rows = [polygon.columns() for polygon in self.polygons]
            tables[by_polygon.TABLE] = csv_text([*rows[0]], (row.values() for row in rows))
        return tables

    def views(self) -> Iterator[tuple[str, str, View]]:
        """File, caption and view of the maps: overview and detail of test tiles, then tiles out of fold."""
        manifest, chosen, home = self.subject.manifest, self.subject.chosen, self.subject.home
        for entry in self.worst(tiles_to_predict(manifest)):
            overview = views.overview(manifest, entry, chosen.maps[entry.name], home)
            yield f"tile-{entry.name}.png", self.caption(entry), overview
            detail = views.detail(manifest, entry, chosen.maps[entry.name], home, overview)
            yield f"tile-{entry.name}-detail.png", f"Tile {entry.name}, a detail at full resolution", detail
        folds = [r for r in self.subject.repetitions if r.fold is not None and r.seed_group == chosen.seed_group]
        for entry in self.worst(tiles_to_predict(*(fold.manifest for fold in folds))) if folds else []:
            view = views.out_of_fold([(fold.manifest, fold.maps) for fold in folds], entry, home)
            yield f"tile-{entry.name}-out-of-fold.png", f"{self.caption(entry)}, out of fold", view

    def ranked_tiles(self) -> list[str]:
        """Names of the scored tiles, the lowest mean IoU first, then the lowest accuracy; of equals by name."""

        def order(item: tuple[str, Any]) -> tuple[float, float, str]:
            metrics = item[1]["metrics"]
            return metrics[RANKED_BY] or 0.0, metrics["accuracy"] or 0.0, item[0]

        tiles = {name: tile for name, tile in self.tiles.items() if tile["metrics"]["pixels"]}
        return [name for name, _ in sorted(tiles.items(), key=order)]

    def worst(self, entries: Sequence[TileEntry]) -> list[TileEntry]:
        """The tiles that are drawn: all of a few, else the worst, which come first."""
        place = {name: i for i, name in enumerate(self.ranked_tiles())}
        return sorted(entries, key=lambda entry: place.get(entry.name, len(place)))[:PICTURED]

    def caption(self, entry: TileEntry) -> str:
        """Caption of a tile's picture: year, rank among the scored tiles, and mean IoU."""
        ranked = self.ranked_tiles()
        year = f", {entry.year}" if entry.year else ""
        if len(ranked) < 2 or entry.name not in ranked:
            return f"Tile {entry.name}{year}"
        number, of = ranked.index(entry.name) + 1, len(ranked)
        place = {1: "", 2: "2nd ", 3: "3rd "}.get(number, f"{number}th ")
        rank = "the best" if number == of else f"the {place}worst"
        score = self.tiles[entry.name]["metrics"][RANKED_BY]
        return f"Tile {entry.name}{year}: {rank} of {of}, mean IoU {page.format_ratio(score)}"

    def figures(self) -> dict[str, tuple[str, bytes]]:
        """File -> caption and PNG of every figure, and the preview, which has no caption."""
        from landcover_orch.evaluation import dots, figures

        legend, pooled = self.subject.manifest.legend, self.scores.chosen.evaluation.pooled
        drawn = {
            "matrix.png": ("Confusion matrix", figures.matrices(pooled, legend.names)),
            "classes.png": (f"{class_titles()} of each class", figures.class_bars(pooled, legend)),
        }
        if len(self.rows) > 1:
            bounded = [metric.name for metric in SHOWN if not metric.smaller_is_better]  # the plot ends at 1
            metrics = [*bounded, *(f"iou {name}" for name in legend.names)]
            values = {catalogue.title(name): [row.metrics[name] for row in self.rows] for name in metrics}
            drawn["repetitions.png"] = "What each repetition scored", dots.dots(values)
        if self.polygons:
            drawn[by_polygon.FIGURE] = by_polygon.CAPTION, by_polygon.picture(self.polygons, legend)
        for name, caption, view in self.views():
            drawn[name] = caption, figures.maps(view, legend)
            if PREVIEW not in drawn and (name.endswith("-detail.png") or self.scores.split != TEST_SPLIT):
                maps = [picture.colourise(classes, legend.palette) for classes in (view.scored, view.predicted)]
                errors = picture.errors(view.scored, view.predicted)
                drawn[PREVIEW] = "", picture.small_png(picture.hstack([view.image, *maps, errors]))
        return drawn

    def page(self, figures: Mapping[str, tuple[str, bytes]]) -> str:
        """HTML page, with the figures by file."""
        subject, scores, model = self.subject, self.scores, self.subject.chosen.model
        maps = [product for repetition in subject.repetitions for product in repetition.maps.values()]
        models, contract = [repetition.model for repetition in subject.repetitions], load_contract(model.path)
        return page.render(
            "report.html",
            links=[
                asset_link(subject.manifest.dataset.name, REPORT, subject.experiment.name),
                registered_model_link(subject.manifest.dataset.name),
                training_run_link(subject.manifest.dataset.name, contract.experiment, model.fingerprint),
            ],
            title=f"{subject.manifest.dataset.name} · {subject.experiment.name}",
            verdict=self.content["verdict"],
            warnings=self.content["warnings"],
            software=software(),
            unfolded=UNFOLDED,
            worst=self.ranked_tiles()[:PICTURED],
            manifest=subject.manifest,
            experiment=subject.experiment,
            contract=contract,
            unit=unit_of_length(subject.manifest.tiles[0].grid) or "m",
            classical=isinstance(subject.experiment.model, Classical),
            model=model,
            learnt=model.json(SUMMARY) if SUMMARY in model.files else {},
            report=self.content,
            shown=SHOWN,
            class_metrics=CLASS_METRICS,
            evaluation=scores.chosen.evaluation,
            test_split=scores.split == TEST_SPLIT,
            minor=subject.minor,
            seeds_spread=spreads([self.row(score).metrics for score in scores.seed_groups]),
            figures=figures,
            maps={name: figure for name, figure in figures.items() if name.startswith("tile-")},
            stages=resource_usage(subject.manifest, models, maps, subject.home),
        )

    def write(self, stage: Stage) -> None:
        """Writes all files of the product."""
        stage.write_json(REPORT_JSON, self.content)
        stage.write_json(SUMMARY, self.summary())
        for name, text in self.tables().items():
            (stage.path / name).write_text(text, encoding="utf-8")
        figures = self.figures()
        for name, (_, data) in figures.items():
            (stage.path / name).write_bytes(data)
        (stage.path / PAGE).write_text(self.page(figures), encoding="utf-8")


def build(
    manifest: DatasetManifest, experiment: Experiment, repetitions: Sequence[Repetition], chosen: str, home: Path
) -> Product:
    """Publishes the report of an experiment: index.html, report.json, CSV tables and figures.

    Args:
        manifest: the dataset's.
        experiment: its configuration.
        repetitions: its trained models with their maps; one, where it does not repeat.
        chosen: name of the repetition that is best on validation: choosing by test would flatter.
        home: folder everything is written below.

    Raises:
        ContractError: a model was trained on other data than the manifest's or its fold's.
        IncompleteError: a map is missing, or there is nothing to score on.
        GridError: a map does not fit its labels.
    """
    best = next(repetition for repetition in repetitions if repetition.name == chosen)
    subject = Subject(manifest, experiment, tuple(repetitions), best, home)

    def write(stage: Stage) -> None:
        scores = score_repetitions(manifest, repetitions, chosen, home)
        Report(subject, scores, by_polygon.rows(manifest, best.maps, home)).write(stage)

    return publish.publish(home / manifest.dataset.name / REPORT, experiment.name, subject.recipe(), write)


def class_titles() -> str:
    """Titles of the metrics of a class: 'Recall, precision, F1 and IoU'."""
    *titles, last = (metric.class_title for metric in CLASS_METRICS)
    text = f"{', '.join(titles)} and {last}"
    return text[0].upper() + text[1:]


def total_area(areas: Sequence[float | None]) -> float | None:
    """Sum of areas; None where one is unknown, or there is none."""
    known = [area for area in areas if area is not None]
    return sum(known) if known and len(known) == len(areas) else None


def resource_usage(
    manifest: DatasetManifest, models: Sequence[Product], predictions: Sequence[Product], home: Path
) -> dict[str, tuple[int, Cost]]:
    """Resource usage by stage: number of products and what building them took."""
    try:
        manifests = [products.current_manifest(home, manifest.dataset.name)]
    except IncompleteError:
        manifests = []
    labelled = [entry for entry in manifest.tiles if entry.label_fingerprint is not None]
    stages = {
        GROUND_TRUTH: [publish.load(home / entry.ground_truth) for entry in labelled],
        PATCHES: [publish.load(home / entry.patches) for entry in labelled],
        DATASET_MANIFEST: manifests,
        MODEL: models,
        PREDICTION: predictions,
    }
    return {name: (len(built), total_cost([product.cost for product in built])) for name, built in stages.items()}


def total_cost(costs: Sequence[Cost]) -> Cost:
    """Sum of times, bytes and files, None where one is unknown; the highest peak of those that are known."""

    def known(name: str) -> list[Any]:
        return [value for cost in costs if (value := getattr(cost, name)) is not None]

    def total(name: str) -> Any:
        return sum(known(name)) if len(known(name)) == len(costs) and costs else None

    return Cost(total("wall_s"), total("cpu_s"), max(known("peak_bytes"), default=None), total("bytes"), total("files"))


def current_reports(dataset: Dataset, home: Path) -> dict[str, Product]:
    """Experiment -> its report, of those made of the present manifest and models by the present code.

    Raises:
        IncompleteError: there is no manifest.
    """
    data_digest, reports = load_current(home, dataset.name).digest, {}
    for name in experiments_of(dataset):
        try:
            product = products.current(home, dataset.name, REPORT, name)
            models = {key: model.fingerprint for key, model in current_models(home, dataset.name, name).items()}
        except IncompleteError:
            continue
        if (product.recipe.version, product.recipe.configuration.get("metrics")) != (VERSION, METRIC_NAMES):
            continue  # what reads it expects the present contents
        content = product.json(REPORT_JSON)
        if (content["data_digest"], content.get("models")) == (data_digest, models):
            reports[name] = product
    return reports
