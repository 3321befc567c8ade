"""Class proportions of a dataset's units by its maps: a table, the challenge's submission, and its score.

The map's pixels are counted, not probabilities: the maps keep the best class and its confidence alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import raster
from landcover_orch.config import Dataset, Proportions
from landcover_orch.errors import ConfigError, IncompleteError, Problem
from landcover_orch.evaluation import VERSION
from landcover_orch.evaluation.proportions.units import Unit, UnitRow, units
from landcover_orch.evaluation.tables import csv_text
from landcover_orch.legend import left_out_problems
from landcover_orch.metrics.proportions import divergences
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.splits import EXCLUDED, TEST, TRAIN, VALIDATION
from landcover_orch.store import publish
from landcover_orch.store.products import CLASS_MAP, CLASS_RASTER, PREVIEW, PROPORTIONS, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage

CSV, PARQUET, SUBMISSION, FIGURE = "proportions.csv", "proportions.parquet", "submission.csv", "proportions.png"

SPLITS = {TRAIN: "train", VALIDATION: "validation", TEST: "test", EXCLUDED: "excluded"}
MIXED, UNLABELLED = "mixed", "unlabelled"


def build(
    manifest: DatasetManifest, dataset: Dataset, maps: Mapping[str, Product], home: Path, name: str = PROPORTIONS
) -> Product:
    """Publishes the class proportions of every unit of some maps as proportions/<name>.

    proportions.csv and .parquet have a row a unit (see `UnitRow`), submission.csv what the Sentinel-2 challenge takes
    (see `submission`). summary.json holds the score.

    Args:
        manifest: holds the tiles' ground truth.
        dataset: what a unit is, and which classes are left out.
        maps: tile -> its map.
        home: folder everything is written below.
        name: of the product.

    Raises:
        ConfigError: a class that is left out is none of the legend's.
        IncompleteError: there is no map.
    """
    where, excluded = f"configs/datasets/{dataset.name}.yaml: proportions.exclude_classes", dataset.proportions
    problems = left_out_problems(excluded.exclude_classes, list(manifest.legend.names), where, "predicted")
    if problems:
        raise ConfigError(*problems)
    if not maps:
        where, fix = f"proportions of {dataset.name}", "materialise `land_cover_map`"
        raise IncompleteError(Problem(where, "no map", "a map of one tile at least", fix))
    recipe = Recipe(
        asset=PROPORTIONS,
        version=VERSION,
        inputs={"manifest": manifest.digest, **{f"map {tile}": product.fingerprint for tile, product in maps.items()}},
        configuration={
            "proportions": dataset.proportions,
            "patches": dataset.patches,
            "splits": dataset.splits,
            "legend": manifest.legend,
        },
    )
    folder = home / dataset.name / PROPORTIONS
    return publish.publish(folder, name, recipe, lambda stage: _write(stage, manifest, dataset, maps, home))


def _write(stage: Stage, manifest: DatasetManifest, dataset: Dataset, maps: Mapping[str, Product], home: Path) -> None:
    from landcover_orch.evaluation.proportions import figures

    legend, settings = manifest.legend, dataset.proportions
    labels = {entry.name: home / entry.ground_truth / CLASS_RASTER for entry in manifest.tiles if entry.name in maps}
    counted = units(
        dataset,
        len(legend.classes),
        {tile: raster.inspect(product.file(CLASS_MAP)) for tile, product in maps.items()},
        {tile: raster.inspect(path) for tile, path in labels.items()},
    )
    rows = table(counted, legend.names, settings.exclude_classes)
    lines = [row.columns() for row in rows]
    (stage.path / CSV).write_text(csv_text([*lines[0]], (line.values() for line in lines)), encoding="utf-8")
    write_parquet(stage.path / PARQUET, lines)
    (stage.path / SUBMISSION).write_text(submission(rows, legend.names), encoding="utf-8")
    figure = figures.proportions(rows, legend, settings.exclude_classes)
    (stage.path / FIGURE).write_bytes(figure)
    (stage.path / PREVIEW).write_bytes(figures.reduced(figure))
    stage.write_json(SUMMARY, summary(rows, settings))


def submission(rows: Sequence[UnitRow], names: Sequence[str]) -> str:
    """Submission of the challenge as CSV: `id` and a fraction of every class in order, of the units without labels.

    Where all have labels it is of all. A unit in which nothing counts has no fractions and is left out.
    """
    mapped = [row for row in rows if row.pixels]
    submitted = [row for row in mapped if row.split == UNLABELLED] or mapped
    return csv_text(["id", *names], ([row.id, *(row.mapped[name] for name in names)] for row in submitted))


def table(counted: Sequence[Unit], names: Sequence[str], exclude_classes: Sequence[str] = ()) -> list[UnitRow]:
    """Class proportions of units, a row each.

    Args:
        counted: the units.
        names: of the classes.
        exclude_classes: those whose pixels do not count.
    """
    included = np.array([name not in exclude_classes for name in names])
    shape = (len(counted), len(names))
    mapped = np.array([unit.mapped[: len(names)] * included for unit in counted]).reshape(shape)
    labelled = np.array([unit.labelled[: len(names)] * included for unit in counted]).reshape(shape)
    kl = divergences(labelled, mapped)
    rows = []
    for i, unit in enumerate(counted):
        pixels, present = int(mapped[i].sum()), np.flatnonzero(unit.roles).tolist()
        split = UNLABELLED if not present else SPLITS[present[0]] if len(present) == 1 else MIXED
        row = UnitRow(
            id=unit.name,
            tile=" ".join(unit.tiles),
            row=unit.row,
            col=unit.col,
            split=split,
            pixels=pixels,
            ignored=int(unit.mapped.sum()) - pixels,
            labelled=int(labelled[i].sum()),
            mapped=dict(zip(names, class_fractions(mapped[i]), strict=True)),
            actual=dict(zip(names, class_fractions(labelled[i]), strict=True)),
            kl=None if np.isnan(kl[i]) else float(kl[i]),
        )
        rows.append(row)
    return rows


def class_fractions(counts: NDArray[np.int64]) -> list[float | None]:
    """Class fractions of pixel counts; None where nothing counts."""
    total = int(counts.sum())
    return [count / total if total else None for count in counts.tolist()]


def summary(rows: Sequence[UnitRow], settings: Proportions) -> dict[str, Any]:
    """Score of the Sentinel-2 challenge: how many units there are, and the mean divergence over those of each split.

    Mean over units of KL(y, p) = sum (y + e) ln((y + e) / (p + e)), e = 1e-7, classes left out dropped and both
    renormalised. p is of all the map's pixels, y of the labelled ones: a unit that is labelled in part is scored
    against that part. None where a split has no unit.
    """
    score = {}
    for split in (*SPLITS.values(), MIXED):
        values = [row.kl for row in rows if row.split == split and row.kl is not None]
        score[f"kl {split}"] = float(np.mean(values)) if values else None
    return {
        "unit": settings.unit,
        "units": len(rows),
        "units_with_labels": sum(row.kl is not None for row in rows),
        "units_labelled_in_part": sum(0 < row.labelled < row.pixels for row in rows),
        "left_out": list(settings.exclude_classes),
        "least_pixels": min(row.pixels for row in rows),
        "ignored_pixels": sum(row.ignored for row in rows),
        **score,
    }


def write_parquet(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes the columns of rows as Parquet."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    text, integers = ("id", "tile", "split"), ("row", "col", "pixels", "ignored", "labelled")
    kinds = {**dict.fromkeys(text, pa.string()), **dict.fromkeys(integers, pa.int64())}
    arrays = {name: pa.array([line[name] for line in lines], kinds.get(name, pa.float64())) for name in lines[0]}
    pq.write_table(pa.table(arrays), path)
