"""Every experiment of a dataset in one table, on the same test pixels, above or below the floors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch import confusion, page, publish
from landcover_orch.confusion import Counts
from landcover_orch.errors import GridError, Problem
from landcover_orch.experiment import Classical
from landcover_orch.experiment.models import Ensemble
from landcover_orch.model.contract import load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.publish import Product, Stage
from landcover_orch.report import VERSION
from landcover_orch.report.build import PAGE, REPORT, SUMMARY
from landcover_orch.report.floors import trivial
from landcover_orch.report.tables import csv_text

NAME = "leaderboard"
MEASURES = ("mean_iou", "accuracy", "mean_f1", "mean_precision", "mean_recall", "kappa", "mcc")
THROUGHPUT = "throughput.json"

Row = dict[str, Any]


def build(
    manifest: DatasetManifest,
    reports: Mapping[str, Product],
    models: Mapping[str, Product],
    home: Path,
    floors: Collection[str] = (),
) -> Product:
    """The published leaderboard: index.html, leaderboard.csv and summary.json, the best mean IoU first.

    Two floors that look at no pixel always stand on it. All means are over the classes that occur among the test
    pixels: the same for every row. Training time and images a second are those of the model as it was built; all else
    follows from the recipe.

    Args:
        manifest: the dataset.
        reports: experiment -> its report.
        models: experiment -> its model.
        home: folder everything is written below.
        floors: the experiments that the others should beat.

    Raises:
        GridError: reports whose test pixels or labels are not the manifest's; all of them are named.
    """
    contents = {name: report.json(REPORT) for name, report in reports.items()}
    _require_one_test(manifest, contents)
    recipe = {
        "room": NAME,
        "version": VERSION,
        "inputs": {
            "manifest": manifest.digest,
            **{f"report {name}": product.fingerprint for name, product in reports.items()},
            **{f"model {name}": product.fingerprint for name, product in models.items()},
        },
        "configuration": {"test_digest": manifest.test_digest, "floors": sorted({*floors} & {*reports})},
    }
    unread = [_row(name, matrix, floor=True) | {"model": how} for name, (how, matrix) in trivial(manifest).items()]
    read = [_experiment(name, contents[name], models[name], floor=name in floors) for name in reports]
    rows = sorted(_above([*unread, *read]), key=_rank)
    return publish.publish(
        home / manifest.dataset.name / NAME, NAME, recipe, lambda stage: _write(stage, manifest, rows, [*reports])
    )


def _require_one_test(manifest: DatasetManifest, contents: Mapping[str, Any]) -> None:
    wrong = [
        Problem(
            f"report of {name}",
            f"scored on test data {content['test_digest']}",
            f"{manifest.test_digest}, as all others",
            "materialise `prediction` and `report` of the experiment again",
        )
        for name, content in contents.items()
        if content["test_digest"] != manifest.test_digest
    ]
    if wrong:
        raise GridError(*wrong)


def _row(name: str, matrix: Counts, *, floor: bool) -> Row:
    """Everything that follows from a matrix; what is known of a model alone is None."""
    occurring = confusion.occurring(matrix)
    precise = [value for value, occurs in zip(confusion.precision(matrix), occurring, strict=True) if occurs]
    measures = confusion.summary(matrix, occurring)
    return {
        "experiment": name,
        "floor": floor,
        "above_floor": None,
        **{measure: measures[measure] for measure in MEASURES},
        "classes_found": sum(value is not None for value in precise),
        "model": None,
        "prediction": None,
        "parameters": None,
        "epochs": None,
        "images_per_second": None,
        "training_s": None,
    }


def _experiment(name: str, content: Any, model: Product, *, floor: bool) -> Row:
    learnt = model.json(SUMMARY) if SUMMARY in model.files else {}
    settings = load_contract(model.path).model
    measured = model.json(THROUGHPUT)["images_per_second"] if THROUGHPUT in model.files else {}
    return {
        **_row(name, np.array(content["matrix"], np.int64), floor=floor),
        "model": settings.words(),
        "prediction": content.get("prediction") or None,
        "parameters": learnt.get("parameters"),
        "epochs": None if isinstance(settings, Classical | Ensemble) else learnt.get("epochs"),
        "images_per_second": measured.get("step"),
        "training_s": model.cost.wall_s,
    }


def _above(rows: list[Row]) -> list[Row]:
    """The rows, with how much mean IoU each that is no floor has more than the best floor."""
    best = _best_floor(rows)
    if best is None:
        return rows
    return [row if row["floor"] else {**row, "above_floor": _difference(row, best)} for row in rows]


def _best_floor(rows: list[Row]) -> Row | None:
    return min((row for row in rows if row["floor"] and row["mean_iou"] is not None), key=_rank, default=None)


def _difference(row: Row, floor: Row) -> float | None:
    return None if row["mean_iou"] is None else row["mean_iou"] - floor["mean_iou"]


def _rank(row: Mapping[str, Any]) -> tuple[float, str]:
    return -(row["mean_iou"] if row["mean_iou"] is not None else -1.0), row["experiment"]


def _write(stage: Stage, manifest: DatasetManifest, rows: list[Row], experiments: list[str]) -> None:
    header = [*_row("", np.zeros((1, 1), np.int64), floor=False)]
    (stage.path / "leaderboard.csv").write_text(csv_text(header, (row.values() for row in rows)), encoding="utf-8")
    nobody = {"experiment": None, "mean_iou": None}
    best, floor = next((row for row in rows if row["experiment"] in experiments), nobody), _best_floor(rows)
    tested = np.sum([tile.class_pixels["test"] for tile in manifest.tiles], axis=0)
    classes = [name for name, pixels in zip(manifest.legend.names, tested, strict=True) if pixels]
    summary = {
        "experiments": len(experiments),
        "best": best["experiment"],
        "best_mean_iou": best["mean_iou"],
        "best_floor": (floor or nobody)["experiment"],
        "best_floor_mean_iou": (floor or nobody)["mean_iou"],
        "below_the_floor": [row["experiment"] for row in rows if (row["above_floor"] or 0) < 0],
        "means_over": classes,
        "leaderboard": rows,
    }
    stage.write_json(SUMMARY, summary)
    title = f"{manifest.dataset.name} · leaderboard"
    html = page.render("report/leaderboard.html", title=title, rows=rows, manifest=manifest, summary=summary)
    (stage.path / PAGE).write_text(html, encoding="utf-8")
