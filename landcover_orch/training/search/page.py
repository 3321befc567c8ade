"""Search report: a table of trials, the best one as an experiment, figures, and the HTML page that shows them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from landcover_orch.config.experiments import Experiment, Metric
from landcover_orch.config.experiments.search import Axis, Choices, Search, variant
from landcover_orch.metrics.catalogue import smaller_is_better, title
from landcover_orch.pages import page
from landcover_orch.pages.chart import as_png, canvas
from landcover_orch.pages.links import asset_link
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.canonical import canonical
from landcover_orch.store.products import PAGE, SEARCH, SUMMARY
from landcover_orch.store.publish import Stage
from landcover_orch.training.search.trials import Trial, best

BEST, TABLE = "best.yaml", "trials.csv"
COLOURS = {"complete": "#2b6ca3", "pruned": "#9aa7b4", "failed": "#c0392b"}
CHOSEN = "#e08a1e"
CAPTIONS = {
    "trials.png": "Each trial's value, and the best so far. Crosses: trials that were stopped early, at what they had"
    " reached.",
    "choices.png": "Values over what each choice or range was; a bar is the median of the complete trials.",
    "heatmap.png": "Values over both choices.",
}
COLUMNS = 3
"""Columns of panels in the choices' figure."""


def write(stage: Stage, manifest: DatasetManifest, search: Search, base: Experiment, trials: Sequence[Trial]) -> None:
    """Writes the report of a search into its stage; at least one trial is complete."""
    metric = search.metric(base)
    chosen = best(trials, metric)
    if chosen is None:
        raise ValueError("no trial is complete")
    summary = summarise(search, base, trials, chosen)
    stage.write_json(SUMMARY, summary)
    rows = [_table_row(trial, search, metric) for trial in trials]
    with (stage.path / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    (stage.path / BEST).write_text(experiment_yaml(search, base, trials, chosen), encoding="utf-8")
    figures = {"trials.png": history(trials, metric), "choices.png": panels(search, trials, metric)}
    if search.sampler == "grid" and len(search.space) == 2:
        figures["heatmap.png"] = heatmap(search, trials, metric)
    for name, figure in figures.items():
        (stage.path / name).write_bytes(as_png(figure))
    write_page(stage, manifest, search, summary, trials)


def experiment_yaml(search: Search, base: Experiment, trials: Sequence[Trial], chosen: Trial) -> str:
    """The best trial's experiment as a file of configs/experiments: the varied one with the chosen values."""
    metric = search.metric(base)
    complete = sum(trial.value is not None for trial in trials)
    spread = chosen.spread(metric)
    sd = f" (sd {spread:.4f} over {len(chosen.repetitions)} repetitions)" if spread is not None else ""
    about = (
        f"Best of search {search.name}, trial {chosen.number} of {len(trials)} ({complete} complete): "
        f"validation {metric} {chosen.value:.4f}{sd}"
    )
    experiment = variant(search, base, chosen.choices).model_copy(
        update={"name": f"{search.name}-best", "description": about}
    )
    return yaml.safe_dump(experiment.explicit_values(), sort_keys=False, allow_unicode=True, width=120)


def summarise(search: Search, base: Experiment, trials: Sequence[Trial], chosen: Trial) -> dict[str, Any]:
    """Summary of a search: the best trial, the number of trials of each state, and all of them."""
    metric = search.metric(base)
    return {
        "search": search.name,
        "experiment": search.experiment,
        "metric": metric,
        "direction": "minimise" if smaller_is_better(metric) else "maximise",
        "best_value": chosen.value,
        "best_sd": chosen.spread(metric),
        "best_trial": chosen.number,
        "best_choices": words(chosen.choices),
        **{state: sum(trial.state == state for trial in trials) for state in COLOURS},
        "trials": [_table_row(trial, search, metric, measured=False) for trial in trials],
    }


def _table_row(trial: Trial, search: Search, metric: Metric, *, measured: bool = True) -> dict[str, Any]:
    """A trial as a line of the table; `reached` is what a stopped one had reached."""
    choices = ((path, trial.choices[path]) for path in search.space)
    return {
        "trial": trial.number,
        "state": trial.state,
        **{path: canonical(value) if isinstance(value, dict | list | tuple) else value for path, value in choices},
        "value": trial.value,
        "sd": trial.spread(metric),
        "reached": None if trial.value is not None else trial.reached(metric),
        "repetitions": len(trial.repetitions),
        "epochs": trial.epochs,
        **({"seconds": round(trial.seconds, 3)} if measured else {}),
        "reason": trial.reason,
    }


def words(choices: Choices) -> str:
    """Choices in words: 'optimiser.name adam, optimiser.lr 0.01'."""
    return ", ".join(f"{path} {label(value)}" for path, value in choices.items())


def label(value: Any) -> str:
    """A choice in words: 0.00312, jaccard, 'jaccard (weight 0.5)', 'cross_entropy + jaccard'."""
    if isinstance(value, dict):
        rest = ", ".join(f"{key} {label(part)}" for key, part in value.items() if key != "name")
        return " ".join(part for part in (str(value.get("name", "")), f"({rest})" if rest else "") if part)
    if isinstance(value, list | tuple):
        return " + ".join(label(part) for part in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_page(
    stage: Stage, manifest: DatasetManifest, search: Search, summary: Mapping[str, Any], trials: Sequence[Trial]
) -> None:
    """Writes the HTML page of a search."""
    pictures = {name: (stage.path / name).read_bytes() for name in CAPTIONS if (stage.path / name).exists()}
    html = page.render(
        "search.html",
        links=[asset_link(manifest.dataset.name, SEARCH, search.name)],
        title=f"{manifest.dataset.name} · search {search.name}",
        search=search,
        summary=summary,
        metric=_metric_title(summary["metric"]),
        rows=[_table_row(trial, search, summary["metric"]) for trial in trials],
        table=[[label(trial.choices[path]) for path in search.space] for trial in trials],
        pictures=pictures,
        captions=CAPTIONS,
        copy=f"experiments/{search.name}-best.yaml",
        best_yaml=(stage.path / BEST).read_text(encoding="utf-8"),
    )
    (stage.path / PAGE).write_text(html, encoding="utf-8")


def history(trials: Sequence[Trial], metric: Metric) -> Figure:
    """Values over trials with the best so far."""
    figure = canvas(7.5, 3.6)
    axes = figure.subplots()
    for state, marker in (("complete", "o"), ("pruned", "x"), ("failed", "x")):
        points = [(t.number, v) for t in trials if t.state == state and (v := t.reached(metric)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=COLOURS[state], label=state)
    best_so_far = [
        champion.value if (champion := best(trials[: i + 1], metric)) else np.nan for i in range(len(trials))
    ]
    numbers = [trial.number for trial in trials]
    axes.step(numbers, np.array(best_so_far, float), where="post", color=CHOSEN, label="best so far")
    axes.set(xlabel="trial", ylabel=_metric_title(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _metric_title(metric: Metric) -> str:
    """'mean IoU (validation)'; with a note where smaller is better."""
    return f"validation {title(metric)}" + (", the smaller the better" if smaller_is_better(metric) else "")


def panels(search: Search, trials: Sequence[Trial], metric: Metric) -> Figure:
    """One panel an axis of the space: values over its choices or along its range."""
    columns = min(len(search.space), COLUMNS)
    rows = -(-len(search.space) // columns)
    figure = canvas(0.6 + 3.8 * columns, 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for (path, axis), axes in zip(search.space.items(), grid.flat, strict=False):
        draw_panel(axes, path, axis, trials, metric)
    for axes in grid.flat[len(search.space) :]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel(_metric_title(metric))
    return figure


def draw_panel(axes: Axes, path: str, axis: Axis, trials: Sequence[Trial], metric: Metric) -> None:
    """Scatter plot of the trials' values over one axis of the space."""
    chosen = best(trials, metric)
    for trial in trials:
        value = trial.reached(metric)
        if value is None:
            continue
        x = axis.choices.index(trial.choices[path]) if axis.choices else trial.choices[path]
        colour = CHOSEN if trial is chosen else COLOURS[trial.state]
        marker = "o" if trial.state == "complete" else "x"
        axes.plot(x, value, marker, color=colour, alpha=0.8, zorder=3 if trial is chosen else 2)
    if axis.choices:
        draw_medians(axes, path, axis, trials)
    elif axis.log:
        axes.set_xscale("log")
    axes.set_xlabel(_escape_dollars(path))
    axes.grid(alpha=0.3)


def draw_medians(axes: Axes, path: str, axis: Axis, trials: Sequence[Trial]) -> None:
    """A bar at the median of each choice's complete trials, and its label."""
    for x, choice in enumerate(axis.choices):
        values = [trial.value for trial in trials if trial.value is not None and trial.choices[path] == choice]
        if values:
            axes.hlines(float(np.median(values)), x - 0.3, x + 0.3, color="#1d2733", linewidth=1.5)
    axes.set_xticks(range(len(axis.choices)), [_escape_dollars(label(choice)) for choice in axis.choices])
    axes.set_xlim(-0.6, len(axis.choices) - 0.4)
    if max(len(label(choice)) for choice in axis.choices) * len(axis.choices) > 30:
        axes.tick_params(axis="x", rotation=30)


def _escape_dollars(text: str) -> str:
    """Text in which no dollar begins a formula."""
    return text.replace("$", r"\$")


def heatmap(search: Search, trials: Sequence[Trial], metric: Metric) -> Figure:
    """A grid of two axes: the first's choices are rows, the second's columns; the best cell is framed."""
    (first, rows), (second, columns) = search.space.items()
    figure = canvas(1.6 + 1.15 * len(columns.choices) + 1.2, 1.2 + 0.65 * len(rows.choices))
    axes, chosen = figure.subplots(), best(trials, metric)
    cells = np.full((len(rows.choices), len(columns.choices)), np.nan)
    for trial in trials:
        row, column = rows.choices.index(trial.choices[first]), columns.choices.index(trial.choices[second])
        cells[row, column] = np.nan if trial.value is None else trial.value
        text = f"{trial.value:.3f}" if trial.value is not None else trial.state
        weight = "bold" if trial is chosen else "normal"
        axes.text(column, row, text, ha="center", va="center", color="#1d2733", fontsize=9, fontweight=weight)
        if trial is chosen:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=CHOSEN, linewidth=2.5))
    shown = axes.imshow(cells, cmap="YlGnBu_r" if smaller_is_better(metric) else "YlGnBu", alpha=0.5, aspect="auto")
    figure.colorbar(shown, ax=axes, label=_metric_title(metric))
    axes.set_xticks(range(len(columns.choices)), [_escape_dollars(label(c)) for c in columns.choices])
    axes.set_yticks(range(len(rows.choices)), [_escape_dollars(label(c)) for c in rows.choices])
    axes.set(xlabel=_escape_dollars(second), ylabel=_escape_dollars(first))
    return figure
