"""Training task: what a training reads, its losses, and its batches as they vary from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from landcover_orch import config
from landcover_orch.config import file_label
from landcover_orch.config.experiments import Experiment, losses
from landcover_orch.errors import Problem, TrainingError, pluralise
from landcover_orch.models.networks import Normalised
from landcover_orch.patches.class_weights import class_weights
from landcover_orch.training import augmentation, sampling
from landcover_orch.training.augmentation import Bands, Draw
from landcover_orch.training.device import Device
from landcover_orch.training.distributed.process_group import ProcessGroup, init_process_group
from landcover_orch.training.history import Row
from landcover_orch.training.loader import Batch, Batches, PatchSource, PolygonSource, Read
from landcover_orch.training.losses import Objective
from landcover_orch.training.step import Step

EpochCallback = Callable[[Row, float], None]
"""Callback at the end of each epoch: its row and its seconds."""

LogLine = Callable[[str], None]
"""Callback that takes a line of the log."""


@dataclass(frozen=True)
class Task:
    """Training task: two splits, the classes and their train pixels, the bands' statistics, and the experiment."""

    experiment: Experiment
    train: PatchSource
    validation: PatchSource
    classes: tuple[str, ...]
    bands: Bands
    class_pixels: tuple[int, ...]
    device: Device
    group: ProcessGroup = field(default_factory=init_process_group)
    code: Path = field(default_factory=config.code_folder)
    """Folder of custom code."""

    @property
    def proportions(self) -> bool:
        """Whether polygons are learnt from by their class fractions."""
        return any(isinstance(term, losses.Proportions) for term in self.experiment.loss)

    def polygons(self, source: PatchSource) -> PolygonSource | None:
        """A split's polygons, where they are learnt from.

        Raises:
            TrainingError: the dataset keeps none.
        """
        if not self.proportions:
            return None
        if isinstance(source, PolygonSource) and source.keeps_fractions:
            return source
        where, loss = (
            f"{file_label('experiments', self.experiment.name)}: loss",
            "proportions, of a dataset that keeps no",
        )
        fix = "set `composites.rule: soft` or `composites.keep_fractions: true` in its legend, or leave the loss out"
        raise TrainingError(Problem(where, f"{loss} class fractions of polygons", "labels with class fractions", fix))

    @property
    def rows(self) -> slice:
        """Which patches of each batch this process takes."""
        return self.group.rows(self.experiment.batch_size)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        e = self.experiment
        return e.steps_per_epoch or -(-len(self.train) // e.batch_size)


def objective(task: Task) -> Objective:
    """The experiment's losses with their class weights.

    Raises:
        TrainingError: a class that is left out is none of the legend's, or polygons' fractions are needed and not kept.
    """
    e = task.experiment
    weights = [
        None
        if term.class_weights is None
        else class_weights(
            term.class_weights,
            task.class_pixels,
            task.classes,
            f"{file_label('experiments', e.name)}: loss.{i}.class_weights",
        )
        for i, term in enumerate(e.loss)
    ]
    polygons = task.polygons(task.train)
    return Objective(e.loss, weights, None if polygons is None else polygons.fractions(), task.code)


def step(task: Task, model: Normalised, log_line: LogLine, micro_batches: int | None = None) -> Step:
    """Training step: takes the task's batches through a network, at first in the experiment's micro-batches.

    Raises:
        TrainingError: more processes than patches in a batch.
    """
    e = task.experiment
    if e.batch_size < task.group.size:
        where, size = f"{file_label('experiments', e.name)}: batch_size", pluralise(e.batch_size, "patch")
        fix = "raise it, or lower the processes of its launcher"
        raise TrainingError(
            Problem(where, size, f"at least one for each of {pluralise(task.group.size, 'process')}", fix)
        )
    return Step(
        model,
        objective(task).to(task.device.kind),
        task.device,
        e.batch_size,
        micro_batches or e.accumulate,
        e.clip_gradients,
        log_line,
        task.group,
    )


def train_batches(task: Task, epoch: int, steps: int | None = None) -> Batches:
    """The batches of an epoch, or that many full ones; varied here on a CPU, by `varied` on a GPU."""
    e, pinned = task.experiment, task.device.kind == "cuda"
    order = sampling.order(task.train, e, epoch, steps, code=task.code)
    vary = None if pinned else host_variation(task, epoch, [len(step) for step in order])
    polygons = task.polygons(task.train)
    return Batches(task.train, order, vary, rows=task.rows, pinned=pinned, polygons=polygons)


def host_variation(task: Task, epoch: int, sizes: Sequence[int]) -> Callable[[int, Read], Read]:
    """What varies this process's rows of the batches of an epoch, of these sizes, on the CPU."""

    def vary(step: int, arrays: Read) -> Read:
        image, label, *polygon = arrays
        drawn = _draw(task, image.shape[1], sizes[step], epoch, step)
        varied_ids = (augmentation.transform_ids_on_host(numbers, drawn) for numbers in polygon)
        return (*augmentation.on_host(image, label, drawn, task.bands), *varied_ids)

    return vary


def varied(task: Task, batch: Batch, epoch: int) -> Batch:
    """A train batch that has come to its device: varied there on a GPU, as it is on a CPU."""
    if task.device.kind == "cpu":
        return batch
    drawn = _draw(task, batch.image.shape[1], batch.batch_size, epoch, batch.step)
    image, label = augmentation.on_device(batch.image, batch.label, drawn, task.bands)
    polygon = None if batch.polygon is None else augmentation.transform_ids_on_device(batch.polygon, drawn)
    return batch._replace(image=image, label=label, polygon=polygon)


def _draw(task: Task, bands: int, batch_size: int, epoch: int, step: int) -> Draw:
    """Augmentation of this process's rows of a batch: a part of what is drawn for the whole batch."""
    e = task.experiment
    return augmentation.draw((batch_size, bands), e.augmentation, e.seed, epoch, step).of(task.rows)
