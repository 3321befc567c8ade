"""Table of class proportions: a row a unit by map and labels, as CSV, Parquet, submission and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config import Proportions
from landcover_orch.evaluation.proportions.units import Unit
from landcover_orch.evaluation.tables import csv_text
from landcover_orch.metrics.proportions import divergences
from landcover_orch.patches.splits import EXCLUDED, TEST, TRAIN, VALIDATION

SPLITS = {TRAIN: "train", VALIDATION: "validation", TEST: "test", EXCLUDED: "excluded"}
MIXED, UNLABELLED = "mixed", "unlabelled"


@dataclass(frozen=True)
class UnitRow:
    """Class proportions of a unit by the map and, where there are labels, by the ground truth.

    `tile` holds several parted by blanks; `row` and `col` are those of a patch in pixels; `split` is train, validation,
    test or excluded: that of all its labelled pixels, else 'mixed' or 'unlabelled'; `pixels` are those that count in
    the map; `ignored` the map's others: without a class, or of one that is left out; `labelled` those that count in the
    ground truth; `mapped` holds the fraction of `pixels` by class, `actual` that of `labelled`; `kl` is the divergence
    of both. Fractions sum to 1; where nothing counts they are None, and those of classes left out are 0.
    """

    id: str
    tile: str
    row: int | None
    col: int | None
    split: str
    pixels: int
    ignored: int
    labelled: int
    mapped: Mapping[str, float | None]
    actual: Mapping[str, float | None]
    kl: float | None

    def columns(self) -> dict[str, Any]:
        """Columns of proportions.csv: '<class>' by the map, '<class> actual' by the labels."""
        names = ("id", "tile", "row", "col", "split", "pixels", "ignored", "labelled")
        actual = {f"{name} actual": value for name, value in self.actual.items()}
        return {**{name: getattr(self, name) for name in names}, **self.mapped, **actual, "kl": self.kl}


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
