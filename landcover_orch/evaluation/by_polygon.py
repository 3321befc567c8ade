"""Composition of polygons on the map: predicted class fractions of each against those that its labels declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import compute, raster
from landcover_orch.evaluation.evaluate import BLOCK, tiles_to_predict
from landcover_orch.evaluation.figures import INK, QUIET, despine
from landcover_orch.grid import Window, blocks
from landcover_orch.ground_truth.build import COMPOSITION, POLYGONS
from landcover_orch.labels import fractions
from landcover_orch.legend import Legend
from landcover_orch.metrics.metric import mean
from landcover_orch.metrics.proportions import FLOOR
from landcover_orch.pages.chart import as_png, canvas, literal
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.store import publish
from landcover_orch.store.products import CLASS_MAP, SUMMARY
from landcover_orch.store.publish import Product

Fractions = NDArray[np.float64]

TABLE, FIGURE = "by_polygon.csv", "by_polygon.png"
SIMPLE, COMPOSITE = "simple", "composite"
CAPTION = "Declared and predicted fraction of each class in each polygon"
MOST = 2000
"""Polygons of a kind that are drawn; beyond, every so many-th. All are counted."""


@dataclass(frozen=True)
class PolygonRow:
    """A polygon with test pixels on the map: what is declared of it, and what is predicted.

    `polygon` is its number, `source` what the label file calls it; `kind` is 'simple' where one class has all of it,
    else 'composite'; `pixels` are test pixels with a class on the map, each counted once; `kl` see `divergence`.
    `declared` and `predicted` are fractions by class; what is declared is of the whole polygon, also where the test
    split or the tile's edge cuts it.
    """

    tile: str
    polygon: int
    source: str
    decision: str
    kind: str
    pixels: int
    kl: float
    declared: Mapping[str, float]
    predicted: Mapping[str, float]

    def columns(self) -> dict[str, Any]:
        """Columns of by_polygon.csv; of each class '<class> declared', then of each '<class> predicted'."""
        plain = {
            name: getattr(self, name) for name in ("tile", "polygon", "source", "decision", "kind", "pixels", "kl")
        }
        declared = {f"{name} declared": value for name, value in self.declared.items()}
        return {**plain, **declared, **{f"{name} predicted": value for name, value in self.predicted.items()}}

    def error(self, name: str) -> float:
        """Absolute error of a class: |predicted - declared|."""
        return abs(self.predicted[name] - self.declared[name])


def rows(manifest: DatasetManifest, maps: Mapping[str, Product], home: Path) -> list[PolygonRow]:
    """Polygons with test pixels on the map, in the order of tiles and of polygon numbers.

    Polygons of which nothing or too little is declared (see `fractions.Declared.normalised`) are left out; without
    polygons there is no row.
    """
    entries = [entry for entry in tiles_to_predict(manifest) if (home / entry.ground_truth / POLYGONS).exists()]
    return [row for entry in entries for row in tile_rows(manifest, entry, maps[entry.name], home)]


def tile_rows(manifest: DatasetManifest, entry: TileEntry, product: Product, home: Path) -> list[PolygonRow]:
    """Polygons of one tile with test pixels on its map, by number."""
    names, truth = manifest.legend.names, publish.load(home / entry.ground_truth)
    declared = fractions.read(truth.file(COMPOSITION), names)
    counts = class_histograms(manifest, entry, truth.file(POLYGONS), product.file(CLASS_MAP), len(declared.source))
    known = np.flatnonzero((counts.sum(axis=1) > 0) & declared.normalised.any(axis=1))
    actual, pixels = declared.normalised[known], counts[known].sum(axis=1)
    predicted = counts[known] / pixels[:, None]
    return [
        PolygonRow(
            tile=entry.name,
            polygon=number,
            source=declared.source[number],
            decision=declared.decision[number],
            kind=COMPOSITE if declared.composite[number] else SIMPLE,
            pixels=int(pixels[i]),
            kl=kl,
            declared=dict(zip(names, actual[i].tolist(), strict=True)),
            predicted=dict(zip(names, predicted[i].tolist(), strict=True)),
        )
        for i, (number, kl) in enumerate(zip(known.tolist(), divergence(actual, predicted).tolist(), strict=True))
    ]


def class_histograms(
    manifest: DatasetManifest, entry: TileEntry, polygons: Path, mapped: Path, size: int
) -> NDArray[np.int64]:
    """Zonal histogram: test pixels (polygon, class) on a tile's map of the polygons below `size`, each counted once."""
    numbers, classes, count = raster.inspect(polygons), raster.inspect(mapped), len(manifest.legend.classes)

    def counted(block: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        with raster.reader(numbers, nodata="none") as ids, raster.reader(classes, nodata="none") as predictions:
            polygon, predicted = ids.read(block)[0].astype(np.int64), predictions.read(block)[0]
        role = roles(manifest.dataset.splits, entry.name, entry.grid, block)
        valid = (polygon > 0) & (polygon < size) & (predicted < count) & (role == TEST)
        return np.unique(polygon[valid] * count + predicted[valid], return_counts=True)

    histogram = np.zeros(size * count, np.int64)
    for joint, pixels in compute.run(counted, blocks(entry.shape, BLOCK, BLOCK), label=f"polygons of {entry.name}"):
        histogram[joint] += pixels
    return histogram.reshape(size, count)


def divergence(declared: Fractions, predicted: Fractions) -> Fractions:
    """KL divergence of each row (polygon, class): KL(y, p) = sum of (y + e) ln((y + e) / (p + e)), e = 1e-7."""
    y, p = declared + FLOOR, predicted + FLOOR
    return np.asarray((y * np.log(y / p)).sum(axis=1))


def summary(polygons: Sequence[PolygonRow], legend: Legend) -> dict[str, dict[str, Any]]:
    """Kind of polygon -> mean errors (see `mean_errors`)."""
    return {kind: mean_errors([p for p in polygons if p.kind == kind], legend) for kind in (SIMPLE, COMPOSITE)}


def mean_errors(polygons: Sequence[PolygonRow], legend: Legend) -> dict[str, Any]:
    """Mean errors of polygons: polygons, pixels, kl, kl_by_pixels, error (of each class) and mean_error.

    kl is the mean over polygons with equal weights; kl_by_pixels weighs each by its pixels. error is the mean absolute
    error over polygons, mean_error its mean over the classes that a polygon declares. None where there is no polygon.
    """
    kl, pixels = np.array([p.kl for p in polygons], float), np.array([p.pixels for p in polygons], float)
    errors = {name: [polygon.error(name) for polygon in polygons] for name in legend.names}
    error = {name: float(np.mean(values)) if values else None for name, values in errors.items()}
    declared = [name for name in legend.names if any(polygon.declared[name] for polygon in polygons)]
    return {
        "polygons": len(polygons),
        "pixels": int(pixels.sum()),
        "kl": float(kl.mean()) if polygons else None,
        "kl_by_pixels": float((kl * pixels).sum() / pixels.sum()) if polygons else None,
        "error": error,
        "mean_error": mean([error[name] for name in declared]),
    }


def decisions(manifest: DatasetManifest, home: Path) -> list[dict[str, Any]]:
    """Decisions on polygons of several covers, over all tiles: the rows of `areas.decisions`, added up.

    Polygons and hectares are None where a tile does not know them; share is of all tiles that have such a table.
    """
    tables = []
    for entry in manifest.tiles:
        truth = publish.load(home / entry.ground_truth)
        table = truth.json(SUMMARY).get("decisions") if SUMMARY in truth.files else None
        if table:
            tables.append((entry.shape[0] * entry.shape[1], table))
    total, pooled = sum(pixels for pixels, _ in tables), dict[tuple[str, str], list[dict[str, Any]]]()
    for pixels, table in tables:
        for row in table:
            weighted = {**row, "share": row["share"] * pixels / total}
            pooled.setdefault((row["decision"], row["class"]), []).append(weighted)
    added = []
    for (decision, name), parts in pooled.items():
        columns = {key: [part[key] for part in parts] for key in ("polygons", "hectares", "share")}
        sums = {key: None if None in values else sum(values) for key, values in columns.items()}
        added.append({"decision": decision, "class": name, **sums})
    return added


def picture(polygons: Sequence[PolygonRow], legend: Legend) -> bytes:
    """Scatter plot of declared against predicted fractions, a dot a polygon and class, by kind of polygon. PNG."""
    figure = canvas(9.6, 5.0)
    for i, kind in enumerate((SIMPLE, COMPOSITE), start=1):
        of_kind = [polygon for polygon in polygons if polygon.kind == kind]
        drawn = of_kind[:: max(1, -(-len(of_kind) // MOST))]
        axes = figure.add_subplot(1, 2, i)
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, zorder=1)
        for land in legend.classes:
            declared, predicted = [p.declared[land.name] for p in drawn], [p.predicted[land.name] for p in drawn]
            name, colour = literal(land.name), land.colour
            axes.scatter(declared, predicted, s=16, color=colour, edgecolors="#0006", linewidths=0.4, label=name)
        limits = (-0.03, 1.03)
        axes.set(xlabel="declared fraction", ylabel="predicted fraction", xlim=limits, ylim=limits, aspect="equal")
        despine(axes)
        axes.set_title(f"{len(of_kind)} {kind} polygons", fontsize=10, color=INK)
    figure.axes[0].legend(loc="upper center", fontsize=7.5, frameon=False)
    return as_png(figure)
