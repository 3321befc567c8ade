"""Maps against what is declared of polygons: the composition that each has on the map, beside its declared shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from landcover_orch import compute, raster
from landcover_orch.evaluation.evaluate import BLOCK, MAP, tiles_to_predict
from landcover_orch.evaluation.figures import INK, QUIET, literal
from landcover_orch.grid import Window, blocks
from landcover_orch.ground_truth.build import COMPOSITION, POLYGONS, SUMMARY
from landcover_orch.labels import fractions
from landcover_orch.legend import Legend
from landcover_orch.metrics.proportions import FLOOR
from landcover_orch.pages.chart import as_png, canvas
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.store import publish
from landcover_orch.store.publish import Product

Row = Mapping[str, Any]
Shares = NDArray[np.float64]

TABLE, FIGURE = "by_polygon.csv", "by_polygon.png"
SIMPLE, COMPOSITE = "simple", "composite"
CAPTION = "Declared and predicted share of each class in each polygon"
MOST = 2000
"""Polygons of a kind that are drawn; beyond, every so many-th. All are counted."""


def rows(manifest: DatasetManifest, maps: Mapping[str, Product], home: Path) -> list[Row]:
    """A row for each polygon with test pixels on the map, in the order of tiles and of polygon numbers.

    A row holds tile, polygon (number), source (what the label file calls it), decision, kind ('simple': one class has
    all of it; 'composite'), pixels (test pixels with a class on the map, each counted once), kl (see `divergence`),
    and of each class '<class> declared' and '<class> predicted', both from 0 to 1. What is declared is of the whole
    polygon, also where the test side or the tile's edge cuts it. Polygons of which nothing or too little is declared
    (see `fractions.Declared.normalised`) are left out; without polygons there is no row.
    """
    kept = [entry for entry in tiles_to_predict(manifest) if (home / entry.ground_truth / POLYGONS).exists()]
    return [row for entry in kept for row in _rows(manifest, entry, maps[entry.name], home)]


def _rows(manifest: DatasetManifest, entry: TileEntry, product: Product, home: Path) -> list[Row]:
    names, truth = manifest.legend.names, publish.load(home / entry.ground_truth)
    declared = fractions.read(truth.file(COMPOSITION), names)
    counts = _counts(manifest, entry, truth.file(POLYGONS), product.file(MAP), len(declared.source))
    known = np.flatnonzero((counts.sum(axis=1) > 0) & declared.normalised.any(axis=1))
    actual, pixels = declared.normalised[known], counts[known].sum(axis=1)
    predicted = counts[known] / pixels[:, None]
    return [
        {
            "tile": entry.name,
            "polygon": number,
            "source": declared.source[number],
            "decision": declared.decision[number],
            "kind": COMPOSITE if declared.composite[number] else SIMPLE,
            "pixels": int(pixels[i]),
            "kl": kl,
            **{f"{name} declared": float(actual[i, c]) for c, name in enumerate(names)},
            **{f"{name} predicted": float(predicted[i, c]) for c, name in enumerate(names)},
        }
        for i, (number, kl) in enumerate(zip(known.tolist(), divergence(actual, predicted).tolist(), strict=True))
    ]


def _counts(manifest: DatasetManifest, entry: TileEntry, polygons: Path, mapped: Path, size: int) -> NDArray[np.int64]:
    """Test pixels (polygon, class) of the polygons below `size` on a tile's map, each counted once."""
    numbers, classes, count = raster.inspect(polygons), raster.inspect(mapped), len(manifest.legend.classes)

    def counted(block: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        with raster.reader(numbers, nodata="none") as of, raster.reader(classes, nodata="none") as guess:
            polygon, predicted = of.read(block)[0].astype(np.int64), guess.read(block)[0]
        role = roles(manifest.dataset.splits, entry.name, entry.grid, block)
        kept = (polygon > 0) & (polygon < size) & (predicted < count) & (role == TEST)
        return np.unique(polygon[kept] * count + predicted[kept], return_counts=True)

    found = np.zeros(size * count, np.int64)
    for joint, pixels in compute.run(counted, blocks(entry.shape, BLOCK, BLOCK), label=f"polygons of {entry.name}"):
        found[joint] += pixels
    return found.reshape(size, count)


def divergence(declared: Shares, predicted: Shares) -> Shares:
    """KL(y, p) = sum over classes of (y + e) ln((y + e) / (p + e)), e = 1e-7, of each row (polygon, class)."""
    y, p = declared + FLOOR, predicted + FLOOR
    return np.asarray((y * np.log(y / p)).sum(axis=1))


def summary(found: Sequence[Row], legend: Legend) -> dict[str, dict[str, Any]]:
    """Kind of polygon -> polygons, pixels, kl, kl_by_pixels, error (of each class) and mean_error.

    kl is the mean over polygons, all alike; kl_by_pixels weighs each by its pixels. error is the mean over polygons of
    |predicted - declared|, mean_error its mean over classes. None where there is no such polygon.
    """
    return {kind: _mean([row for row in found if row["kind"] == kind], legend) for kind in (SIMPLE, COMPOSITE)}


def _mean(found: Sequence[Row], legend: Legend) -> dict[str, Any]:
    kl, pixels = (np.array([row[key] for row in found], float) for key in ("kl", "pixels"))
    off = {name: [abs(row[f"{name} predicted"] - row[f"{name} declared"]) for row in found] for name in legend.names}
    error = {name: float(np.mean(each)) if each else None for name, each in off.items()}
    return {
        "polygons": len(found),
        "pixels": int(pixels.sum()),
        "kl": float(kl.mean()) if found else None,
        "kl_by_pixels": float((kl * pixels).sum() / pixels.sum()) if found else None,
        "error": error,
        "mean_error": float(np.mean([*error.values()])) if found else None,
    }


def decisions(manifest: DatasetManifest, home: Path) -> list[Row]:
    """What was decided on polygons of several covers, over all tiles: the rows of `areas.decisions`, added up.

    Polygons and hectares are None where a tile does not know them; share is of all tiles that have such a table.
    """
    tables = [
        (entry.shape[0] * entry.shape[1], read["decisions"])
        for entry in manifest.tiles
        if (read := _truth_summary(home / entry.ground_truth)).get("decisions")
    ]
    whole, pooled = sum(pixels for pixels, _ in tables), dict[tuple[str, str], list[Row]]()
    for pixels, table in tables:
        for row in table:
            part = {**row, "share": row["share"] * pixels / whole}
            pooled.setdefault((row["decision"], row["class"]), []).append(part)
    return [
        {"decision": how, "class": name, **{key: _sum(parts, key) for key in ("polygons", "hectares", "share")}}
        for (how, name), parts in pooled.items()
    ]


def _truth_summary(folder: Path) -> dict[str, Any]:
    truth = publish.load(folder)
    return dict(truth.json(SUMMARY)) if SUMMARY in truth.files else {}


def _sum(parts: Sequence[Row], key: str) -> Any:
    values = [part[key] for part in parts]
    return None if None in values else sum(values)


def picture(found: Sequence[Row], legend: Legend) -> bytes:
    """A dot a polygon and class, declared against predicted share; simple polygons beside composite ones. PNG."""
    figure = canvas(9.6, 5.0)
    for i, kind in enumerate((SIMPLE, COMPOSITE), start=1):
        own = [row for row in found if row["kind"] == kind]
        _scatter(figure.add_subplot(1, 2, i), own[:: max(1, -(-len(own) // MOST))], legend)
        figure.axes[-1].set_title(f"{len(own)} {kind} polygons", fontsize=10, color=INK)
    figure.axes[0].legend(loc="upper center", fontsize=7.5, frameon=False)
    return as_png(figure)


def _scatter(axes: Axes, found: Sequence[Row], legend: Legend) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, zorder=1)
    for land in legend.classes:
        declared, predicted = ([row[f"{land.name} {side}"] for row in found] for side in ("declared", "predicted"))
        axes.scatter(
            declared, predicted, s=16, color=land.colour, edgecolors="#0006", linewidths=0.4, label=literal(land.name)
        )
    axes.set(xlabel="declared share", ylabel="predicted share", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)
