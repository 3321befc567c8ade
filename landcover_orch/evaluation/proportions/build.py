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
from landcover_orch.evaluation.evaluate import LABELS, MAP
from landcover_orch.evaluation.proportions.units import Unit, units
from landcover_orch.evaluation.tables import csv_text
from landcover_orch.legend import Legend, left_out_problems
from landcover_orch.metrics.proportions import divergences
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.splits import EXCLUDED, TEST, TRAIN, VALIDATION
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe, Stage

NAME = "proportions"
CSV, PARQUET, SUBMISSION, FIGURE = "proportions.csv", "proportions.parquet", "submission.csv", "proportions.png"

SIDES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", EXCLUDED: "excluded"}
SEVERAL, UNLABELLED = "several", "unlabelled"

Shares = NDArray[np.float64]


def build(
    manifest: DatasetManifest, dataset: Dataset, maps: Mapping[str, Product], home: Path, name: str = NAME
) -> Product:
    """The class proportions of every unit of some maps, published as proportions/<name>.

    proportions.csv and .parquet have a row a unit (see `table`), submission.csv what the Sentinel-2 challenge takes
    (see `submission`). summary.json holds the score.

    Args:
        manifest: tells the tiles' ground truth.
        dataset: what a unit is, and which classes are left out.
        maps: tile -> its map.
        home: folder everything is written below.
        name: of the product.

    Raises:
        ConfigError: a class that is left out is none of the legend's.
        IncompleteError: there is no map.
    """
    _require_known(dataset, manifest.legend)
    if not maps:
        where, fix = f"proportions of {dataset.name}", "materialise `land_cover_map`"
        raise IncompleteError(Problem(where, "no map", "a map of one tile at least", fix))

    def write(stage: Stage) -> None:
        labels = {entry.name: home / entry.ground_truth / LABELS for entry in manifest.tiles if entry.name in maps}
        found = units(
            dataset,
            len(manifest.legend.classes),
            {tile: raster.inspect(product.file(MAP)) for tile, product in maps.items()},
            {tile: raster.inspect(path) for tile, path in labels.items()},
        )
        _write(stage, manifest.legend, dataset.proportions, found)

    folder = home / dataset.name / NAME
    return publish.publish(folder, name, _recipe(manifest, dataset, maps), write)


def _recipe(manifest: DatasetManifest, dataset: Dataset, maps: Mapping[str, Product]) -> Recipe:
    return Recipe(
        asset=NAME,
        version=VERSION,
        inputs={"manifest": manifest.digest, **{f"map {tile}": found.fingerprint for tile, found in maps.items()}},
        configuration={
            "proportions": dataset.proportions,
            "patches": dataset.patches,
            "splits": dataset.splits,
            "legend": manifest.legend,
        },
    )


def _require_known(dataset: Dataset, legend: Legend) -> None:
    where = f"configs/datasets/{dataset.name}.yaml: proportions.exclude_classes"
    wrong = left_out_problems(dataset.proportions.exclude_classes, list(legend.names), where, "predicted")
    if wrong:
        raise ConfigError(*wrong)


def _write(stage: Stage, legend: Legend, settings: Proportions, found: Sequence[Unit]) -> None:
    from landcover_orch.evaluation.proportions import figures

    rows = table(found, legend.names, settings.exclude_classes)
    columns = list(rows[0])
    (stage.path / CSV).write_text(csv_text(columns, (row.values() for row in rows)), encoding="utf-8")
    _write_parquet(stage.path / PARQUET, rows)
    (stage.path / SUBMISSION).write_text(submission(rows, legend.names), encoding="utf-8")
    drawn = figures.proportions(rows, legend, settings.exclude_classes)
    (stage.path / FIGURE).write_bytes(drawn)
    (stage.path / "preview.png").write_bytes(figures.reduced(drawn))
    stage.write_json("summary.json", summary(rows, settings))


def submission(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """What is handed in, as CSV: `id` and a share of every class in order, of the units that have no labels.

    Where all have labels it is of all. A unit in which nothing counts has no shares and is left out.
    """
    mapped = [row for row in rows if row["pixels"]]
    wanted = [row for row in mapped if row["side"] == UNLABELLED] or mapped
    return csv_text(["id", *names], ([row["id"], *(row[name] for name in names)] for row in wanted))


def table(found: Sequence[Unit], names: Sequence[str], without: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row a unit: its proportions by the map and, where there are labels, by the ground truth.

    id; tile (several are parted by blanks); row and col of a patch in pixels; side (train, validation, test or
    excluded: that of all its labelled pixels, else 'several' or 'unlabelled'); pixels, those that count in the map;
    ignored, the map's others: without a class, or of one that is left out; labelled, those that count in the ground
    truth; `<class>`, the share of `pixels`; `<class> actual`, the share of `labelled`; kl, the divergence of both.
    Shares of a row sum to 1; where nothing counts they are None, and those of classes left out are 0.
    """
    kept = np.array([name not in without for name in names])
    mapped, labelled = (
        np.array([getattr(unit, which)[: len(names)] * kept for unit in found]).reshape(-1, len(names))
        for which in ("mapped", "labelled")
    )
    kl = divergences(labelled, mapped)
    rows = []
    for i, unit in enumerate(found):
        pixels = int(mapped[i].sum())
        row = {
            "id": unit.name,
            "tile": " ".join(unit.tiles),
            "row": unit.row,
            "col": unit.col,
            "side": _side(unit),
            "pixels": pixels,
            "ignored": int(unit.mapped.sum()) - pixels,
            "labelled": int(labelled[i].sum()),
            **dict(zip(names, _shares(mapped[i]), strict=True)),
            **dict(zip((f"{name} actual" for name in names), _shares(labelled[i]), strict=True)),
            "kl": None if np.isnan(kl[i]) else float(kl[i]),
        }
        rows.append(row)
    return rows


def _shares(counts: NDArray[np.int64]) -> list[float | None]:
    total = int(counts.sum())
    return [count / total if total else None for count in counts.tolist()]


def _side(unit: Unit) -> str:
    present = np.flatnonzero(unit.roles).tolist()
    return UNLABELLED if not present else SIDES[present[0]] if len(present) == 1 else SEVERAL


def summary(rows: Sequence[Mapping[str, Any]], settings: Proportions) -> dict[str, Any]:
    """How many units there are, and the mean divergence over those of each side.

    Score: mean over units of KL(y, p) = sum (y + e) ln((y + e) / (p + e)), e = 1e-7, classes left out dropped and both
    renormalised, as the Sentinel-2 challenge takes it. p is of all the map's pixels, y of the labelled ones: a unit
    that is labelled in part is scored against that part. None where a side has no unit.
    """
    score = {}
    for side in (*SIDES.values(), SEVERAL):
        values = [row["kl"] for row in rows if row["side"] == side and row["kl"] is not None]
        score[f"kl {side}"] = float(np.mean(values)) if values else None
    return {
        "unit": settings.unit,
        "units": len(rows),
        "units_with_labels": sum(row["kl"] is not None for row in rows),
        "units_labelled_in_part": sum(0 < row["labelled"] < row["pixels"] for row in rows),
        "left_out": list(settings.exclude_classes),
        "least_pixels": min(row["pixels"] for row in rows),
        "ignored_pixels": sum(row["ignored"] for row in rows),
        **score,
    }


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    kinds = {"id": pa.string(), "tile": pa.string(), "side": pa.string()}
    whole = ("row", "col", "pixels", "ignored", "labelled")
    arrays = {
        name: pa.array([row[name] for row in rows], kinds.get(name, pa.int64() if name in whole else pa.float64()))
        for name in rows[0]
    }
    pq.write_table(pa.table(arrays), path)
