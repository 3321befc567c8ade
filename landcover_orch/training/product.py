"""From a dataset's manifest and an experiment to a published model.

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

import torch

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
from landcover_orch.store.canonical import canonical, digest
from landcover_orch.store.fingerprint import MEMORY, fingerprint
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import Log, Start, untracked
from landcover_orch.training import VERSION, checkpoint, classical, ensemble, history, lr_finder, setup, throughput
from landcover_orch.training.distributed.process_group import init_process_group
from landcover_orch.training.fit import EpochCallback, Task, fit
from landcover_orch.training.history import Row, TrainingHistory

ASSET = "model"
JOURNAL = "tracking.jsonl"
FINDER = "lr_finder"
NOTHING: Mapping[str, str] = MappingProxyType({})

Tracker = Callable[[Start], AbstractContextManager[Log]]
Progress = Callable[[str], None]

Heard = Callable[[Row, float, bool], None]
"""Hears of each epoch: its row, its seconds, and whether it was learnt before an interruption."""


def recipe(
    manifest: DatasetManifest, experiment: Experiment, home: Path | None = None, members: Mapping[str, str] = NOTHING
) -> Recipe:
    """What a model is made of: the manifest's digest, and all of the experiment that training depends on.

    Pretrained weights count by their bytes; they lie below `home` (default: LANDCOVER_HOME). An ensemble's members
    count by their fingerprints.

    Raises:
        ConfigError: the path of the weights leaves their folder.
        TrainingError: the experiment names weights that are not there.
    """
    without = {"name", "description", "prediction", "protocol", "cache", "launcher", *unused(experiment)}
    configuration = experiment.model_dump(mode="json", exclude=without)
    voices = {f"member {name}": fingerprint for name, fingerprint in members.items()}
    inputs = {"manifest": manifest.digest, **_weights(experiment, home or config.home()), **voices}
    return {"room": ASSET, "version": VERSION, "inputs": inputs, "configuration": configuration}


def _weights(experiment: Experiment, home: Path) -> dict[str, str]:
    name = pretrained.named_by(experiment.model)
    return {"weights": fingerprint(pretrained.find(name, home / pretrained.FOLDER), home / MEMORY)} if name else {}


def run(
    manifest_product: Product,
    experiment: Experiment,
    home: Path,
    *,
    tracker: Tracker = untracked,
    progress: Progress = lambda line: None,
    parent: str | None = None,
) -> Product:
    """The trained model of an experiment: found where it exists, gone on with where it was interrupted.

    A repetition in a fold learns from the fold's manifest, which is published where it is not there. Of an ensemble
    the members come first: those that are not there are trained. It holds model.safetensors, contract.json,
    history.json and .csv, curves.png, throughput.json and summary.json; where the experiment says `lr: auto` also
    lr_finder.json, .csv and .png.

    Args:
        manifest_product: the dataset's published manifest.
        experiment: the recipe.
        home: folder everything is written below.
        tracker: gives the log that hears of each epoch; see `landcover_orch.tracking`.
        progress: takes one line for people an epoch, and a few more.
        parent: run of the tracker that this training's run belongs to.

    Raises:
        TrainingError: a split is empty, nothing is labelled, or device or weights asked for are not there.
        ContractError: members of an ensemble do not fit the dataset; all of them are named.
    """
    manifest = load_manifest(ground(manifest_product, experiment, home).path)

    def member(found: Experiment) -> Product:
        return run(manifest_product, found, home, tracker=tracker, progress=progress)

    members = ensemble.members(manifest, ensemble.voices(manifest, experiment), experiment, home, member)
    made_of = recipe(manifest, experiment, home, {name: product.fingerprint for name, product in members.items()})

    def build_model(stage: Stage) -> None:
        start = replace(Start.of(manifest, experiment.name, made_of, stage.path / JOURNAL), parent=parent)
        with tracker(start) as log:
            _train(stage, manifest, experiment, home, log, progress, members)

    return publish.publish(home / manifest.dataset.name / ASSET, experiment.name, made_of, build_model)


def fingerprint_of(manifest: DatasetManifest, experiment: Experiment, home: Path) -> str:
    """Fingerprint of the model that `run` gives; nothing is trained.

    Raises:
        ConfigError: as for `run`.
        TrackingError: a registered member is not to be found.
    """
    protocol = experiment.protocol
    if protocol.folds and protocol.fold:
        seen = folds.described(manifest, folds.fold_of(manifest, protocol.folds, protocol.fold))
    else:
        seen = manifest
    voices = {
        name: fingerprint_of(manifest, found, home) if found else ensemble.registered(name, home).fingerprint
        for name, found in ensemble.voices(seen, experiment).items()
    }
    return digest(recipe(seen, experiment, home, voices))


def ground(manifest_product: Product, experiment: Experiment, home: Path) -> Product:
    """The manifest that is learnt from: the dataset's, or a fold's."""
    protocol = experiment.protocol
    if protocol.folds is None or protocol.fold is None:
        return manifest_product
    return folds.build(manifest_product, protocol.folds, protocol.fold, home)


def _train(
    stage: Stage,
    manifest: DatasetManifest,
    experiment: Experiment,
    home: Path,
    log: Log,
    progress: Progress,
    members: Mapping[str, Product],
) -> None:
    def heard(row: Row, seconds: float, again: bool) -> None:
        log.epoch(row.epoch, {**row.numbers(), "seconds": seconds})
        if not again:
            progress(_line(row, seconds, experiment))

    task, model, kept = learn(stage, manifest, experiment, home, heard, progress, members)
    stepless = isinstance(experiment.model, Classical | Ensemble)
    measured = classical.UNMEASURED if stepless else throughput.table(task, kept.seconds)
    for line in throughput.lines(measured, experiment.cache):
        progress(line)
    _write(stage, setup.contract(manifest, experiment, members), manifest, experiment, model, kept, measured)
    rates = {f"throughput/{name}": value for name, value in measured.items() if value is not None}
    log.finish(stage.path, {**rates, "accumulate": kept.micro_batches})
    for name in (checkpoint.FILE, JOURNAL):
        (stage.path / name).unlink(missing_ok=True)


def learn(
    stage: Stage,
    manifest: DatasetManifest,
    experiment: Experiment,
    home: Path,
    heard: Heard,
    progress: Progress = lambda line: None,
    members: Mapping[str, Product] = setup.NO_MEMBERS,
) -> tuple[Task, Normalised, TrainingHistory]:
    """What was learnt, the model with its best weights, and all epochs; nothing is written but the checkpoint.

    Args:
        stage: where the checkpoint lies, which is gone on from.
        manifest: the dataset's manifest.
        experiment: the recipe.
        home: folder everything is written below.
        heard: hears of each epoch; first of those before an interruption, since a kill may have come before it did.
        progress: takes lines for people.
        members: of an ensemble.

    Raises:
        TrainingError: as for `run`, or what `heard` raises, which ends the training.
    """

    def report(row: Row, seconds: float) -> None:
        heard(row, seconds, False)

    task = setup.task(manifest, experiment, home)
    progress(f"{task.device}{'' if isinstance(experiment.model, Classical | Ensemble) else task.group.description()}")
    model = setup.model(manifest, experiment, home, members)
    before = checkpoint.load(stage.path)
    for row, seconds in zip(before.history, before.seconds, strict=True) if before else ():
        heard(row, seconds, True)
    if before is not None:
        progress(_resumed(before))
    if isinstance(experiment.model, Classical):
        return task, model, classical.fit(task, model, report)
    if isinstance(experiment.model, Ensemble):
        return task, model, ensemble.score(task, model, report)
    task.group.broadcast_text(canonical({"stage": str(stage.path), "manifest": manifest, "experiment": experiment}))
    return task, model, _by_steps(task, model, stage, report, progress)


def _by_steps(
    task: Task, model: Normalised, stage: Stage, report: EpochCallback, progress: Progress
) -> TrainingHistory:
    lr = _lr(task, model, stage, progress)
    return fit(task, model, stage.path, report, lr=lr, log_line=progress)


def follow(home: Path) -> None:
    """Takes this process's share of all that the first process learns, until it says that it has ended; writes nothing.

    What takes no steps, forests and ensembles, the first process does alone.
    """
    while said := _heard():
        told = json.loads(said)
        manifest = DatasetManifest.model_validate(told["manifest"])
        experiment = Experiment.model_validate(told["experiment"])
        task, model = setup.task(manifest, experiment, home), setup.model(manifest, experiment, home)
        _by_steps(task, model, Stage(Path(told["stage"])), lambda row, seconds: None, lambda line: None)


def _heard() -> str:
    try:
        return init_process_group().broadcast_text()
    except RuntimeError as error:
        raise SystemExit(1) from error  # the first process has ended, and said why


def _lr(task: Task, model: Normalised, stage: Stage, progress: Progress) -> float:
    """The experiment's rate; of `auto` the rate that a test found, now or before an interruption."""
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
    """What a learning-rate range test measures before a training of the experiment; nothing is trained or kept.

    Raises:
        TrainingError: as for `run`, or no rate lowers the loss, or the model takes none.
    """
    if isinstance(experiment.model, Classical | Ensemble):
        where = f"configs/experiments/{experiment.name}.yaml: model"
        found, fix = f"{experiment.model.name}, which takes no steps", "train it as it is"
        raise TrainingError(Problem(where, found, "a network", fix))
    manifest = load_manifest(ground(manifest_product, experiment, home).path)
    task = setup.task(manifest, experiment, home)
    progress(str(task.device))
    return lr_finder.find(task, setup.model(manifest, experiment, home), progress)


def _write(
    stage: Stage,
    contract: Contract,
    manifest: DatasetManifest,
    experiment: Experiment,
    model: Normalised,
    kept: TrainingHistory,
    measured: throughput.Table,
) -> None:
    best = history.best(kept.rows, experiment.metric)
    colours = [c.colour for c in manifest.legend.classes]
    save(stage.path, model, contract)
    stage.write_json("history.json", [asdict(row) for row in kept.rows])
    history.write_csv(stage.path / "history.csv", kept.rows)
    history.draw(stage.path / "curves.png", kept.rows, colours, best.epoch)
    stage.write_json("throughput.json", {"images_per_second": measured, "epoch_seconds": kept.seconds})
    learnt = {} if isinstance(experiment.model, Classical | Ensemble) else _learning(stage, kept)
    informed = {"validation_known_to": list(contract.informed)} if contract.informed else {}
    stage.write_json("summary.json", {**_summary(manifest, experiment, model, kept), **learnt, **informed})


def _learning(stage: Stage, kept: TrainingHistory) -> dict[str, Any]:
    """What turned out on the way: the parts a batch passed in, the rate that was found."""
    found = {"lr_found": lr_finder.load(stage.path).suggestion} if stage.done(FINDER) else {}
    return {"accumulate": kept.micro_batches, **found}


def _summary(
    manifest: DatasetManifest, experiment: Experiment, model: Normalised, kept: TrainingHistory
) -> dict[str, Any]:
    best = history.best(kept.rows, experiment.metric)
    pixels = setup.pixels(manifest, manifest.dataset.splits.chosen_on)
    return {
        "loss": best.loss,
        "validation_loss": best.validation_loss,
        "lr": best.lr,
        **best.metrics,
        **{f"iou {name}": value for name, value in best.iou.items()},
        "epochs": len(kept.rows),
        "best_epoch": best.epoch,
        "chosen_by": experiment.metric,
        "majority_share": max(pixels) / sum(pixels),
        "parameters": parameters(model.network),
        "model": experiment.model.name,
    }


def _line(row: Row, seconds: float, experiment: Experiment) -> str:
    iou = "undefined" if row.metrics["mean_iou"] is None else f"{row.metrics['mean_iou']:.3f}"
    if row.loss is None:
        return f"together: validation loss {row.validation_loss:.4f}, mean IoU {iou}, {seconds:.1f} s"
    step = "fitted" if isinstance(experiment.model, Classical) else f"epoch {row.epoch} of {experiment.epochs}"
    return f"{step}: loss {row.loss:.4f}, validation loss {row.validation_loss:.4f}, mean IoU {iou}, {seconds:.1f} s"


def _resumed(found: checkpoint.Checkpoint) -> str:
    line = f"going on after epoch {found.epochs}"
    if found.threads != torch.get_num_threads():
        line += f" (begun with {found.threads} threads, now {torch.get_num_threads()}: last bits may differ)"
    return line
