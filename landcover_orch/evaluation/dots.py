"""Dot plots (strip plots): what each repetition scored, with mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from landcover_orch.evaluation.figures import DASH, QUIET, grid_only
from landcover_orch.metrics.metric import Value
from landcover_orch.metrics.spread import spread
from landcover_orch.pages.chart import as_png, canvas, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOT, MEAN = "#58a4b0", "#1d2733"
BASELINE = "#7d611c"
HEADROOM = 0.02


def dots(rows: Mapping[str, Sequence[Value]], *, baselines: Mapping[str, float] | None = None) -> bytes:
    """Dot plot: a row for each name, a dot a repetition, a bar for their mean -+ sd; a vertical line for each baseline.

    A dash stands where no repetition has a value. The axis ends at 1, and begins at 0 or at the least value below it.
    """
    figure = canvas(9.5, 0.34 * len(rows) + (1.5 if baselines else 0.9))
    axes = figure.add_subplot()
    for row, values in enumerate(rows.values()):
        draw_row(axes, row, [value for value in values if value is not None])
    for value in (baselines or {}).values():
        axes.axvline(value, color=BASELINE, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(rows)), [literal(name) for name in rows])
    known = [
        value for values in (*rows.values(), [*(baselines or {}).values()]) for value in values if value is not None
    ]
    axes.set_xlim(min([0.0, *known]) - HEADROOM, 1 + HEADROOM)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    grid_only(axes)
    if baselines:
        label_baselines(axes, baselines)
    return as_png(figure)


def draw_row(axes: Axes, row: int, values: Sequence[float]) -> None:
    """Error bar of a row: a dot a value, their mean -+ standard deviation; a dash of none."""
    if not values:
        axes.text(0, row, DASH, ha="center", va="center", color=QUIET)
        return
    mean, sd = fmean(values), spread(values).sd
    axes.plot(values, [row] * len(values), "o", color=DOT, markersize=5.5, alpha=0.75, markeredgewidth=0)
    axes.errorbar(mean, row, xerr=sd, fmt="|", color=MEAN, markersize=11, markeredgewidth=1.8, capsize=3, linewidth=1.2)
    text = f"{mean:.3f}" + (f" \u00b1 {sd:.3f}" if sd is not None else "")
    axes.annotate(
        text,
        (1.01, row),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        color=QUIET,
        annotation_clip=False,
    )


def label_baselines(axes: Axes, baselines: Mapping[str, float]) -> None:
    """Annotations of the baselines above their lines; where lines lie close, the next name goes a line higher."""
    height, last = 0, -1.0
    for name, value in sorted(baselines.items(), key=lambda baseline: baseline[1]):
        height = height + 1 if value - last < 0.22 else 0
        last = value
        axes.annotate(
            literal(name),
            (value, 1.0),
            xytext=(0, 3 + 10 * height),
            textcoords="offset points",
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=8,
            color=BASELINE,
        )
