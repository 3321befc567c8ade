"""What a search found: a table of its trials, the best one as a recipe, figures, and the page that shows them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from landcover_orch.config.experiments import Experiment, Metric
from landcover_orch.config.experiments.search import Axis, Choices, Search, variant
from landcover_orch.pages import page
from landcover_orch.pages.chart import as_png, canvas
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.canonical import canonical
from landcover_orch.store.publish import Stage
from landcover_orch.training.search.trials import Trial, best, smaller_is_better

BEST, TABLE, SUMMARY, PAGE = "best.yaml", "trials.csv", "summary.json", "index.html"
COLOURS = {"complete": "#2b6ca3", "pruned": "#9aa7b4", "failed": "#c0392b"}
CHOSEN = "#e08a1e"
CAPTIONS = {
    "trials.png": "Each trial's value, and the best so far. Crosses: trials that were stopped early, at what they had"
    " reached.",
    "choices.png": "Values over what each choice or range was; a bar is the median of the complete trials.",
    "heatmap.png": "Values over both choices.",
}
COLUMNS = 3
"""Panels of the choices' figure beside one another."""


def write(stage: Stage, manifest: DatasetManifest, search: Search, base: Experiment, trials: Sequence[Trial]) -> None:
    """Writes everything that is said of a search below a stage; at least one trial is complete."""
    metric = search.metric(base)
    chosen = best(trials, metric)
    if chosen is None:
        raise ValueError("no trial is complete")
    summary = _summary(search, base, trials, chosen)
    stage.write_json(SUMMARY, summary)
    _write_csv(stage.path / TABLE, [_row(trial, search, metric) for trial in trials])
    (stage.path / BEST).write_text(recipe_text(search, base, trials, chosen), encoding="utf-8")
    for name, figure in _figures(search, trials, metric).items():
        (stage.path / name).write_bytes(as_png(figure))
    _write_page(stage, manifest, search, summary, trials)


def recipe_text(search: Search, base: Experiment, trials: Sequence[Trial], chosen: Trial) -> str:
    """The best trial's recipe as a file of configs/experiments: what the varied recipe said, and what was chosen."""
    metric = search.metric(base)
    complete = sum(trial.value is not None for trial in trials)
    spread = chosen.spread(metric)
    sd = f" (sd {spread:.4f} over {len(chosen.repetitions)} repetitions)" if spread is not None else ""
    about = (
        f"Best of search {search.name}, trial {chosen.number} of {len(trials)} ({complete} complete): "
        f"validation {metric} {chosen.value:.4f}{sd}"
    )
    found = variant(search, base, chosen.choices).model_copy(
        update={"name": f"{search.name}-best", "description": about}
    )
    return yaml.safe_dump(found.said(), sort_keys=False, allow_unicode=True, width=120)


def _summary(search: Search, base: Experiment, trials: Sequence[Trial], chosen: Trial) -> dict[str, Any]:
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
        "trials": [_row(trial, search, metric, measured=False) for trial in trials],
    }


def _row(trial: Trial, search: Search, metric: Metric, *, measured: bool = True) -> dict[str, Any]:
    """A trial as a line of the table; `reached` is what a stopped one had reached."""
    return {
        "trial": trial.number,
        "state": trial.state,
        **{path: _plain(trial.choices[path]) for path in search.space},
        "value": trial.value,
        "sd": trial.spread(metric),
        "reached": None if trial.value is not None else trial.reached(metric),
        "repetitions": len(trial.repetitions),
        "epochs": trial.epochs,
        **({"seconds": round(trial.seconds, 3)} if measured else {}),
        "reason": trial.reason,
    }


def _plain(value: Any) -> Any:
    return canonical(value) if isinstance(value, dict | list | tuple) else value


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def words(choices: Choices) -> str:
    """Choices for people: 'optimiser.name adam, optimiser.lr 0.01'."""
    return ", ".join(f"{path} {label(value)}" for path, value in choices.items())


def label(value: Any) -> str:
    """A choice for people: 0.00312, jaccard, 'jaccard (weight 0.5)', 'cross_entropy + jaccard'."""
    if isinstance(value, dict):
        rest = ", ".join(f"{key} {label(part)}" for key, part in value.items() if key != "name")
        return " ".join(part for part in (str(value.get("name", "")), f"({rest})" if rest else "") if part)
    if isinstance(value, list | tuple):
        return " + ".join(label(part) for part in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _write_page(
    stage: Stage, manifest: DatasetManifest, search: Search, summary: Mapping[str, Any], trials: Sequence[Trial]
) -> None:
    pictures = {name: (stage.path / name).read_bytes() for name in CAPTIONS if (stage.path / name).exists()}
    html = page.render(
        "search.html",
        title=f"{manifest.dataset.name} · search {search.name}",
        search=search,
        summary=summary,
        metric=_named(summary["metric"]),
        rows=[_row(trial, search, summary["metric"]) for trial in trials],
        table=[[label(trial.choices[path]) for path in search.space] for trial in trials],
        pictures=pictures,
        captions=CAPTIONS,
        recipe=(stage.path / BEST).read_text(encoding="utf-8"),
    )
    (stage.path / PAGE).write_text(html, encoding="utf-8")


def _figures(search: Search, trials: Sequence[Trial], metric: Metric) -> dict[str, Figure]:
    found = {"trials.png": history(trials, metric), "choices.png": panels(search, trials, metric)}
    if search.sampler == "grid" and len(search.space) == 2:
        found["heatmap.png"] = heatmap(search, trials, metric)
    return found


def history(trials: Sequence[Trial], metric: Metric) -> Figure:
    """Values over trials with the best so far."""
    figure = canvas(7.5, 3.6)
    axes = figure.subplots()
    for state, marker in (("complete", "o"), ("pruned", "x"), ("failed", "x")):
        points = [(t.number, v) for t in trials if t.state == state and (v := t.reached(metric)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=COLOURS[state], label=state)
    standing = [found.value if (found := best(trials[: i + 1], metric)) else np.nan for i in range(len(trials))]
    numbers = [trial.number for trial in trials]
    axes.step(numbers, np.array(standing, float), where="post", color=CHOSEN, label="best so far")
    axes.set(xlabel="trial", ylabel=_named(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _named(metric: Metric) -> str:
    """'mean IoU (validation)'; of what should be small it says so."""
    said = metric.replace("_", " ").replace("iou", "IoU").replace("f1", "F1").replace("kl ", "KL of ")
    return f"validation {said}" + (", the smaller the better" if smaller_is_better(metric) else "")


def panels(search: Search, trials: Sequence[Trial], metric: Metric) -> Figure:
    """One panel an axis of the space: values over its choices or along its range."""
    columns = min(len(search.space), COLUMNS)
    rows = -(-len(search.space) // columns)
    figure = canvas(0.6 + 3.8 * columns, 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for (path, axis), axes in zip(search.space.items(), grid.flat, strict=False):
        _panel(axes, path, axis, trials, metric)
    for axes in grid.flat[len(search.space) :]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel(_named(metric))
    return figure


def _panel(axes: Axes, path: str, axis: Axis, trials: Sequence[Trial], metric: Metric) -> None:
    chosen = best(trials, metric)
    for trial in trials:
        value = trial.reached(metric)
        if value is None:
            continue
        place = axis.choices.index(trial.choices[path]) if axis.choices else trial.choices[path]
        colour = CHOSEN if trial is chosen else COLOURS[trial.state]
        marker = "o" if trial.state == "complete" else "x"
        axes.plot(place, value, marker, color=colour, alpha=0.8, zorder=3 if trial is chosen else 2)
    if axis.choices:
        _bars(axes, path, axis, trials)
    elif axis.log:
        axes.set_xscale("log")
    axes.set_xlabel(_literal(path))
    axes.grid(alpha=0.3)


def _bars(axes: Axes, path: str, axis: Axis, trials: Sequence[Trial]) -> None:
    for place, choice in enumerate(axis.choices):
        values = [trial.value for trial in trials if trial.value is not None and trial.choices[path] == choice]
        if values:
            axes.hlines(float(np.median(values)), place - 0.3, place + 0.3, color="#1d2733", linewidth=1.5)
    axes.set_xticks(range(len(axis.choices)), [_literal(label(choice)) for choice in axis.choices])
    axes.set_xlim(-0.6, len(axis.choices) - 0.4)
    if max(len(label(choice)) for choice in axis.choices) * len(axis.choices) > 30:
        axes.tick_params(axis="x", rotation=30)


def _literal(text: str) -> str:
    """Text in which no dollar begins a formula."""
    return text.replace("$", r"\$")


def heatmap(search: Search, trials: Sequence[Trial], metric: Metric) -> Figure:
    """A grid of two axes: the first's choices are rows, the second's columns; the best cell is framed."""
    (first, down), (second, across) = search.space.items()
    figure = canvas(1.6 + 1.15 * len(across.choices) + 1.2, 1.2 + 0.65 * len(down.choices))
    axes, chosen = figure.subplots(), best(trials, metric)
    cells = np.full((len(down.choices), len(across.choices)), np.nan)
    for trial in trials:
        row, column = down.choices.index(trial.choices[first]), across.choices.index(trial.choices[second])
        cells[row, column] = np.nan if trial.value is None else trial.value
        text = f"{trial.value:.3f}" if trial.value is not None else trial.state
        weight = "bold" if trial is chosen else "normal"
        axes.text(column, row, text, ha="center", va="center", color="#1d2733", fontsize=9, fontweight=weight)
        if trial is chosen:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=CHOSEN, linewidth=2.5))
    shown = axes.imshow(cells, cmap="YlGnBu_r" if smaller_is_better(metric) else "YlGnBu", alpha=0.5, aspect="auto")
    figure.colorbar(shown, ax=axes, label=_named(metric))
    axes.set_xticks(range(len(across.choices)), [_literal(label(c)) for c in across.choices])
    axes.set_yticks(range(len(down.choices)), [_literal(label(c)) for c in down.choices])
    axes.set(xlabel=_literal(second), ylabel=_literal(first))
    return figure
