"""The learning loop: Lightning's, with a checkpoint of our own after each epoch, so that no pickle is written or read.

The validation metrics of an epoch are functions of one confusion matrix over all validation patches. Where patches
overlap, a pixel counts once for each patch it lies in: enough to choose a checkpoint by; the report counts each once.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from torch import Tensor

from landcover_orch import confusion
from landcover_orch.experiment import Experiment, Optimiser
from landcover_orch.model.networks import Normalised
from landcover_orch.training import augmentation, checkpoint, history, losses
from landcover_orch.training.augmentation import Bands
from landcover_orch.training.checkpoint import Checkpoint
from landcover_orch.training.device import Device
from landcover_orch.training.history import Kept, Row
from landcover_orch.training.loader import Arrays, Batch, Batches, PatchSource, in_order, shuffled

Report = Callable[[Row, float], None]
"""Hears of each epoch: its row and its seconds."""

RISE = 0.3
"""Share of a one-cycle schedule in which the learning rate rises."""


@dataclass(frozen=True)
class Task:
    """What is learnt: two splits, the classes, the bands' statistics, and the recipe."""

    experiment: Experiment
    train: PatchSource
    validation: PatchSource
    classes: tuple[str, ...]
    bands: Bands
    weights: tuple[float, ...] | None
    device: Device

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        e = self.experiment
        return e.steps_per_epoch or -(-len(self.train) // e.batch_size)


def optimiser(settings: Optimiser, module: torch.nn.Module) -> torch.optim.Optimizer:
    """Adam, or SGD with Nesterov momentum."""
    lr = float(settings.lr)
    if settings.name != "sgd":
        return torch.optim.Adam(module.parameters(), lr, weight_decay=settings.weight_decay)
    momentum = settings.momentum
    return torch.optim.SGD(module.parameters(), lr, momentum, weight_decay=settings.weight_decay, nesterov=momentum > 0)


def one_cycle(target: torch.optim.Optimizer, lr: float, steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    """Cosine up to `lr` in 30 % of the steps and down to almost 0, momentum the other way (Smith 2018).

    The momentum of SGD, and the first beta of Adam, falls from 0.95 to 0.85 and returns.
    """
    plain_sgd = isinstance(target, torch.optim.SGD) and not target.defaults["momentum"]
    return torch.optim.lr_scheduler.OneCycleLR(
        target, max_lr=lr, total_steps=steps, pct_start=RISE, cycle_momentum=not plain_sgd
    )


class Learner(pl.LightningModule):  # type: ignore[misc]
    """What Lightning's loop calls: batches, loss, validation counts."""

    def __init__(self, task: Task, model: Normalised) -> None:
        super().__init__()
        self.task, self.model = task, model
        weights = [task.weights if term.class_weights else None for term in task.experiment.loss]
        self.objective = losses.Objective(task.experiment.loss, weights)
        self.start_epoch()

    def start_epoch(self) -> None:
        """Forgets the sums of the epoch before."""
        size = len(self.task.classes)
        self.matrix = np.zeros((size, size), np.int64)
        self.losses: list[Tensor] = []
        self.validation_losses: list[tuple[Tensor, int]] = []

    def train_dataloader(self) -> Batches:
        """Batches of the epoch that begins; varied here on a CPU, on the device for a GPU."""
        e, pinned = self.task.experiment, self.task.device.kind == "cuda"
        steps = shuffled(len(self.task.train), e.batch_size, e.steps_per_epoch, e.seed, self.current_epoch)
        vary = None if pinned else host_variation(self.task, self.current_epoch)
        return Batches(self.task.train, steps, vary, pinned=pinned)

    def val_dataloader(self) -> Batches:
        """Every validation patch once, as it is stored."""
        source, size = self.task.validation, self.task.experiment.batch_size
        return Batches(source, in_order(np.arange(len(source)), size), pinned=self.task.device.kind == "cuda")

    def on_after_batch_transfer(self, batch: Batch, _: int) -> Batch:
        """The batch, varied on a GPU."""
        if not self.training or self.task.device.kind == "cpu":
            return batch
        e = self.task.experiment
        drawn = augmentation.draw(len(batch.image), e.augmentation, e.seed, self.current_epoch, batch.step)
        return Batch(*augmentation.on_device(batch.image, batch.label, drawn, self.task.bands), batch.step)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The batch's loss."""
        loss: Tensor = self.objective(self.model(batch.image), batch.label)
        self.losses.append(loss.detach())
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Adds a batch to the validation loss and the confusion matrix."""
        logits = self.model(batch.image)
        self.validation_losses.append((self.objective(logits, batch.label), len(batch.image)))
        predicted = logits.max(1).indices.to(torch.uint8)
        self.matrix += confusion.count(batch.label.cpu().numpy(), predicted.cpu().numpy(), len(self.task.classes))

    def configure_optimizers(self) -> Any:
        """The experiment's optimiser and schedule."""
        e = self.task.experiment
        chosen = optimiser(e.optimiser, self.model)
        if e.schedule.name == "constant":
            return chosen
        scheduler = one_cycle(chosen, float(e.optimiser.lr), e.epochs * self.task.steps)
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def row(self, epoch: int) -> Row:
        """What the epoch that just ended reached; `epoch` counts from 1."""
        seen = sum(count for _, count in self.validation_losses)
        validation = sum(float(loss) * count for loss, count in self.validation_losses) / seen
        loss = float(torch.stack(self.losses).mean())
        lr = self.optimizers().param_groups[0]["lr"]
        return history.row(epoch, loss, validation, self.matrix, self.task.classes, float(lr))


def host_variation(task: Task, epoch: int) -> Callable[[int, Arrays], Arrays]:
    """What varies a batch of an epoch on the CPU."""
    e = task.experiment

    def vary(step: int, arrays: Arrays) -> Arrays:
        image, label = arrays
        drawn = augmentation.draw(len(image), e.augmentation, e.seed, epoch, step)
        return augmentation.on_host(image, label, drawn, task.bands)

    return vary


class Keeper(Callback):  # type: ignore[misc]
    """Goes on from a checkpoint, and after each epoch writes one, reports, and stops when patience is exhausted."""

    def __init__(self, folder: Path, found: Checkpoint | None, report: Report) -> None:
        self.folder, self.found, self.report = folder, found, report
        self.rows: list[Row] = found.history if found else []
        self.seconds: list[float] = found.seconds if found else []
        self.best: dict[str, Any] = found.best if found else {}

    def on_train_start(self, trainer: Any, learner: Any) -> None:
        """Gives optimiser and schedule the state they had."""
        if self.found is None:
            return
        trainer.optimizers[0].load_state_dict(self.found.optimiser)
        if self.found.scheduler is not None:
            trainer.lr_scheduler_configs[0].scheduler.load_state_dict(self.found.scheduler)

    def on_train_epoch_start(self, trainer: Any, learner: Any) -> None:
        """Starts the clock."""
        learner.start_epoch()
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, learner: Any) -> None:
        """Keeps the epoch."""
        metric = learner.task.experiment.metric
        entry = learner.row(len(self.rows) + 1)
        self.rows.append(entry)
        self.seconds.append(time.perf_counter() - self.began)
        if history.best(self.rows, metric) is entry:
            self.best = _copy(learner.model.network)
        checkpoint.save(self.folder, self._state(trainer, learner))
        self.report(entry, self.seconds[-1])
        trainer.should_stop |= history.exhausted(self.rows, metric, learner.task.experiment.patience)

    def _state(self, trainer: Any, learner: Any) -> Checkpoint:
        schedulers = trainer.lr_scheduler_configs
        return Checkpoint(
            network=_copy(learner.model.network),
            optimiser=trainer.optimizers[0].state_dict(),
            scheduler=schedulers[0].scheduler.state_dict() if schedulers else None,
            best=self.best,
            history=self.rows,
            seconds=self.seconds,
            threads=torch.get_num_threads(),
        )


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def fit(task: Task, model: Normalised, folder: Path, report: Report) -> Kept:
    """The rows and seconds of all epochs; `model` holds the best epoch's weights afterwards.

    A checkpoint in `folder` is gone on from. With an equal number of threads on the same CPU the result has the same
    bits as that of a training nobody interrupted.
    """
    found = checkpoint.load(folder)
    keeper = Keeper(folder, found, report)
    if found is not None:
        model.network.load_state_dict(found.network)
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    e = task.experiment
    if len(keeper.rows) < e.epochs and not history.exhausted(keeper.rows, e.metric, e.patience):
        _fit(task, model, keeper)
    model.network.load_state_dict(keeper.best)
    return Kept(keeper.rows, keeper.seconds)


def _fit(task: Task, model: Normalised, keeper: Keeper) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    terminal = sys.stderr.isatty()
    trainer = pl.Trainer(
        max_epochs=task.experiment.epochs,
        accelerator=task.device.kind,
        devices=1,
        precision="bf16-mixed" if task.device.bfloat16 else "32-true",
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
            trainer.fit(Learner(task, model))


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
