"""Training of classical models: train pixels are sampled, scikit-learn fits them, the validation split is scored.

There is no checkpoint: an interrupted fit begins again, and ends with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from landcover_orch.errors import Problem, TrainingError
from landcover_orch.legend import IGNORE
from landcover_orch.models import texture
from landcover_orch.models.k_means import KMeans
from landcover_orch.models.networks import Normalised
from landcover_orch.models.random_forest import RandomForest
from landcover_orch.training import history
from landcover_orch.training.device import Device
from landcover_orch.training.history import Row, Tally, TrainingHistory
from landcover_orch.training.loader import in_order
from landcover_orch.training.task import EpochCallback, Task
from landcover_orch.training.throughput import Table

PIXELS = 4
"""Separates this stream of random numbers from the others of one seed."""

SPREAD = 512
"""Patches that are drawn from at least, where there are as many: neighbouring pixels add little information."""

BATCH = 8
"""Patches in memory at a time."""

DEVICE = Device("cpu", bfloat16=False, name="the CPU")
"""What scikit-learn runs on."""

UNMEASURED: Table = {"read": None, "read_augment": None, "step": None}
"""The throughput of something that takes no steps."""

Features = NDArray[np.float32]
Classes = NDArray[np.uint8]
Sample = tuple[Features, Classes, NDArray[np.float64]]


class ReservoirSampler:
    """Reservoir sampling: a uniform sample of fixed size of all pixels seen, those with the smallest random keys."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.limit = np.inf
        self.seen = 0
        self.keys = np.empty(0)
        self.rows: Features | None = None
        self.classes = np.empty(0, np.uint8)

    @property
    def full(self) -> bool:
        """Whether the sample has its size."""
        return len(self.keys) == self.size

    def add(self, keys: NDArray[np.float64], rows: Features, classes: Classes) -> None:
        """Adds pixels with their keys (pixel,), features (pixel, feature) and classes (pixel,)."""
        all_keys = np.concatenate([self.keys, keys])
        order = np.argsort(all_keys, kind="stable")[: self.size]
        self.keys = all_keys[order]
        self.rows = (rows if self.rows is None else np.concatenate([self.rows, rows]))[order]
        self.classes = np.concatenate([self.classes, classes])[order]
        if self.full:
            self.limit = float(self.keys[-1])


def fit(task: Task, model: Normalised, on_epoch: EpochCallback) -> TrainingHistory:
    """Fits a classical model: one row and its seconds; `model` holds the fitted trees or clusters afterwards.

    Raises:
        TrainingError: no train patch has a labelled pixel.
    """
    began, network = time.perf_counter(), _network(model)
    with torch.inference_mode():
        rows, classes, weights = sample(task, model)
        # Sums over threads would change last bits with their number.
        with threadpool_limits(1):
            network.learn(rows, classes, weights, task.experiment.seed)
        row = evaluate(task, model, (rows, classes, weights))
    seconds = time.perf_counter() - began
    on_epoch(row, seconds)
    return TrainingHistory([row], [seconds])


def _network(model: Normalised) -> RandomForest | KMeans:
    if not isinstance(model.network, RandomForest | KMeans):
        raise TypeError(f"{type(model.network).__name__} learns by gradients")
    return model.network


def sample(task: Task, model: Normalised) -> Sample:
    """Features (pixel, feature), classes and weights (pixel,) of train pixels that are labelled.

    Drawn from patches in random order: from all, or from enough and at least `SPREAD`. A forest takes equally many
    pixels of each class, as far as they go, since it would otherwise see little of a rare one; each then counts for as
    many as it was drawn from, since a forest of equal classes would find the rare ones everywhere.

    Raises:
        TrainingError: no train patch has a labelled pixel.
    """
    network = _network(model)
    settings, groups = network.settings, len(task.classes) if isinstance(network, RandomForest) else 1
    reservoirs = [ReservoirSampler(max(settings.pixels // groups, 1)) for _ in range(groups)]
    random = np.random.default_rng([task.experiment.seed, PIXELS])
    for seen, (values, label) in enumerate(shuffled_patches(task, model, random), start=1):
        add_patch(reservoirs, random.random(label.size), values, label.reshape(-1), settings.texture)
        if seen >= SPREAD and all(reservoir.full for reservoir in reservoirs):
            break
    return merge(reservoirs)


def shuffled_patches(
    task: Task, model: Normalised, random: np.random.Generator
) -> Iterator[tuple[torch.Tensor, Classes]]:
    """Normalised images (band, y, x) and labels (y, x), in random order."""
    for indices in in_order(random.permutation(len(task.train)), BATCH):
        image, label = task.train.take(indices)
        yield from zip(model.normalise(torch.from_numpy(np.ascontiguousarray(image))), label, strict=True)


def add_patch(
    reservoirs: list[ReservoirSampler],
    keys: NDArray[np.float64],
    values: torch.Tensor,
    label: Classes,
    windows: tuple[int, ...],
) -> None:
    """Adds a patch's labelled pixels to the reservoir of their class, or to the only one; features only if needed."""
    groups = [label == group for group in range(len(reservoirs))] if len(reservoirs) > 1 else [label != IGNORE]
    for reservoir, mask in zip(reservoirs, groups, strict=True):
        reservoir.seen += int(mask.sum())
    drawn = [np.flatnonzero(mask & (keys < r.limit)) for mask, r in zip(groups, reservoirs, strict=True)]
    if not any(chosen.size for chosen in drawn):
        return
    rows = texture.table(values, windows).numpy()
    for reservoir, chosen in zip(reservoirs, drawn, strict=True):
        if chosen.size:
            reservoir.add(keys[chosen], rows[chosen], label[chosen])


def merge(reservoirs: list[ReservoirSampler]) -> Sample:
    """The samples of all reservoirs together, weighted by how many pixels each stands for (mean weight 1)."""
    rows = [reservoir.rows for reservoir in reservoirs if reservoir.rows is not None]
    if not rows:
        fix = "choose tiles that have labels"
        raise TrainingError(Problem("the train split", "no labelled pixel", "some", fix))
    classes = np.concatenate([reservoir.classes for reservoir in reservoirs])
    weights = np.concatenate([np.full(len(r.classes), r.seen / max(len(r.classes), 1)) for r in reservoirs])
    return np.concatenate(rows), classes, weights / weights.mean()


def evaluate(task: Task, model: Normalised, drawn: Sample) -> Row:
    """Evaluates a fitted model: the loss of the sampled pixels, the metrics of the whole validation split."""
    rows, classes, weights = drawn
    logits = texture.logarithms(_network(model).predict(torch.from_numpy(rows)))
    loss = float((cross_entropy(logits, classes) * torch.from_numpy(weights)).mean())
    tally, total_loss = Tally(len(task.classes)), 0.0
    for indices in in_order(np.arange(len(task.validation)), BATCH):
        image, label = task.validation.take(indices)
        logits = model(torch.from_numpy(np.ascontiguousarray(image)))
        tally.add(label, logits.max(1).indices.to(torch.uint8).numpy())
        total_loss += float(cross_entropy(logits, label).sum())
    return history.row(1, loss, total_loss / max(int(tally.matrix.sum()), 1), tally, task.classes, None)


def cross_entropy(logits: torch.Tensor, label: Classes) -> torch.Tensor:
    """Cross-entropy of each pixel, 0 where it is not labelled."""
    target = torch.from_numpy(label.astype(np.int64))
    return torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none").double()
