"""Every experiment of a dataset in one table, on the same test pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landcover_orch import page, publish
from landcover_orch.errors import GridError, Problem
from landcover_orch.model.contract import load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.publish import Product, Stage
from landcover_orch.report import VERSION
from landcover_orch.report.build import PAGE, REPORT, SUMMARY
from landcover_orch.report.tables import csv_text

NAME = "leaderboard"
MEASURES = ("mean_iou", "accuracy", "mean_f1", "mean_precision", "mean_recall", "kappa", "mcc")


def build(
    manifest: DatasetManifest, reports: Mapping[str, Product], models: Mapping[str, Product], home: Path
) -> Product:
    """The published leaderboard: index.html, leaderboard.csv and summary.json, the best mean IoU first.

    Training time is that of the model as it was built; all else follows from the recipe.

    Raises:
        GridError: reports whose test pixels or labels are not the manifest's; all of them are named.
    """
    contents = {name: report.json(REPORT) for name, report in reports.items()}
    _require_one_test(manifest, contents)
    recipe = {
        "room": NAME,
        "version": VERSION,
        "inputs": {
            **{f"report {name}": product.fingerprint for name, product in reports.items()},
            **{f"model {name}": product.fingerprint for name, product in models.items()},
        },
        "configuration": {"test_digest": manifest.test_digest},
    }
    rows = sorted((_row(name, contents[name], models[name]) for name in reports), key=_rank)
    return publish.publish(
        home / manifest.dataset.name / NAME, NAME, recipe, lambda stage: _write(stage, manifest, rows)
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


def _row(name: str, content: Any, model: Product) -> dict[str, Any]:
    learnt = model.json(SUMMARY) if SUMMARY in model.files else {}
    return {
        "experiment": name,
        **{measure: content["metrics"][measure] for measure in MEASURES},
        "model": load_contract(model.path).model.words(),
        "parameters": learnt.get("parameters"),
        "epochs": learnt.get("epochs"),
        "training_s": model.cost.wall_s,
    }


def _rank(row: Mapping[str, Any]) -> tuple[float, str]:
    return -(row["mean_iou"] if row["mean_iou"] is not None else -1.0), row["experiment"]


def _write(stage: Stage, manifest: DatasetManifest, rows: list[dict[str, Any]]) -> None:
    header = list(rows[0]) if rows else ["experiment", *MEASURES]
    (stage.path / "leaderboard.csv").write_text(csv_text(header, (row.values() for row in rows)), encoding="utf-8")
    best = rows[0] if rows else {"experiment": None, "mean_iou": None}
    stage.write_json(
        SUMMARY,
        {
            "experiments": len(rows),
            "best": best["experiment"],
            "best_mean_iou": best["mean_iou"],
            "leaderboard": rows,
        },
    )
    html = page.render(
        "report/leaderboard.html", title=f"{manifest.dataset.name} · leaderboard", rows=rows, manifest=manifest
    )
    (stage.path / PAGE).write_text(html, encoding="utf-8")
