"""The learning loop: Lightning's, with a checkpoint of our own after each epoch, so that no pickle is written or read.

Optimisation is manual: one batch is one update, which `Step` takes in parts where memory is short. The validation
metrics of an epoch are functions of counts over all validation patches. Where patches overlap, a pixel counts once for
each patch it lies in: enough to choose a checkpoint by; the report counts each once.
"""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from landcover_orch.config.experiments import Experiment, Loss, losses
from landcover_orch.errors import Problem, RecipeError, TrainingError
from landcover_orch.legend import IGNORE
from landcover_orch.models.networks import Normalised
from landcover_orch.patches.class_weights import class_weights
from landcover_orch.training import augmentation, checkpoint, history, optimisers, sampling, schedules
from landcover_orch.training.augmentation import Bands, Draw
from landcover_orch.training.checkpoint import Checkpoint
from landcover_orch.training.device import Device
from landcover_orch.training.distributed.process_group import World, joined
from landcover_orch.training.history import Kept, Row
from landcover_orch.training.loader import Batch, Batches, PatchSource, PolygonSource, Read, in_order
from landcover_orch.training.losses import Objective, by_shares
from landcover_orch.training.step import Step, chance
from landcover_orch.training.tally import Tally

Report = Callable[[Row, float], None]
"""Hears of each epoch: its row and its seconds."""

Tell = Callable[[str], None]
"""Takes a line for people."""


@dataclass(frozen=True)
class Task:
    """What is learnt: two splits, the classes and their train pixels, the bands' statistics, and the recipe."""

    experiment: Experiment
    train: PatchSource
    validation: PatchSource
    classes: tuple[str, ...]
    bands: Bands
    class_pixels: tuple[int, ...]
    device: Device
    world: World = field(default_factory=joined)

    @property
    def proportions(self) -> bool:
        """Whether polygons are learnt from by their shares."""
        return any(isinstance(term, losses.Proportions) for term in self.experiment.loss)

    def polygons(self, source: PatchSource) -> PolygonSource | None:
        """A split's polygons, where they are learnt from.

        Raises:
            TrainingError: the dataset keeps none.
        """
        if not self.proportions:
            return None
        if isinstance(source, PolygonSource) and source.keeps_shares:
            return source
        found, expected = "proportions, of a dataset that keeps no shares of polygons", "labels with shares"
        fix = "set `composites.rule: soft` or `composites.keep_fractions: true` in its legend, or leave the loss out"
        raise TrainingError(Problem(f"configs/experiments/{self.experiment.name}.yaml: loss", found, expected, fix))

    @property
    def rows(self) -> slice:
        """Which patches of each batch this process takes."""
        return self.world.rows(self.experiment.batch_size)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        e = self.experiment
        return e.steps_per_epoch or -(-len(self.train) // e.batch_size)


def objective(task: Task) -> Objective:
    """The experiment's losses with their class weights.

    Raises:
        TrainingError: a class that is left out is none of the legend's, or polygons' shares are wanted and not kept.
    """
    e = task.experiment
    weights = [_weights(task, term, f"{e.name}.yaml: loss.{i}") for i, term in enumerate(e.loss)]
    polygons = task.polygons(task.train)
    return Objective(e.loss, weights, None if polygons is None else polygons.shares())


def _weights(task: Task, term: Loss, where: str) -> tuple[float, ...] | None:
    if term.class_weights is None:
        return None
    place = f"configs/experiments/{where}.class_weights"
    return class_weights(term.class_weights, task.class_pixels, task.classes, place)


def step(task: Task, model: Normalised, tell: Tell, parts: int | None = None) -> Step:
    """What takes the task's batches through a network, at first in the experiment's number of parts.

    Raises:
        TrainingError: more processes than patches in a batch.
    """
    e = task.experiment
    if e.batch_size < task.world.size:
        where, found = f"configs/experiments/{e.name}.yaml: batch_size", f"{e.batch_size} patches"
        fix = "raise it, or lower the processes of its launcher"
        raise TrainingError(Problem(where, found, f"at least one for each of {task.world.size} processes", fix))
    aim = objective(task).to(task.device.kind)
    return Step(model, aim, task.device, e.batch_size, parts or e.accumulate, e.clip_gradients, tell, task.world)


def train_batches(task: Task, epoch: int, steps: int | None = None) -> Batches:
    """The batches of an epoch, or that many full ones; varied here on a CPU, by `varied` on a GPU."""
    e, pinned = task.experiment, task.device.kind == "cuda"
    order = sampling.order(task.train, e, epoch, steps)
    vary = None if pinned else host_variation(task, epoch, [len(step) for step in order])
    polygons = task.polygons(task.train)
    return Batches(task.train, order, vary, rows=task.rows, pinned=pinned, polygons=polygons)


def host_variation(task: Task, epoch: int, sizes: Sequence[int]) -> Callable[[int, Read], Read]:
    """What varies this process's rows of the batches of an epoch, of these sizes, on the CPU."""

    def vary(step: int, arrays: Read) -> Read:
        image, label, *polygon = arrays
        drawn = _drawn(task, image.shape[1], sizes[step], epoch, step)
        moved = (augmentation.moved_on_host(numbers, drawn) for numbers in polygon)
        return (*augmentation.on_host(image, label, drawn, task.bands), *moved)

    return vary


def varied(task: Task, batch: Batch, epoch: int) -> Batch:
    """A train batch that has come to its device: varied there on a GPU, as it is on a CPU."""
    if task.device.kind == "cpu":
        return batch
    drawn = _drawn(task, batch.image.shape[1], batch.whole, epoch, batch.step)
    image, label = augmentation.on_device(batch.image, batch.label, drawn, task.bands)
    polygon = None if batch.polygon is None else augmentation.moved_on_device(batch.polygon, drawn)
    return batch._replace(image=image, label=label, polygon=polygon)


def _drawn(task: Task, bands: int, whole: int, epoch: int, step: int) -> Draw:
    """What happens to this process's rows of a batch: a share of what is drawn for the whole."""
    e = task.experiment
    return augmentation.draw((whole, bands), e.augmentation, e.seed, epoch, step).of(task.rows)


class Learner(pl.LightningModule):  # type: ignore[misc]
    """What Lightning's loop calls: batches, updates, validation counts."""

    def __init__(self, task: Task, step: Step, lr: float) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.task, self.step, self.lr, self.model = task, step, lr, step.model
        self.start_epoch([])

    def start_epoch(self, scores: list[float]) -> None:
        """Forgets the sums of the epoch before; `scores` of all epochs before are what a plateau looks at."""
        self.scores = scores
        self.tally = Tally(len(self.task.classes))
        self.losses: list[tuple[Tensor, Tensor]] = []
        self.validation_losses: list[tuple[Tensor, Tensor]] = []

    def train_dataloader(self) -> Batches:
        """Batches of the epoch that begins."""
        return train_batches(self.task, self.current_epoch)

    def val_dataloader(self) -> Batches:
        """Every validation patch once, as it is stored."""
        source, pinned = self.task.validation, self.task.device.kind == "cuda"
        order = in_order(np.arange(len(source)), self.task.experiment.batch_size)
        return Batches(source, order, rows=self.task.rows, pinned=pinned, polygons=self.task.polygons(source))

    def on_after_batch_transfer(self, batch: Batch, _: int) -> Batch:
        """The batch, varied on a GPU."""
        return varied(self.task, batch, self.current_epoch) if self.training else batch

    def training_step(self, batch: Batch, _: int) -> None:
        """One update, at the rate and momentum that the schedule has for it."""
        e, epoch, optimiser = self.task.experiment, self.current_epoch, self.optimizers()
        taken, steps = epoch * self.task.steps + batch.step, e.epochs * self.task.steps
        schedules.apply(schedules.at(e.schedule, taken, steps, self.scores), optimiser, self.lr)
        loss = self.step.update(batch, optimiser, chance(e.seed, epoch, batch.step))
        self.losses.append((loss / self.task.world.size, _labelled(batch)))

    def validation_step(self, batch: Batch, _: int) -> None:
        """Adds a batch to the validation loss and counts."""
        loss, predicted = self.step.judge(batch)
        self.validation_losses.append((loss, _labelled(batch)))
        self.tally.add(batch.label.cpu().numpy(), predicted.cpu().numpy())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The experiment's optimiser."""
        return optimisers.build(self.task.experiment.optimiser, self.model, self.lr)

    def row(self, epoch: int) -> Row:
        """What the epoch that just ended reached; `epoch` counts from 1, the rate is that of its last step."""
        lr = float(self.optimizers().param_groups[0]["lr"])
        world = self.task.world
        losses = (_mean(self.losses, world), _mean(self.validation_losses, world))
        return history.row(epoch, *losses, self.tally.together(world), self.task.classes, lr)


def _labelled(batch: Batch) -> Tensor:
    """How many pixels count, by their class or by the shares of their polygon."""
    labelled = (batch.label != IGNORE).sum()
    return labelled if batch.polygon is None else labelled + by_shares(batch.label, batch.polygon).sum()


def _mean(found: list[tuple[Tensor, Tensor]], world: World) -> float:
    """Mean of batches' losses, each by its labelled pixels, of both the shares of all processes."""
    shares = torch.stack([torch.stack(part).double().cpu() for part in zip(*found, strict=True)])
    losses, pixels = world.sum(shares)
    return float((losses * pixels).sum() / pixels.sum().clamp(min=1))


class Keeper(Callback):  # type: ignore[misc]
    """Goes on from a checkpoint, and after each epoch writes one, reports, and stops when patience is exhausted."""

    def __init__(self, folder: Path, found: Checkpoint | None, report: Report) -> None:
        self.folder, self.found, self.report = folder, found, report
        self.rows: list[Row] = found.history if found else []
        self.seconds: list[float] = found.seconds if found else []
        self.best: dict[str, Any] = found.best if found else {}
        self.when_asked = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Any, learner: Any) -> None:
        """Gives the optimiser the state it had, and all processes the same weights."""
        if learner.task.world.size > 1:
            # Lightning's own tells the other processes of it, and waits where they are not listening.
            signal.signal(signal.SIGTERM, self.when_asked)
        if self.found is not None:
            trainer.optimizers[0].load_state_dict(self.found.optimiser)
        learner.task.world.alike(list(learner.model.network.state_dict().values()))

    def on_train_epoch_start(self, trainer: Any, learner: Any) -> None:
        """Starts the clock."""
        metric = learner.task.experiment.metric
        learner.start_epoch([history.score(row, metric) for row in self.rows])
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, learner: Any) -> None:
        """Keeps the epoch."""
        metric = learner.task.experiment.metric
        entry = learner.row(len(self.rows) + 1)
        learner.step.agree()
        _require_finite(entry, learner.task.experiment)
        self.rows.append(entry)
        self.seconds.append(time.perf_counter() - self.began)
        if history.best(self.rows, metric) is entry:
            self.best = _copy(learner.model.network)
        if learner.task.world.first:
            checkpoint.save(self.folder, self._state(trainer, learner))
        self.report(entry, self.seconds[-1])
        trainer.should_stop |= history.exhausted(self.rows, metric, learner.task.experiment.patience)

    def _state(self, trainer: Any, learner: Any) -> Checkpoint:
        return Checkpoint(
            network=_copy(learner.model.network),
            optimiser=trainer.optimizers[0].state_dict(),
            best=self.best,
            history=self.rows,
            seconds=self.seconds,
            threads=torch.get_num_threads(),
            parts=learner.step.parts,
        )


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _require_finite(entry: Row, experiment: Experiment) -> None:
    if all(loss is not None and math.isfinite(loss) for loss in (entry.loss, entry.validation_loss)):
        return
    raise RecipeError(
        Problem(
            f"configs/experiments/{experiment.name}.yaml, epoch {entry.epoch}",
            f"loss {entry.loss}, validation loss {entry.validation_loss}",
            "numbers",
            "lower `optimiser.lr`, or set it to auto, or set `clip_gradients`",
        )
    )


def fit(task: Task, model: Normalised, folder: Path, report: Report, *, lr: float, tell: Tell = lambda _: None) -> Kept:
    """The rows and seconds of all epochs; `model` holds the best epoch's weights afterwards.

    A checkpoint in `folder` is gone on from. With an equal number of threads on the same CPU the result has the same
    bits as that of a training nobody interrupted.

    Args:
        task: what is learnt.
        model: where from; moved to the task's device and back.
        folder: where checkpoints lie.
        report: hears of each epoch.
        lr: learning rate, the schedule's peak.
        tell: takes lines for people.

    Raises:
        RecipeError: the loss is no number any more, or not even a single image fits into memory.
    """
    found, e = checkpoint.load(folder), task.experiment
    keeper = Keeper(folder, found, report)
    if found is not None:
        model.network.load_state_dict(found.network)
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    taken = step(task, model, tell, found.parts if found else None)
    if len(keeper.rows) < e.epochs and not history.exhausted(keeper.rows, e.metric, e.patience):
        with torch.random.fork_rng():
            _fit(Learner(task, taken, lr), keeper)
    model.network.load_state_dict(keeper.best)
    return Kept(keeper.rows, keeper.seconds, taken.parts)


def _fit(learner: Learner, keeper: Keeper) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    terminal = sys.stderr.isatty()
    trainer = pl.Trainer(
        max_epochs=learner.task.experiment.epochs,
        accelerator=learner.task.device.kind,
        **_processes(learner.task.world),
        callbacks=[keeper, *([TQDMProgressBar(refresh_rate=5)] if terminal else [])],
        enable_progress_bar=terminal,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=keeper.folder,
    )
    trainer.fit_loop.epoch_progress.current.processed = len(keeper.rows)
    with warnings.catch_warnings():
        # Lightning 2.6 builds torch's tree leaves in a way that torch 2.13 warns of.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        with _interruptible():
            trainer.fit(learner)


class SummedByStep(DDPStrategy):  # type: ignore[misc]
    """Lightning's strategy of one process a device on any number of nodes; `Step` sums the gradients.

    DistributedDataParallel sums them during the last backward pass of an update, in which all processes must take
    part: one that runs out of memory there, or has no patch of a small batch, would leave the others waiting.
    """

    def _setup_model(self, model: torch.nn.Module) -> torch.nn.Module:
        return model

    def _register_ddp_hooks(self) -> None:
        """Nothing hooks into what is not wrapped."""


def _processes(world: World) -> dict[str, Any]:
    """What the trainer is told of the processes that train together."""
    if world.environment is None:
        return {"devices": 1, "plugins": [LightningEnvironment()]}
    return {
        "devices": world.local,
        "num_nodes": world.size // world.local,
        "plugins": [world.environment],
        "strategy": SummedByStep(),
    }


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets an interrupt through: Lightning makes a SystemExit of it, and leaves the process deaf to the next one."""
    here = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if here:
            signal.signal(signal.SIGINT, handler)
