"""Model training: from a dataset's manifest and an experiment to a published model.

The product's files follow from its recipe, on one machine with one number of threads and memory enough, to the bit;
throughput.json alone does not: it holds what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from landcover_orch import config
from landcover_orch.config.experiments import Classical, Experiment
from landcover_orch.config.experiments.experiment import unused
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.errors import Problem, TrainingError
from landcover_orch.models import pretrained
from landcover_orch.models.contract import Contract
from landcover_orch.models.networks import Normalised, parameters, save
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.store import publish
from landcover_orch.store.canonical import canonical
from landcover_orch.store.fingerprint import MEMORY, fingerprint
from landcover_orch.store.products import HISTORY, MODEL, SUMMARY, THROUGHPUT
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import Log, Start, untracked
from landcover_orch.training import VERSION, checkpoint, classical, ensemble, history, lr_finder, setup, throughput
from landcover_orch.training.distributed.process_group import init_process_group
from landcover_orch.training.fit import EpochCallback, Task, fit
from landcover_orch.training.history import Row, TrainingHistory

JOURNAL = "tracking.jsonl"
FINDER = "lr_finder"
NO_FINGERPRINTS: Mapping[str, str] = MappingProxyType({})

Tracker = Callable[[Start], AbstractContextManager[Log]]
Progress = Callable[[str], None]

ResumableEpochCallback = Callable[[Row, float, bool], None]
"""Callback of each epoch: its row, its seconds, and whether it was trained before an interruption."""


def recipe(
    manifest: DatasetManifest,
    experiment: Experiment,
    home: Path | None = None,
    members: Mapping[str, str] = NO_FINGERPRINTS,
) -> Recipe:
    """Build recipe of a model: the manifest's digest, and all of the experiment that training depends on.

    Pretrained weights count by their bytes; they lie below `home` (default: LANDCOVER_HOME). An ensemble's members
    count by their fingerprints.

    Raises:
        ConfigError: the path of the weights leaves their folder.
        TrainingError: the experiment names weights that are not there.
    """
    excluded = {"name", "description", "prediction", "protocol", "cache", "launcher", *unused(experiment)}
    configuration = experiment.model_dump(mode="json", exclude=excluded)
    inputs, home = {"manifest": manifest.digest}, home or config.home()
    if weights := pretrained.named_by(experiment.model):
        inputs["weights"] = fingerprint(pretrained.find(weights, home / pretrained.FOLDER), home / MEMORY)
    inputs |= {f"member {name}": member for name, member in members.items()}
    return Recipe(MODEL, VERSION, inputs, configuration)


def train(
    manifest_product: Product,
    experiment: Experiment,
    home: Path,
    *,
    tracker: Tracker = untracked,
    progress: Progress = lambda line: None,
    parent: str | None = None,
) -> Product:
    """Trains the model of an experiment: found where it exists, resumed where it was interrupted.

    A repetition in a fold learns from the fold's manifest, which is published where it is not there. Of an ensemble
    the members come first: those that are not there are trained. It holds model.safetensors, contract.json,
    history.json and .csv, curves.png, throughput.json and summary.json; where the experiment says `lr: auto` also
    lr_finder.json, .csv and .png.

    Args:
        manifest_product: the dataset's published manifest.
        experiment: what is trained, and how.
        home: folder everything is written below.
        tracker: gives the log that takes each epoch; see `landcover_orch.tracking`.
        progress: takes one line an epoch, and a few more.
        parent: run of the tracker that this training's run belongs to.

    Raises:
        TrainingError: a split is empty, nothing is labelled, or device or weights asked for are not there.
        ContractError: members of an ensemble do not fit the dataset; all of them are named.
    """
    manifest = load_manifest(training_manifest(manifest_product, experiment, home).path)

    def member(member_experiment: Experiment) -> Product:
        return train(manifest_product, member_experiment, home, tracker=tracker, progress=progress)

    members = ensemble.members(manifest, ensemble.member_experiments(manifest, experiment), experiment, home, member)
    build_recipe = recipe(manifest, experiment, home, {name: product.fingerprint for name, product in members.items()})

    def build_model(stage: Stage) -> None:
        start = replace(Start.of(manifest, experiment.name, build_recipe, stage.path / JOURNAL), parent=parent)
        with tracker(start) as log:
            train_into(stage, manifest, experiment, home, log, progress, members)

    return publish.publish(home / manifest.dataset.name / MODEL, experiment.name, build_recipe, build_model)


def fingerprint_of(manifest: DatasetManifest, experiment: Experiment, home: Path) -> str:
    """Fingerprint of the model that `train` gives; nothing is trained.

    Raises:
        ConfigError: as for `train`.
        TrackingError: a registered member is not to be found.
    """
    protocol = experiment.protocol
    if protocol.folds and protocol.fold:
        split_manifest = folds.described(manifest, folds.fold_of(manifest, protocol.folds, protocol.fold))
    else:
        split_manifest = manifest
    members = {
        name: fingerprint_of(manifest, member, home) if member else ensemble.registered(name, home).fingerprint
        for name, member in ensemble.member_experiments(split_manifest, experiment).items()
    }
    return recipe(split_manifest, experiment, home, members).fingerprint


def training_manifest(manifest_product: Product, experiment: Experiment, home: Path) -> Product:
    """The manifest that an experiment trains on: the dataset's, or a fold's."""
    protocol = experiment.protocol
    if protocol.folds is None or protocol.fold is None:
        return manifest_product
    return folds.build(manifest_product, protocol.folds, protocol.fold, home)


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
        log.epoch(row.epoch, {**row.numbers(), "seconds": seconds})
        if not resumed:
            progress(epoch_line(row, seconds, experiment))

    task, model, epochs = learn(stage, manifest, experiment, home, on_epoch, progress, members)
    stepless = isinstance(experiment.model, Classical | Ensemble)
    measured = classical.UNMEASURED if stepless else throughput.table(task, epochs.seconds)
    for line in throughput.lines(measured, experiment.cache):
        progress(line)
    write_files(stage, setup.contract(manifest, experiment, members), manifest, experiment, model, epochs, measured)
    rates = {f"throughput/{name}": value for name, value in measured.items() if value is not None}
    log.finish(stage.path, {**rates, "accumulate": epochs.micro_batches})
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

    Raises:
        TrainingError: as for `train`, or what `on_epoch` raises, which ends the training.
    """

    def on_new_epoch(row: Row, seconds: float) -> None:
        on_epoch(row, seconds, False)

    task = setup.task(manifest, experiment, home)
    progress(f"{task.device}{'' if isinstance(experiment.model, Classical | Ensemble) else task.group.description()}")
    model = setup.model(manifest, experiment, home, members)
    resumed = checkpoint.load(stage.path)
    for row, seconds in zip(resumed.history, resumed.seconds, strict=True) if resumed else ():
        on_epoch(row, seconds, True)
    if resumed is not None:
        progress(resumed.resume_message)
    if isinstance(experiment.model, Classical):
        return task, model, classical.fit(task, model, on_new_epoch)
    if isinstance(experiment.model, Ensemble):
        return task, model, ensemble.score(task, model, on_new_epoch)
    task.group.broadcast_text(canonical({"stage": str(stage.path), "manifest": manifest, "experiment": experiment}))
    return task, model, fit_network(task, model, stage, on_new_epoch, progress)


def fit_network(
    task: Task, model: Normalised, stage: Stage, on_epoch: EpochCallback, progress: Progress
) -> TrainingHistory:
    """Fits a network by gradient descent, at the experiment's learning rate or that of a range test."""
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
        task, model = setup.task(manifest, experiment, home), setup.model(manifest, experiment, home)
        fit_network(task, model, Stage(Path(training["stage"])), lambda row, seconds: None, lambda line: None)


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
        where = f"configs/experiments/{experiment.name}.yaml: model"
        family, fix = f"{experiment.model.name}, which takes no steps", "train it as it is"
        raise TrainingError(Problem(where, family, "a network", fix))
    manifest = load_manifest(training_manifest(manifest_product, experiment, home).path)
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
