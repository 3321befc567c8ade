"""Proportions as a picture: each class's share over all units, and every unit's share by the map and by the labels."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import imread

from landcover_orch.evaluation.figures import INK, QUIET, literal
from landcover_orch.legend import Legend
from landcover_orch.pages import picture
from landcover_orch.pages.chart import as_png, canvas

Row = Mapping[str, Any]

MOST = 2000
"""Units that are drawn as dots; beyond, every so many-th."""


def proportions(rows: Sequence[Row], legend: Legend, without: Sequence[str] = ()) -> bytes:
    """Bars of mean shares a class, by map and by labels; beside them a dot a unit and class. PNG.

    The picture is of the test side's units, of all labelled ones where test has none; without labels, of all units
    and the map alone.
    """
    title, drawn = _telling(rows)
    labelled = bool(drawn) and drawn[0]["labelled"] > 0
    names = [name for name in legend.names if name not in without]
    figure = canvas(10.5 if labelled else 6.0, max(3.6, 0.42 * len(names) + 1.6))
    bars = figure.add_subplot(1, 2, 1) if labelled else figure.add_subplot()
    _bars(bars, drawn, names, legend, labelled=labelled)
    figure.suptitle(title, fontsize=10, color=INK)
    if labelled:
        _dots(figure.add_subplot(1, 2, 2), drawn[:: max(1, -(-len(drawn) // MOST))], names, legend)
    return as_png(figure)


def reduced(drawn: bytes) -> bytes:
    """A PNG as small as Dagster takes it."""
    pixels = imread(io.BytesIO(drawn))[..., :3]
    return picture.small_png(np.round(pixels * 255).astype(np.uint8))


def _telling(rows: Sequence[Row]) -> tuple[str, list[Row]]:
    mapped = [row for row in rows if row["pixels"]]
    known = [row for row in mapped if row["labelled"]]
    test = [row for row in known if row["side"] == "test"]
    if test:
        return f"{len(test)} units of the test side", test
    if known:
        return f"{len(known)} units with labels, none of them on the test side", known
    return f"{len(mapped)} units without labels", mapped


def _bars(axes: Axes, rows: Sequence[Row], names: Sequence[str], legend: Legend, *, labelled: bool) -> None:
    colours = {c.name: c.colour for c in legend.classes}
    places = np.arange(len(names), dtype=float)
    height = 0.38 if labelled else 0.7
    mapped = [_mean(rows, name) for name in names]
    shift = height / 2 if labelled else 0
    axes.barh(places - shift, mapped, height, color=[colours[n] for n in names], edgecolor=INK, linewidth=0.4)
    if labelled:
        actual = [_mean(rows, f"{name} actual") for name in names]
        axes.barh(places + shift, actual, height, color="none", edgecolor=INK, linewidth=0.8, hatch="////")
    for place, value in zip(places, mapped, strict=True):
        axes.annotate(f"{value:.3f}", (value, place - shift), (3, 0), textcoords="offset points", va="center", size=7.5)
    axes.set_yticks(places, [literal(name) for name in names])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlabel("mean share of a unit: filled by the map" + (", hatched by the labels" if labelled else ""))
    _quiet(axes)


def _mean(rows: Sequence[Row], column: str) -> float:
    return float(np.mean([row[column] for row in rows])) if rows else 0.0


def _dots(axes: Axes, rows: Sequence[Row], names: Sequence[str], legend: Legend) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, zorder=1)
    for land in legend.classes:
        if land.name in names:
            actual, mapped = ([row[column] for row in rows] for column in (f"{land.name} actual", land.name))
            axes.scatter(
                actual, mapped, s=14, color=land.colour, edgecolors="#0006", linewidths=0.4, alpha=0.8, zorder=2
            )
    axes.set_xlabel("share by the labels")
    axes.set_ylabel("share by the map")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    _quiet(axes)


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)
