"""Training loop: Lightning's, with a checkpoint of our own after each epoch, so that no pickle is written or read.

Optimisation is manual: one batch is one update, which `Step` takes in micro-batches where memory is short. The
validation metrics of an epoch are functions of counts over all validation patches. Where patches overlap, a pixel
counts once for each patch it lies in: enough to choose a checkpoint by; the report counts each once.
"""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from landcover_orch.config import file_label
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import Problem, RecipeError
from landcover_orch.legend import IGNORE
from landcover_orch.models.networks import Normalised
from landcover_orch.training import checkpoint, history, optimisation
from landcover_orch.training.checkpoint import Checkpoint
from landcover_orch.training.distributed.process import require_not_asked
from landcover_orch.training.distributed.process_group import ProcessGroup
from landcover_orch.training.history import Row, Tally, TrainingHistory
from landcover_orch.training.loader import Batch, Batches, in_order
from landcover_orch.training.losses import soft_label_mask
from landcover_orch.training.step import Step, dropout_seed
from landcover_orch.training.task import (
    EpochCallback,
    LogLine,
    Task,
    step,
    train_batches,
    varied,
)


class Learner(pl.LightningModule):
    """Lightning module: batches, updates, validation counts."""

    def __init__(self, task: Task, step: Step, lr: float) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.task, self.step, self.lr, self.model = task, step, lr, step.model
        self.start_epoch([])

    def start_epoch(self, scores: list[float]) -> None:
        """Resets the sums of the epoch before; `scores` of all epochs before are what a plateau depends on."""
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
        require_not_asked()
        e, epoch = self.task.experiment, self.current_epoch
        optimiser: Any = self.optimizers()  # Lightning's, which counts its steps
        steps_done, steps = epoch * self.task.steps + batch.step, e.epochs * self.task.steps
        optimisation.apply(optimisation.at(e.schedule, steps_done, steps, self.scores), optimiser, self.lr)
        loss = self.step.update(batch, optimiser, dropout_seed(e.seed, epoch, batch.step))
        self.losses.append((loss / self.task.group.size, _labelled(batch)))

    def validation_step(self, batch: Batch, _: int) -> None:
        """Adds a batch to the validation loss and counts."""
        loss, predicted = self.step.evaluate(batch)
        self.validation_losses.append((loss, _labelled(batch)))
        self.tally.add(batch.label.cpu().numpy(), predicted.cpu().numpy())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The experiment's optimiser."""
        return optimisation.build_optimiser(self.task.experiment.optimiser, self.model, self.lr)

    def row(self, epoch: int) -> Row:
        """What the epoch that just ended reached; `epoch` counts from 1, the rate is that of its last step."""
        lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        group = self.task.group
        losses = (mean_loss(self.losses, group), mean_loss(self.validation_losses, group))
        return history.row(epoch, *losses, self.tally.all_gather(group), self.task.classes, lr)


def _labelled(batch: Batch) -> Tensor:
    """How many pixels count, by their class or by the class fractions of their polygon."""
    labelled = (batch.label != IGNORE).sum()
    return labelled if batch.polygon is None else labelled + soft_label_mask(batch.label, batch.polygon).sum()


def mean_loss(losses_and_pixels: list[tuple[Tensor, Tensor]], group: ProcessGroup) -> float:
    """Mean loss of an epoch: of batches' losses, each by its labelled pixels, both summed over all processes."""
    local = torch.stack([torch.stack(part).double().cpu() for part in zip(*losses_and_pixels, strict=True)])
    losses, pixels = group.sum(local)
    return float((losses * pixels).sum() / pixels.sum().clamp(min=1))


class CheckpointCallback(Callback):
    """Checkpointing and early stopping: resumes, and after each epoch writes a checkpoint, reports, may stop."""

    def __init__(self, folder: Path, resumed: Checkpoint | None, on_epoch: EpochCallback) -> None:
        self.folder, self.resumed, self.on_epoch = folder, resumed, on_epoch
        self.rows: list[Row] = resumed.history if resumed else []
        self.seconds: list[float] = resumed.seconds if resumed else []
        self.best: dict[str, Any] = resumed.best if resumed else {}
        self.sigterm_handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Any, learner: Any) -> None:
        """Restores the optimiser's state, and broadcasts the weights to all processes."""
        if learner.task.group.size > 1:
            # Lightning's own handler passes it on to the other processes, and waits where they do not answer.
            signal.signal(signal.SIGTERM, self.sigterm_handler)
        if self.resumed is not None:
            trainer.optimizers[0].load_state_dict(self.resumed.optimiser)
        learner.task.group.broadcast(list(learner.model.network.state_dict().values()))

    def on_train_epoch_start(self, trainer: Any, learner: Any) -> None:
        """Starts the clock."""
        metric = learner.task.experiment.metric
        learner.start_epoch([history.score(row, metric) for row in self.rows])
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, learner: Any) -> None:
        """Records the epoch."""
        metric = learner.task.experiment.metric
        entry = learner.row(len(self.rows) + 1)
        learner.step.synchronise()
        require_finite(entry, learner.task.experiment)
        self.rows.append(entry)
        self.seconds.append(time.perf_counter() - self.began)
        if history.best(self.rows, metric) is entry:
            self.best = _copy(learner.model.network)
        if learner.task.group.is_main:
            checkpoint.save(self.folder, self.state(trainer, learner))
        self.on_epoch(entry, self.seconds[-1])
        trainer.should_stop |= history.exhausted(self.rows, metric, learner.task.experiment.patience)

    def state(self, trainer: Any, learner: Any) -> Checkpoint:
        """The checkpoint of the epoch that just ended."""
        return Checkpoint(
            network=_copy(learner.model.network),
            optimiser=trainer.optimizers[0].state_dict(),
            best=self.best,
            history=self.rows,
            seconds=self.seconds,
            threads=torch.get_num_threads(),
            micro_batches=learner.step.micro_batches,
        )


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def require_finite(entry: Row, experiment: Experiment) -> None:
    """Divergence check: raises RecipeError where a loss of an epoch is NaN or infinite."""
    if all(loss is not None and math.isfinite(loss) for loss in (entry.loss, entry.validation_loss)):
        return
    losses = ["unknown" if loss is None else f"{loss:.4g}" for loss in (entry.loss, entry.validation_loss)]
    raise RecipeError(
        Problem(
            file_label("experiments", experiment.name),
            f"diverged at epoch {entry.epoch}: loss {losses[0]}, validation loss {losses[1]}",
            "numbers",
            "lower `optimiser.lr`, or set it to auto, or set `clip_gradients`",
        )
    )


def fit(
    task: Task,
    model: Normalised,
    folder: Path,
    on_epoch: EpochCallback,
    *,
    lr: float,
    log_line: LogLine = lambda _: None,
) -> TrainingHistory:
    """Trains a network: the rows and seconds of all epochs; `model` holds the best epoch's weights afterwards.

    Resumes from a checkpoint in `folder`. With an equal number of threads on the same CPU the result has the same bits
    as that of an uninterrupted training.

    Args:
        task: what is learnt.
        model: the start; it goes to the task's device and back.
        folder: where checkpoints lie.
        on_epoch: called after each epoch.
        lr: learning rate, the schedule's peak.
        log_line: takes lines of the log.

    Raises:
        RecipeError: the loss is no number any more, or not even a single image fits into memory.
    """
    resumed, e = checkpoint.load(folder), task.experiment
    callback = CheckpointCallback(folder, resumed, on_epoch)
    if resumed is not None:
        model.network.load_state_dict(resumed.network)
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training_step = step(task, model, log_line, resumed.micro_batches if resumed else None)
    if len(callback.rows) < e.epochs and not history.exhausted(callback.rows, e.metric, e.patience):
        with torch.random.fork_rng():
            run_trainer(Learner(task, training_step, lr), callback)
    model.network.load_state_dict(callback.best)
    return TrainingHistory(callback.rows, callback.seconds, training_step.micro_batches)


def run_trainer(learner: Learner, callback: CheckpointCallback) -> None:
    """Runs Lightning's Trainer: no logger, no checkpoints of its own, a progress bar on a terminal."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    terminal = sys.stderr.isatty()
    trainer = pl.Trainer(
        max_epochs=learner.task.experiment.epochs,
        accelerator=learner.task.device.kind,
        **trainer_processes(learner.task.group),
        callbacks=[callback, *([TQDMProgressBar(refresh_rate=5)] if terminal else [])],
        enable_progress_bar=terminal,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=callback.folder,
    )
    trainer.fit_loop.epoch_progress.current.processed = len(callback.rows)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        # Lightning 2.6 builds torch's tree leaves in a way that torch 2.13 warns of.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        with reraise_interrupts():
            trainer.fit(learner)


class SummedByStep(DDPStrategy):
    """Lightning's strategy of one process a device on any number of nodes; `Step` sums the gradients.

    DistributedDataParallel sums them during the last backward pass of an update, in which all processes must take
    part: one that runs out of memory there, or has no patch of a small batch, would leave the others waiting.
    """

    def _setup_model(self, model: torch.nn.Module) -> torch.nn.Module:  # type: ignore[override]
        return model

    def _register_ddp_hooks(self) -> None:
        """Nothing hooks into what is not wrapped."""


def trainer_processes(group: ProcessGroup) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for the processes that train together."""
    if group.environment is None:
        return {"devices": 1, "plugins": [LightningEnvironment()]}
    return {
        "devices": group.local,
        "num_nodes": group.size // group.local,
        "plugins": [group.environment],
        "strategy": SummedByStep(),
    }


@contextmanager
def reraise_interrupts() -> Iterator[None]:
    """Re-raises KeyboardInterrupt: Lightning makes a SystemExit of it, and leaves the next SIGINT without effect."""
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
