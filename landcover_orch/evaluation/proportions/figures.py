"""Figure of class proportions: mean fraction of each class, and a dot a unit, by the map and by the labels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landcover_orch.evaluation.figures import INK, QUIET, despine
from landcover_orch.evaluation.proportions.table import UnitRow
from landcover_orch.legend import Legend
from landcover_orch.pages import picture
from landcover_orch.pages.chart import as_png, canvas, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 2000
"""Units that are drawn as dots; beyond, every so many-th."""


def proportions(rows: Sequence[UnitRow], legend: Legend, exclude_classes: Sequence[str] = ()) -> bytes:
    """Bar chart of mean fractions a class, by map and by labels; beside it a dot a unit and class. PNG.

    The figure is of the test split's units, of all labelled ones where test has none; without labels, of all units
    and the map alone.
    """
    title, drawn = drawn_units(rows)
    labelled = bool(drawn) and drawn[0].labelled > 0
    names = [name for name in legend.names if name not in exclude_classes]
    figure = canvas(10.5 if labelled else 6.0, max(3.6, 0.42 * len(names) + 1.6))
    bars = figure.add_subplot(1, 2, 1) if labelled else figure.add_subplot()
    bar_chart(bars, drawn, names, legend, labelled=labelled)
    figure.suptitle(title, fontsize=10, color=INK)
    if labelled:
        scatter_plot(figure.add_subplot(1, 2, 2), drawn[:: max(1, -(-len(drawn) // MOST))], names, legend)
    return as_png(figure)


def reduced(data: bytes) -> bytes:
    """Preview: a PNG as small as Dagster takes it."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(data))[..., :3]
    return picture.small_png(np.round(pixels * 255).astype(np.uint8))


def drawn_units(rows: Sequence[UnitRow]) -> tuple[str, list[UnitRow]]:
    """Title and units of the figure: those of the test split, else the labelled ones, else all."""
    mapped = [row for row in rows if row.pixels]
    known = [row for row in mapped if row.labelled]
    test = [row for row in known if row.split == "test"]
    if test:
        return f"{len(test)} units of the test split", test
    if known:
        return f"{len(known)} units with labels, none of them in the test split", known
    return f"{len(mapped)} units without labels", mapped


def bar_chart(axes: Axes, rows: Sequence[UnitRow], names: Sequence[str], legend: Legend, *, labelled: bool) -> None:
    """Grouped bar chart of the mean fraction of each class: filled by the map, hatched by the labels."""
    colours = {c.name: c.colour for c in legend.classes}
    positions = np.arange(len(names), dtype=float)
    height = 0.38 if labelled else 0.7
    mapped = [float(np.mean([row.mapped[name] for row in rows])) if rows else 0.0 for name in names]
    shift = height / 2 if labelled else 0
    axes.barh(positions - shift, mapped, height, color=[colours[n] for n in names], edgecolor=INK, linewidth=0.4)
    if labelled:
        actual = [float(np.mean([row.actual[name] for row in rows])) for name in names]
        axes.barh(positions + shift, actual, height, color="none", edgecolor=INK, linewidth=0.8, hatch="////")
    for y, value in zip(positions, mapped, strict=True):
        axes.annotate(f"{value:.3f}", (value, y - shift), (3, 0), textcoords="offset points", va="center", size=7.5)
    axes.set_yticks(positions, [literal(name) for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlabel("mean fraction of a unit: filled by the map" + (", hatched by the labels" if labelled else ""))
    despine(axes)


def scatter_plot(axes: Axes, rows: Sequence[UnitRow], names: Sequence[str], legend: Legend) -> None:
    """Scatter plot of class fractions by the labels against those by the map, a dot a unit and class."""
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, zorder=1)
    for land in legend.classes:
        if land.name in names:
            actual = np.array([row.actual[land.name] for row in rows], float)
            mapped = np.array([row.mapped[land.name] for row in rows], float)
            axes.scatter(
                actual, mapped, s=14, color=land.colour, edgecolors="#0006", linewidths=0.4, alpha=0.8, zorder=2
            )
    axes.set_xlabel("fraction by the labels")
    axes.set_ylabel("fraction by the map")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    despine(axes)
