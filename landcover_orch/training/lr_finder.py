"""Learning-rate range test (Smith 2017, arXiv:1506.01186): a rate that grows step by step until the loss diverges.

Each step is an update on a train batch, varied as in training. The weights are afterwards what they were, to the bit.
"""

from __future__ import annotations

import copy
import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from landcover_orch.config import file_label
from landcover_orch.errors import Problem, RecipeError, pluralise
from landcover_orch.models.networks import Normalised
from landcover_orch.pages.chart import as_png, canvas
from landcover_orch.training import optimisation
from landcover_orch.training.step import dropout_seed
from landcover_orch.training.task import LogLine, Task, step, train_batches, varied

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
"""First and last rate of the test, and its batches: 14 a decade."""

WINDOW = 11
"""Steps over which losses are smoothed and slopes taken: three quarters of a decade."""

DIVERGED = 4.0
"""The test ends where the smoothed loss is this many times its smallest value so far."""

MEMORY = 0.8
"""Smoothing factor: part of the smoothed loss that the next step keeps while the test runs."""

NUMBERS, TABLE, PICTURE = "lr_finder.json", "lr_finder.csv", "lr_finder.png"

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """What a test measured: the loss of each batch before its update at a rate; and the rate it suggests."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def write(folder: Path, curve: Curve) -> list[Path]:
    """Writes a curve as JSON, CSV and PNG into a folder; gives the files."""
    numbers, table, picture = (folder / name for name in (NUMBERS, TABLE, PICTURE))
    numbers.write_text(json.dumps(asdict(curve), indent=1) + "\n", encoding="utf-8")
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = zip(curve.rates, curve.losses, strict=True)
        csv.writer(file, lineterminator="\n").writerows([("lr", "loss"), *rows])
    draw(picture, curve)
    return [numbers, table, picture]


def load(folder: Path) -> Curve:
    """The curve that was written into a folder."""
    curve = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
    return Curve(tuple(curve["rates"]), tuple(curve["losses"]), curve["suggestion"])


def find(task: Task, model: Normalised, log_line: LogLine) -> Curve:
    """The curve of a test on the task's train batches, under the experiment's seed.

    Raises:
        RecipeError: no rate lowers the loss.
    """
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    with restored_weights(model.to(task.device.kind)):
        losses = list(until_divergence(range_test(task, model, rates, log_line)))
    rates = rates[: len(losses)]
    curve = Curve(tuple(rates), tuple(losses), suggestion(rates, losses, task.experiment.name))
    log_line(
        f"learning rate found: {curve.suggestion:.3g}, "
        f"of {pluralise(len(losses), 'rate')} from {LOWEST:g} to {rates[-1]:.3g}"
    )
    return curve


def range_test(task: Task, model: Normalised, rates: Sequence[float], log_line: LogLine) -> Iterator[float]:
    """The loss of one train batch at each rate, before its update."""
    training_step, seed = step(task, model, log_line), task.experiment.seed
    optimiser = optimisation.build_optimiser(task.experiment.optimiser, model, rates[0])
    for rate, read in zip(rates, train_batches(task, 0, len(rates)), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = varied(task, read.to(task.device.kind), 0)
        yield float(training_step.update(batch, optimiser, dropout_seed(seed, 0, read.step)))


def until_divergence(losses: Iterator[float]) -> Iterator[float]:
    """The losses until one is not finite, or the smoothed loss is `DIVERGED` times its smallest value."""
    running, least = 0.0, math.inf
    for number, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            return
        yield loss
        running = MEMORY * running + (1 - MEMORY) * loss
        smoothed = running / (1 - MEMORY**number)
        least = min(least, smoothed)
        if smoothed > DIVERGED * least:
            return


@contextmanager
def restored_weights(model: Normalised) -> Iterator[None]:
    """Restores weights, mode and torch's random state after the block, which runs in training mode."""
    before, training = copy.deepcopy(model.state_dict()), model.training
    try:
        with torch.random.fork_rng():
            model.train()
            yield
    finally:
        model.load_state_dict(before)
        model.zero_grad(set_to_none=True)
        model.train(training)


def smoothed(losses: Sequence[float]) -> Losses:
    """The mean of each loss and its neighbours in a window, a narrower one near the ends."""
    kernel = np.ones(min(WINDOW, len(losses)))
    known = np.convolve(np.ones(len(losses)), kernel, "same")
    mean: Losses = np.convolve(losses, kernel, "same") / known
    return mean


def suggestion(rates: Sequence[float], losses: Sequence[float], experiment: str = "") -> float:
    """The rate at the steepest descent: in the middle of the window in which a line through the losses falls most.

    Lines go through the losses over the logarithm of the rate, so a single batch moves them little; windows beyond
    the smallest smoothed loss do not count, as there a loss falls because it jumped.

    Raises:
        RecipeError: the loss falls in no window.
    """
    half = WINDOW // 2
    lowest = int(smoothed(losses).argmin()) if losses else 0
    slopes = window_slopes(losses)[: max(lowest - half + 1, 0)].tolist()
    if min(slopes, default=0.0) >= 0:
        tried = (
            f"and no rate from {rates[0]:g} to {rates[-1]:.3g} lowers the loss" if losses else "and the loss is none"
        )
        where = f"{file_label('experiments', experiment)}: optimiser.lr"
        fix = "give `optimiser.lr` as a number, and check the labels"
        raise RecipeError(Problem(where, f"auto, {tried}", "a loss that falls at some rate", fix))
    return float(rates[int(np.argmin(slopes)) + half])


def window_slopes(losses: Sequence[float]) -> Losses:
    """Slope of the line through each whole window, per step."""
    if len(losses) < WINDOW:
        return np.empty(0)
    offset = np.arange(WINDOW) - WINDOW // 2
    slopes: Losses = np.lib.stride_tricks.sliding_window_view(np.asarray(losses), WINDOW) @ offset / (offset**2).sum()
    return slopes


def draw(path: Path, curve: Curve) -> None:
    """The losses over the rates as a PNG; a line marks the suggestion."""
    figure = canvas(6.4, 3.6)
    axes, mean = figure.subplots(), smoothed(curve.losses)
    axes.plot(curve.rates, curve.losses, ".", color="#9db4c8", label="a batch")
    axes.plot(curve.rates, mean, color="#1f4e79", label=f"mean of {WINDOW}")
    axes.axvline(curve.suggestion, color="#c0392b", linestyle=":", label=f"steepest descent: {curve.suggestion:.2g}")
    axes.set(title="learning-rate range test", xlabel="learning rate", ylabel="loss", xscale="log")
    low, start = float(mean.min()), float(mean[0])
    axes.set_ylim(low - 0.15 * (start - low), start + 0.6 * (start - low))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
    path.write_bytes(as_png(figure))
