"""Figures of the evaluation report as PNG: confusion matrices, bars a class, and panels of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.legend import IGNORE, Legend
from landcover_orch.metrics import confusion
from landcover_orch.metrics.catalogue import CLASS_METRICS
from landcover_orch.metrics.confusion import Matrix
from landcover_orch.pages import picture
from landcover_orch.pages.chart import as_png, canvas, literal

if TYPE_CHECKING:  # the planner of all builds imports this, and draws nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET = "#1d2733", "#5b6878"
BARS = ("#2b6ca3", "#58a4b0", "#e0a458", "#8c4a6b")
"""Colours of the metrics of a class, over and over."""

RIGHT, WRONG = "#e1e1e1", "#d7191c"
DASH = "\u2013"
"""Stands where a measure is undefined."""

LARGE_TEXT = 12
"""Classes up to which a matrix's numbers are written in full size; beyond, cells of 0 stay empty."""


@dataclass(frozen=True)
class View:
    """View of a test tile: picture (y, x, 3), labels, the scored labels and the map's classes (y, x)."""

    name: str
    image: picture.RGB
    labels: NDArray[np.uint8]
    scored: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


def matrices(matrix: Matrix, names: Sequence[str]) -> bytes:
    """Confusion matrix as counts, as fractions of each actual class, and as fractions of each predicted class."""
    side = min(max(3.4, 0.42 * len(names) + 1.9), 9.0)
    figure = canvas(3 * side + 0.6, side + 0.9)
    ratios = [np.array(confusion.normalised(matrix, axis), dtype=float) for axis in ("actual", "predicted")]
    counts = matrix / max(int(matrix.sum()), 1)
    panels: list[tuple[str, NDArray[Any], list[list[str]]]] = [
        ("pixels", np.sqrt(counts), [[short_count(n) for n in row] for row in matrix.tolist()]),
        ("fractions of each actual class (rows sum to 1)\ndiagonal = recall", ratios[0], _texts(ratios[0])),
        ("fractions of each predicted class (columns sum to 1)\ndiagonal = precision", ratios[1], _texts(ratios[1])),
    ]
    for i, (title, shade, texts) in enumerate(panels):
        axes = figure.add_subplot(1, 3, i + 1)
        heat_map(axes, shade, texts)
        label_axes(axes, names, title, first=i == 0)
    return as_png(figure)


def heat_map(axes: Axes, shade: NDArray[Any], texts: list[list[str]]) -> None:
    """Annotated heat map of a matrix (y, x), with a text in each cell."""
    top = np.nanmax(shade) if np.isfinite(shade).any() else 1.0
    axes.imshow(np.nan_to_num(shade), cmap="Blues", vmin=0, vmax=float(top) or 1.0)
    size = 9.0 if len(texts) <= LARGE_TEXT else max(4.0, 9.0 * LARGE_TEXT / len(texts))
    for row, line in enumerate(texts):
        for col, text in enumerate(line):
            if len(texts) > LARGE_TEXT and text in ("0", "0.00"):
                continue
            dark = np.nan_to_num(shade[row, col]) > 0.6 * (float(top) or 1.0)
            colour = "white" if dark else INK
            # kept out of the layout: measuring thousands of texts takes minutes
            axes.text(col, row, text, ha="center", va="center", fontsize=size, color=colour, in_layout=False)


def label_axes(axes: Axes, names: Sequence[str], title: str, *, first: bool) -> None:
    """Tick labels of a confusion matrix: its classes along both axes; those of rows only in the first panel."""
    ticks = range(len(names))
    axes.set_xticks(ticks, [literal(n) for n in names], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, [literal(n) for n in names] if first else [])
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title(title, fontsize=10, color=INK)
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def _texts(values: NDArray[Any]) -> list[list[str]]:
    return [[DASH if np.isnan(v) else f"{v:.2f}" for v in row] for row in values]


def short_count(count: int) -> str:
    """Abbreviated count in at most five characters: 812, 12.3k, 4.56M."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= limit:
            scale = 1000 if unit == "k" else limit
            return f"{count / scale:.3g}{unit}" if count / scale < 1000 else f"{count / scale:.0f}{unit}"
    return str(count)


def class_bars(matrix: Matrix, legend: Legend) -> bytes:
    """Grouped bar chart of every metric of a class, class by class; a dash where a class has none."""
    step = 0.8 / len(CLASS_METRICS)
    figure = canvas(9.5, 0.72 * len(legend.names) + 1.3)
    axes = figure.add_subplot()
    for i, metric in enumerate(CLASS_METRICS):
        values = metric.function(matrix)
        positions = np.arange(len(values)) + (i - (len(CLASS_METRICS) - 1) / 2) * step
        bars = [value or 0 for value in values]
        axes.barh(positions, bars, 0.9 * step, color=BARS[i % len(BARS)], label=metric.class_title)
        for position, value in zip(positions, values, strict=True):
            text = DASH if value is None else f"{value:.2f}"
            axes.text((value or 0) + 0.008, position, text, va="center", fontsize=7.5, color=QUIET)
    axes.set_yticks(range(len(legend.names)), [literal(n) for n in legend.names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.06)
    axes.set_xticks(np.linspace(0, 1, 6))
    grid_only(axes)
    axes.legend(ncols=len(CLASS_METRICS), frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return as_png(figure)


def grid_only(axes: Axes) -> None:
    """Axes without spines and tick marks, with a vertical grid behind the data."""
    axes.tick_params(length=0, colors=INK)
    axes.grid(axis="x", color="#e6eaf0")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def despine(axes: Axes) -> None:
    """Axes without their upper and right spines and without tick marks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)


def maps(view: View, legend: Legend) -> bytes:
    """Map panels of a view, six: orthophoto, labels, map; labelled pixels of the orthophoto, errors, confidence."""
    palette = legend.palette
    shade = np.where(view.confidence == IGNORE, np.uint8(0), view.confidence)
    panels = {
        "orthophoto": view.image,
        "labels (black: none)": picture.colourise(view.labels, palette),
        "predicted": picture.colourise(view.predicted, palette),
        "interpreted pixels (black: nobody labelled)": picture.interpreted(view.image, view.labels),
        "errors on the scored pixels": picture.errors(view.scored, view.predicted),
        "confidence (dark: unsure)": np.repeat(shade[..., None], 3, axis=2),
    }
    from matplotlib.patches import Patch

    height, width = view.labels.shape
    side = 4.0
    figure = canvas(3 * side, 2 * (side * min(height / width, 1.6) + 0.35) + 0.6)
    for i, (title, rgb) in enumerate(panels.items()):
        axes = figure.add_subplot(2, 3, i + 1)
        axes.imshow(rgb, interpolation="nearest" if max(height, width) < 400 else "antialiased")
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_axis_off()
    entries = [Patch(facecolor=c.colour, edgecolor="#0004", label=literal(c.name)) for c in legend.classes]
    entries += [Patch(facecolor=RIGHT, edgecolor="#0004", label="right"), Patch(facecolor=WRONG, label="wrong")]
    figure.legend(handles=entries, ncols=min(len(entries), 8), frameon=False, loc="outside lower center")
    return palette_png(figure)


def palette_png(figure: Figure) -> bytes:
    """PNG of 256 colours, for photographs: a third of the bytes, which a page of many tiles needs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return picture.png(pixels[..., :3], colours=256)
