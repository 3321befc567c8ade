"""The report of an experiment: matrices, metrics, figures and costs as one page, as JSON and as CSV.

Everything but the table of costs follows from the recipe; the costs are those of the products as they were built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landcover_orch import confusion, page, picture, publish
from landcover_orch.costs import Cost
from landcover_orch.errors import IncompleteError
from landcover_orch.experiment import Classical, Experiment
from landcover_orch.model.contract import load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.publish import Product, Stage
from landcover_orch.report import VERSION, views
from landcover_orch.report.evaluate import Evaluation, evaluate, tiles_to_predict
from landcover_orch.report.tables import CORNER, averaged, class_rows, csv_text, summary

PAGE, REPORT, MATRIX, METRICS, SUMMARY = "index.html", "report.json", "matrix.csv", "metrics.csv", "summary.json"
PICTURED = 4
"""Test tiles that are drawn; all are counted."""


def build(
    manifest: DatasetManifest, experiment: Experiment, model: Product, predictions: Mapping[str, Product], home: Path
) -> Product:
    """The published report of an experiment's maps: index.html, report.json, matrix.csv, metrics.csv and figures.

    Raises:
        IncompleteError: a tile with test pixels has no map.
        GridError: a map does not fit its labels.
    """
    recipe = {
        "room": "report",
        "version": VERSION,
        "inputs": {
            "manifest": manifest.digest,
            "model": model.fingerprint,
            **{f"prediction {name}": product.fingerprint for name, product in predictions.items()},
        },
        "configuration": {"experiment": experiment.name, "legend": manifest.legend},
    }

    def write(stage: Stage) -> None:
        found = evaluate(manifest, predictions, home)
        _write_tables(stage, manifest, experiment, model, found)
        figures = _write_figures(stage, manifest, predictions, found, home)
        rows = costs(manifest, model, predictions, home)
        (stage.path / PAGE).write_text(_page(manifest, experiment, model, found, figures, rows), encoding="utf-8")

    return publish.publish(home / manifest.dataset.name / "report", experiment.name, recipe, write)


def _write_tables(
    stage: Stage, manifest: DatasetManifest, experiment: Experiment, model: Product, found: Evaluation
) -> None:
    names, pooled = found.classes, found.pooled
    stage.write_json(REPORT, _report(manifest, experiment, model, found))
    stage.write_json(SUMMARY, summary(names, found.tiles.values()))
    rows = ([name, *counts] for name, counts in zip(names, pooled.tolist(), strict=True))
    (stage.path / MATRIX).write_text(csv_text([CORNER, *names], rows), encoding="utf-8")
    measures = class_rows(names, pooled)
    (stage.path / METRICS).write_text(csv_text(measures[0], (row.values() for row in measures)), encoding="utf-8")


def _report(manifest: DatasetManifest, experiment: Experiment, model: Product, found: Evaluation) -> dict[str, Any]:
    pooled = found.pooled
    return {
        "dataset": manifest.dataset.name,
        "experiment": experiment.name,
        "model": model.fingerprint,
        "prediction": experiment.prediction.words(),
        "data_digest": manifest.digest,
        "test_digest": manifest.test_digest,
        "classes": list(found.classes),
        "axes": ["actual", "predicted"],
        "matrix": pooled.tolist(),
        "normalised_by_actual": confusion.normalised(pooled, "actual"),
        "normalised_by_predicted": confusion.normalised(pooled, "predicted"),
        "metrics": summary(found.classes, found.tiles.values()),
        "means_over": averaged(found.classes, pooled),
        "per_class": class_rows(found.classes, pooled),
        "tiles": {
            name: {"matrix": matrix.tolist(), "metrics": summary(found.classes, [matrix])}
            for name, matrix in found.tiles.items()
        },
    }


def _write_figures(
    stage: Stage, manifest: DatasetManifest, predictions: Mapping[str, Product], found: Evaluation, home: Path
) -> dict[str, bytes]:
    """Writes each figure as PNG; gives them by caption."""
    from landcover_orch.report import figures

    drawn = {
        "matrix.png": ("Confusion matrix", figures.matrices(found.pooled, found.classes)),
        "classes.png": (
            "Precision, recall, F1 and IoU of each class",
            figures.class_bars(found.pooled, manifest.legend),
        ),
    }
    for entry in tiles_to_predict(manifest)[:PICTURED]:
        whole = views.whole(manifest, entry, predictions[entry.name], home)
        detail = views.detail(manifest, entry, predictions[entry.name], home, whole)
        drawn[f"tile-{entry.name}.png"] = f"Tile {entry.name}", figures.maps(whole, manifest.legend)
        drawn[f"tile-{entry.name}-detail.png"] = (
            f"Tile {entry.name}, a detail at full resolution",
            figures.maps(detail, manifest.legend),
        )
        if not (stage.path / "preview.png").exists():
            (stage.path / "preview.png").write_bytes(_preview(detail, manifest))
    for name, (_, data) in drawn.items():
        (stage.path / name).write_bytes(data)
    return dict(drawn.values())


def _preview(view: Any, manifest: DatasetManifest) -> bytes:
    palette = manifest.legend.palette
    maps = [picture.colourise(classes, palette) for classes in (view.scored, view.predicted)]
    return picture.small_png(picture.beside([view.image, *maps, picture.errors(view.scored, view.predicted)]))


def costs(
    manifest: DatasetManifest, model: Product, predictions: Mapping[str, Product], home: Path
) -> dict[str, tuple[int, Cost]]:
    """Stage -> number of products and what building them took: times and bytes summed, the highest peak."""
    truths = [publish.load(home / entry.ground_truth) for entry in manifest.tiles]
    stores = [publish.load(home / entry.patches) for entry in manifest.tiles]
    stages = {
        "ground_truth": truths,
        "patches": stores,
        "dataset_manifest": _manifests(manifest, home),
        "model": [model],
        "prediction": list(predictions.values()),
    }
    return {name: (len(products), _total([p.cost for p in products])) for name, products in stages.items()}


def _manifests(manifest: DatasetManifest, home: Path) -> list[Product]:
    folder = home / manifest.dataset.name / "dataset_manifest"
    try:
        return [publish.current(folder, path.name) for path in sorted(folder.iterdir()) if path.is_symlink()]
    except (FileNotFoundError, IncompleteError):
        return []


def _total(found: Sequence[Cost]) -> Cost:
    def known(name: str) -> list[Any]:
        return [value for cost in found if (value := getattr(cost, name)) is not None]

    def total(name: str) -> Any:
        return sum(known(name)) if len(known(name)) == len(found) and found else None

    return Cost(total("wall_s"), total("cpu_s"), max(known("peak_bytes"), default=None), total("bytes"), total("files"))


def _page(
    manifest: DatasetManifest,
    experiment: Experiment,
    model: Product,
    found: Evaluation,
    figures: Mapping[str, bytes],
    stages: Mapping[str, tuple[int, Cost]],
) -> str:
    return page.render(
        "report/report.html",
        title=f"{manifest.dataset.name} · {experiment.name}",
        manifest=manifest,
        experiment=experiment,
        contract=load_contract(model.path),
        classical=isinstance(experiment.model, Classical),
        model=model,
        learnt=model.json(SUMMARY) if SUMMARY in model.files else {},
        found=found,
        metrics=summary(found.classes, found.tiles.values()),
        means_over=averaged(found.classes, found.pooled),
        rows=class_rows(found.classes, found.pooled),
        shares={axis: confusion.normalised(found.pooled, axis) for axis in ("actual", "predicted")},
        per_tile={name: summary(found.classes, [matrix]) for name, matrix in found.tiles.items()},
        figures=figures,
        stages=stages,
    )
