"""Training run: fits the model of an experiment and writes the files of its product into a stage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from landcover_orch import custom
from landcover_orch.config import file_label
from landcover_orch.config.experiments import Classical, Experiment
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.errors import Problem, TrainingError
from landcover_orch.models.contract import Contract
from landcover_orch.models.networks import Normalised, parameters, save
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.store.canonical import canonical
from landcover_orch.store.products import HISTORY, SUMMARY, THROUGHPUT
from landcover_orch.store.publish import Product, Stage
from landcover_orch.tracking import Log
from landcover_orch.tracking.metrics import epoch_metrics, training_metrics
from landcover_orch.training import checkpoint, classical, ensemble, history, lr_finder, setup, throughput
from landcover_orch.training.distributed.process_group import init_process_group
from landcover_orch.training.history import Row, TrainingHistory
from landcover_orch.training.hooks import JOURNAL, Progress
from landcover_orch.training.task import EpochCallback, Task

FINDER = "lr_finder"

ResumableEpochCallback = Callable[[Row, float, bool], None]
"""Callback of each epoch: its row, its seconds, and whether it was trained before an interruption."""


def train_into(
    stage: Stage,
    manifest: DatasetManifest,
    experiment: Experiment,
    home: Path,
    log: Log,
    progress: Progress,
    members: Mapping[str, Product],
) -> None:
    """Trains into a stage: fits the model, measures the throughput, writes all files of the product."""

    def on_epoch(row: Row, seconds: float, resumed: bool) -> None:
        log.epoch(row.epoch, epoch_metrics(asdict(row), seconds))
        if not resumed:
            progress(epoch_line(row, seconds, experiment))

    task, model, epochs = learn(stage, manifest, experiment, home, on_epoch, progress, members)
    stepless = isinstance(experiment.model, Classical | Ensemble)
    measured = classical.UNMEASURED if stepless else throughput.table(task, epochs.seconds)
    for line in throughput.lines(measured, experiment.cache):
        progress(line)
    write_files(stage, setup.contract(manifest, experiment, members), manifest, experiment, model, epochs, measured)
    copy_members_code(stage, members)
    log.finish(stage.path, training_metrics(measured, epochs.micro_batches))
    for name in (checkpoint.FILE, JOURNAL):
        (stage.path / name).unlink(missing_ok=True)


def learn(
    stage: Stage,
    manifest: DatasetManifest,
    experiment: Experiment,
    home: Path,
    on_epoch: ResumableEpochCallback,
    progress: Progress = lambda line: None,
    members: Mapping[str, Product] = setup.NO_MEMBERS,
    code: Path | None = None,
) -> tuple[Task, Normalised, TrainingHistory]:
    """Fits a model: the task, the model with its best weights, and all epochs; only the checkpoint is written.

    Args:
        stage: where the checkpoint lies that is resumed from.
        manifest: the dataset's manifest.
        experiment: what is trained, and how.
        home: folder everything is written below.
        on_epoch: called with each epoch; first with those before an interruption, since a kill may have come before.
        progress: takes lines of the log.
        members: of an ensemble.
        code: folder of custom code; None: that of the stage.

    Raises:
        TrainingError: as for `train`, or what `on_epoch` raises, which ends the training.
    """

    def on_new_epoch(row: Row, seconds: float) -> None:
        on_epoch(row, seconds, False)

    code = code or stage.path / custom.FOLDER
    task = setup.task(manifest, experiment, home, code)
    progress(f"{task.device}{'' if isinstance(experiment.model, Classical | Ensemble) else task.group.description()}")
    model = setup.model(manifest, experiment, home, members, code)
    resumed = checkpoint.load(stage.path)
    for row, seconds in zip(resumed.history, resumed.seconds, strict=True) if resumed else ():
        on_epoch(row, seconds, True)
    if resumed is not None:
        progress(resumed.resume_message)
    if isinstance(experiment.model, Classical):
        return task, model, classical.fit(task, model, on_new_epoch)
    if isinstance(experiment.model, Ensemble):
        return task, model, ensemble.score(task, model, on_new_epoch)
    task.group.broadcast_text(
        canonical({"stage": str(stage.path), "code": str(code), "manifest": manifest, "experiment": experiment})
    )
    return task, model, fit_network(task, model, stage, on_new_epoch, progress)


def fit_network(
    task: Task, model: Normalised, stage: Stage, on_epoch: EpochCallback, progress: Progress
) -> TrainingHistory:
    """Fits a network by gradient descent, at the experiment's learning rate or that of a range test."""
    from landcover_orch.training.fit import fit  # loads Lightning, which forests and ensembles do without

    lr = learning_rate(task, model, stage, progress)
    return fit(task, model, stage.path, on_epoch, lr=lr, log_line=progress)


def follow(home: Path) -> None:
    """Worker loop of ranks above 0: fits the local batches of all that rank 0 trains, until it ends; writes nothing.

    What takes no steps, forests and ensembles, rank 0 does alone.
    """
    while True:
        try:
            message = init_process_group().broadcast_text()
        except RuntimeError as error:
            raise SystemExit(1) from error  # rank 0 has ended, and said why
        if not message:
            return
        training = json.loads(message)
        manifest = DatasetManifest.model_validate(training["manifest"])
        experiment = Experiment.model_validate(training["experiment"])
        stage, code = Stage(Path(training["stage"])), Path(training["code"])
        task = setup.task(manifest, experiment, home, code)
        model = setup.model(manifest, experiment, home, code=code)
        fit_network(task, model, stage, lambda row, seconds: None, lambda line: None)


def learning_rate(task: Task, model: Normalised, stage: Stage, progress: Progress) -> float:
    """Learning rate: the experiment's; of `auto` that of a range test, now or before an interruption."""
    if task.experiment.optimiser.lr != "auto":
        return task.experiment.optimiser.lr
    if stage.done(FINDER):
        return lr_finder.load(stage.path).suggestion
    curve = lr_finder.find(task, model, progress)
    if task.group.is_main:
        stage.mark(FINDER, *lr_finder.write(stage.path, curve))
    return curve.suggestion


def find_lr(
    manifest_product: Product, experiment: Experiment, home: Path, *, progress: Progress = lambda line: None
) -> lr_finder.Curve:
    """Learning-rate range test of an experiment; nothing is trained or written.

    Raises:
        TrainingError: as for `train`, or no rate lowers the loss, or the model takes none.
    """
    if isinstance(experiment.model, Classical | Ensemble):
        where = f"{file_label('experiments', experiment.name)}: model"
        family, fix = f"{experiment.model.name}, which takes no steps", "train it as it is"
        raise TrainingError(Problem(where, family, "a network", fix))
    manifest = load_manifest(folds.training_manifest(manifest_product, experiment, home).path)
    task = setup.task(manifest, experiment, home)
    progress(str(task.device))
    return lr_finder.find(task, setup.model(manifest, experiment, home), progress)


def write_files(
    stage: Stage,
    contract: Contract,
    manifest: DatasetManifest,
    experiment: Experiment,
    model: Normalised,
    epochs: TrainingHistory,
    measured: throughput.Table,
) -> None:
    """Writes the files of a model's product into its stage: weights, contract, history, curves and summary."""
    best = history.best(epochs.rows, experiment.metric)
    colours = [c.colour for c in manifest.legend.classes]
    save(stage.path, model, contract)
    stage.write_json(HISTORY, [asdict(row) for row in epochs.rows])
    history.write_csv(stage.path / "history.csv", epochs.rows)
    history.draw(stage.path / "curves.png", epochs.rows, colours, best.epoch)
    stage.write_json(THROUGHPUT, {"images_per_second": measured, "epoch_seconds": epochs.seconds})
    facts = summary(manifest, experiment, model, epochs)
    if not isinstance(experiment.model, Classical | Ensemble):
        facts["accumulate"] = epochs.micro_batches
        if stage.done(FINDER):
            facts["lr_found"] = lr_finder.load(stage.path).suggestion
    if contract.informed:
        facts["validation_known_to"] = list(contract.informed)
    stage.write_json(SUMMARY, facts)


def copy_members_code(stage: Stage, members: Mapping[str, Product]) -> None:
    """Copies the custom code of an ensemble's members, each below its fingerprint: versions may differ."""
    for member in members.values():
        if (member.path / custom.FOLDER).is_dir():
            shutil.copytree(
                member.path / custom.FOLDER, stage.path / custom.FOLDER / member.fingerprint, dirs_exist_ok=True
            )


def summary(
    manifest: DatasetManifest, experiment: Experiment, model: Normalised, epochs: TrainingHistory
) -> dict[str, Any]:
    """Summary of a training: the best epoch's losses and metrics, and the majority class as a baseline."""
    best = history.best(epochs.rows, experiment.metric)
    pixels = setup.pixels(manifest, manifest.dataset.splits.checkpoint_split)
    return {
        "loss": best.loss,
        "validation_loss": best.validation_loss,
        "lr": best.lr,
        **best.metrics,
        **{f"iou {name}": value for name, value in best.iou.items()},
        "epochs": len(epochs.rows),
        "best_epoch": best.epoch,
        "chosen_by": experiment.metric,
        "majority_share": max(pixels) / sum(pixels),
        "parameters": parameters(model.network),
        "model": experiment.model.name,
    }


def epoch_line(row: Row, seconds: float, experiment: Experiment) -> str:
    """A line of the log: losses and mean IoU of an epoch."""
    iou = "undefined" if row.metrics["mean_iou"] is None else f"{row.metrics['mean_iou']:.3f}"
    if row.loss is None:
        return f"together: validation loss {row.validation_loss:.4f}, mean IoU {iou}, {seconds:.1f} s"
    step = "fitted" if isinstance(experiment.model, Classical) else f"epoch {row.epoch} of {experiment.epochs}"
    return f"{step}: loss {row.loss:.4f}, validation loss {row.validation_loss:.4f}, mean IoU {iou}, {seconds:.1f} s"
