"""Every experiment of a dataset in one table, on the same test pixels, above or below the baselines."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch.config.experiments.repetitions import base_of
from landcover_orch.errors import GridError, Problem
from landcover_orch.evaluation import VERSION
from landcover_orch.evaluation.baselines import scored_pixels, trivial
from landcover_orch.evaluation.build import HEADLINE, PAGE, REPORT, SUMMARY
from landcover_orch.evaluation.choices import COLUMNS
from landcover_orch.evaluation.repetition import TEST_SIDE
from landcover_orch.evaluation.tables import csv_text, without
from landcover_orch.metrics import confusion
from landcover_orch.metrics.confusion import Counts, Value
from landcover_orch.metrics.spread import Spread, spread
from landcover_orch.pages import page
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe, Stage

NAME = "leaderboard"
TABLE, COMPETITION, FIGURE = "leaderboard.csv", "competition.csv", "leaderboard.png"
THROUGHPUT = "throughput.json"
MEASURES = ("mean_iou", *(name for name in HEADLINE if name != "mean_iou"))

Row = dict[str, Any]
Models = Mapping[str, Mapping[str, Product]]
"""Experiment -> repetition -> model."""


def build(
    manifest: DatasetManifest,
    reports: Mapping[str, Product],
    models: Models,
    home: Path,
    baselines: Collection[str] = (),
) -> Product:
    """The published leaderboard: index.html, leaderboard.csv, competition.csv and summary.json, best mean IoU first.

    An experiment is its repetitions' mean, with their standard deviation. Two baselines that look at no pixel always
    stand on it. All means over classes are over those that occur among the test pixels: the same for every row. Times
    and images a second are those of the models as they were built; all else follows from the recipe.

    Args:
        manifest: the dataset.
        reports: experiment -> its report.
        models: experiment -> repetition -> model.
        home: folder everything is written below.
        baselines: the experiments that the others should beat.

    Raises:
        GridError: reports of another manifest, of other test pixels or labels, or with a repetition that was trained
            on another manifest; all of them are named.
    """
    contents = {name: report.json(REPORT) for name, report in reports.items()}
    _require_one_ground(manifest, contents)
    recipe = Recipe(
        asset=NAME,
        version=VERSION,
        inputs={
            "manifest": manifest.digest,
            **{f"report {name}": product.fingerprint for name, product in reports.items()},
            **{f"model {name}": product.fingerprint for found in models.values() for name, product in found.items()},
        },
        configuration={
            "test_digest": manifest.test_digest,
            "baselines": sorted({*baselines} & {*reports}),
            "minor": manifest.dataset.minor,
        },
    )
    rows = _ranked(manifest, contents, models, baselines)
    return publish.publish(
        home / manifest.dataset.name / NAME, NAME, recipe, lambda stage: _write(stage, manifest, rows, contents)
    )


def _require_one_ground(manifest: DatasetManifest, contents: Mapping[str, Any]) -> None:
    wrong = [
        Problem(f"report of {name}", f"{what} {found}", f"{expected}, as all others", fix)
        for name, content in contents.items()
        for what, found, expected, fix in _grounds(manifest, content)
        if found != expected
    ]
    if wrong:
        raise GridError(*wrong)


def _grounds(manifest: DatasetManifest, content: Any) -> Iterable[tuple[str, str, str, str]]:
    """What a report stands on, and what it should; folds were held against the manifest where they were scored."""
    again = "materialise `prediction` and `report` of the experiment again"
    anew = "materialise `model` of the experiment again"
    yield "scored on test data", content["test_digest"], manifest.test_digest, again
    yield "made of manifest", content["data_digest"], manifest.digest, again
    for name, digest in content["trained_on"].items():
        if ".fold-" not in name:
            yield f"repetition {name} trained on manifest", digest, manifest.digest, anew


def _ranked(
    manifest: DatasetManifest, contents: Mapping[str, Any], models: Models, baselines: Collection[str]
) -> list[Row]:
    minor = manifest.dataset.minor
    measured = {name: _measured(content, manifest) for name, content in contents.items()}
    values = {name: one["mean_iou"] for found in measured.values() for name, one in found.items()}
    unread = [
        _row(name, {name: _measures(matrix, manifest)}, minor) | {"baseline": True, "model": how}
        for name, (how, matrix) in trivial(manifest).items()
    ]
    read = [
        {
            **_row(name, measured[name], minor),
            "baseline": name in baselines,
            **_gain(content, values),
            **_out_of_fold(content, manifest),
            **content["choices"],
            **_learnt(content, models[name]),
        }
        for name, content in contents.items()
    ]
    return sorted(_above([*unread, *read]), key=_rank)


def _measured(content: Any, manifest: DatasetManifest) -> dict[str, dict[str, Value]]:
    """Repetition -> measures."""
    return {one["name"]: _measures(np.array(one["matrix"], np.int64), manifest) for one in content["repetitions"]}


def _measures(matrix: Counts, manifest: DatasetManifest) -> dict[str, Value]:
    """Measures of a matrix, means over the classes that occur in it as actual."""
    among = confusion.occurring(matrix)
    precise = [value for value, occurs in zip(confusion.precision(matrix), among, strict=True) if occurs]
    return {
        **confusion.summary(matrix, among),
        **without(manifest.legend.names, matrix, manifest.dataset.minor, among),
        "classes_found": sum(value is not None for value in precise),
    }


def _row(name: str, measured: Mapping[str, Mapping[str, Value]], minor: Sequence[str]) -> Row:
    """An experiment's means and standard deviations; what is known of a model alone is None."""
    found = {measure: spread(one[measure] for one in measured.values()) for measure in _compared(minor)}
    return {
        "experiment": name,
        "baseline": False,
        "above_baseline": None,
        "repetitions": len(measured),
        **{column: value for measure, over in found.items() for column, value in _columns(measure, over).items()},
        "classes_found": min((one["classes_found"] or 0 for one in measured.values()), default=0),
        "out_of_fold_mean_iou": None,
        **dict.fromkeys(("gain", "gain_sd", "gain_n", "stands_on")),
        **dict.fromkeys(COLUMNS),
        **dict.fromkeys(("parameters", "epochs_trained", "images_per_second", "training_s", "training_cpu_s")),
    }


def _compared(minor: Sequence[str]) -> list[str]:
    return [*MEASURES, *([f"{mean} without {', '.join(minor)}" for mean in ("mean_iou", "mean_f1")] if minor else [])]


def _columns(measure: str, found: Spread) -> dict[str, Value]:
    return {measure: found["mean"], f"{measure}_sd": found["sd"]}


def _gain(content: Any, values: Mapping[str, Value]) -> Row:
    """What an ensemble's mean IoU has more than the mean of what it stands on, repetition by repetition."""
    gains = [
        own - statistics.fmean(members)
        for one in content["repetitions"]
        if (own := values[one["name"]]) is not None and (members := _known(one["stands_on"], values))
    ]
    found, names = spread(gains), dict.fromkeys(m for one in content["repetitions"] for m in one["stands_on"])
    told = {"gain": found["mean"], "gain_sd": found["sd"], "gain_n": found["n"] or None}
    return {**told, "stands_on": ", ".join(names) or None}


def _known(names: Sequence[str], values: Mapping[str, Value]) -> list[float]:
    """The values of these, of a recipe those of its repetitions; none where one has none, as a registered version."""
    found = [[v for one, v in values.items() if name in (one, base_of(one)) and v is not None] for name in names]
    return [value for each in found for value in each] if all(found) else []


def _out_of_fold(content: Any, manifest: DatasetManifest) -> Row:
    """The mean over seeds of the mean IoU out of fold, where an experiment has folds."""
    folded = content["out_of_fold"]
    seeds = [_measures(np.array(one["matrix"], np.int64), manifest) for one in folded["seeds"]] if folded else []
    return {"out_of_fold_mean_iou": spread(one["mean_iou"] for one in seeds)["mean"]}


def _learnt(content: Any, models: Mapping[str, Product]) -> Row:
    """What the models say of themselves: the chosen one's parameters, means of all else."""
    told = {name: product.json(SUMMARY) if SUMMARY in product.files else {} for name, product in models.items()}
    measured = {name: product.json(THROUGHPUT) for name, product in models.items() if THROUGHPUT in product.files}
    stepped = content["choices"]["epochs"] is not None
    return {
        "parameters": told[content["chosen"]].get("parameters"),
        "epochs_trained": spread(one.get("epochs") for one in told.values())["mean"] if stepped else None,
        "images_per_second": spread(one["images_per_second"].get("step") for one in measured.values())["mean"],
        "training_s": spread(_seconds(models[name], measured.get(name, {})) for name in models)["mean"],
        "training_cpu_s": spread(product.cost.cpu_s for product in models.values())["mean"],
    }


def _seconds(model: Product, measured: Mapping[str, Any]) -> Value:
    """Wall time of a training; of one that was interrupted at least that of all its epochs."""
    known = [second for second in (model.cost.wall_s, sum(measured.get("epoch_seconds", ())) or None) if second]
    return max(known, default=None)


def _above(rows: list[Row]) -> list[Row]:
    """The rows, with how much mean IoU each that is no baseline has more than the best baseline."""
    best = _best_baseline(rows)
    if best is None:
        return rows
    return [row if row["baseline"] else {**row, "above_baseline": _difference(row, best)} for row in rows]


def _best_baseline(rows: list[Row]) -> Row | None:
    return min((row for row in rows if row["baseline"] and row["mean_iou"] is not None), key=_rank, default=None)


def _difference(row: Row, baseline: Row) -> float | None:
    return None if row["mean_iou"] is None else row["mean_iou"] - baseline["mean_iou"]


def _rank(row: Mapping[str, Any]) -> tuple[float, str]:
    return -(row["mean_iou"] if row["mean_iou"] is not None else -1.0), row["experiment"]


def competition(rows: Sequence[Row]) -> list[Row]:
    """Experiments by overall accuracy, then by training time, with what such a table traditionally tells.

    The stride factor is the step between patches over their side: the published 'overlap' of the Vaihingen study.
    """

    def order(row: Row) -> tuple[float, float, str]:
        seconds = row["training_s"] if row["training_s"] is not None else float("inf")
        return -(row["accuracy"] or 0.0), seconds, row["experiment"]

    return [
        {
            "rank": rank,
            "experiment": row["experiment"],
            "accuracy": row["accuracy"],
            "accuracy_sd": row["accuracy_sd"],
            "training_s": row["training_s"],
            "optimiser": row["optimiser"],
            "learning_rate": row["learning_rate"],
            "stride_factor": round(row["patch_stride"] / row["patch_size"], 3),
            "epochs": row["epochs"],
            "augmentation": row["augmentation"],
            "device": row["device"],
            "launcher": row["launcher"],
        }
        for rank, row in enumerate(sorted(rows, key=order), 1)
    ]


def _write(stage: Stage, manifest: DatasetManifest, rows: list[Row], contents: Mapping[str, Any]) -> None:
    reported = [row for row in rows if row["experiment"] in contents]
    ranked, summary = competition(reported), _summary(manifest, rows, contents)
    header = [*_row("", {}, manifest.dataset.minor)]
    (stage.path / TABLE).write_text(csv_text(header, ([row[name] for name in header] for row in rows)), "utf-8")
    entries = [*ranked[0]] if ranked else ["rank", "experiment"]
    (stage.path / COMPETITION).write_text(csv_text(entries, (row.values() for row in ranked)), "utf-8")
    stage.write_json(SUMMARY, {**summary, "leaderboard": rows, "competition": ranked})
    figure = _figure(manifest, rows, contents)
    if figure:
        (stage.path / FIGURE).write_bytes(figure)
    alike, differing = _differing(reported)
    html = page.render(
        "leaderboard.html",
        title=f"{manifest.dataset.name} · leaderboard",
        rows=rows,
        reported=[*contents],
        competition=ranked,
        manifest=manifest,
        summary=summary,
        figure=figure,
        minor=manifest.dataset.minor,
        alike=alike,
        differing=differing,
    )
    (stage.path / PAGE).write_text(html, encoding="utf-8")


def _figure(manifest: DatasetManifest, rows: list[Row], contents: Mapping[str, Any]) -> bytes | None:
    """Mean IoU of each experiment's repetitions, baselines as lines; None where no experiment was reported."""
    from landcover_orch.evaluation import dots

    lines = {row["experiment"]: row["mean_iou"] for row in rows if row["baseline"] and row["mean_iou"] is not None}
    names = [row["experiment"] for row in rows if row["experiment"] in contents and not row["baseline"]]
    shown = {name: [one["mean_iou"] for one in _measured(contents[name], manifest).values()] for name in names}
    return dots.dots(shown, baselines=lines) if shown else None


def _summary(manifest: DatasetManifest, rows: list[Row], contents: Mapping[str, Any]) -> Row:
    nobody = {"experiment": None, "mean_iou": None}
    best, baseline = next((row for row in rows if row["experiment"] in contents), nobody), _best_baseline(rows)
    classes = [name for name, pixels in zip(manifest.legend.names, scored_pixels(manifest), strict=True) if pixels]
    return {
        "experiments": len(contents),
        "best": best["experiment"],
        "best_mean_iou": best["mean_iou"],
        "best_baseline": (baseline or nobody)["experiment"],
        "best_baseline_mean_iou": (baseline or nobody)["mean_iou"],
        "below_the_baseline": [row["experiment"] for row in rows if (row["above_baseline"] or 0) < 0],
        "scored_on": next((content["scored_on"] for content in contents.values()), TEST_SIDE),
        "means_over": classes,
    }


def _differing(rows: Sequence[Row]) -> tuple[Row, list[str]]:
    """The choices that all experiments share, and the columns in which they differ."""
    known = {name: {row[name] for row in rows} - {None} for name in COLUMNS}
    alike = {name: found.copy().pop() for name, found in known.items() if len(found) == 1}
    return alike, [name for name, found in known.items() if len(found) > 1]
