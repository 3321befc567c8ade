"""Model training: from a dataset's manifest and an experiment to a published model.

The product's files follow from its recipe, on one machine with one number of threads and memory enough, to the bit;
throughput.json alone does not: it holds what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from landcover_orch import config, custom
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.experiment import unused
from landcover_orch.custom import Package
from landcover_orch.models import weights
from landcover_orch.patches import folds
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.manifest import load as load_manifest
from landcover_orch.store import publish
from landcover_orch.store.fingerprint import MEMORY, fingerprint
from landcover_orch.store.products import MODEL
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import Start, untracked
from landcover_orch.training import VERSION, members
from landcover_orch.training.hooks import JOURNAL, Progress, Tracker

NO_FINGERPRINTS: Mapping[str, str] = MappingProxyType({})


def recipe(
    manifest: DatasetManifest,
    experiment: Experiment,
    home: Path | None = None,
    of_members: Mapping[str, str] = NO_FINGERPRINTS,
    code: Mapping[str, Package] | None = None,
) -> Recipe:
    """Build recipe of a model: the manifest's digest, and all of the experiment that training depends on.

    Pretrained weights count by their bytes; they lie below `home` (default: LANDCOVER_HOME). An ensemble's members
    count by their fingerprints, custom code by the text of its packages (`code`; default: as it lies there now).

    Raises:
        ConfigError: the path of the weights leaves their folder.
        CodeError: custom code is switched off, or is not there.
        TrainingError: the experiment names weights that are not there.
    """
    configuration, home = trained_settings(experiment), home or config.home()
    inputs = {"manifest": manifest.digest}
    inputs |= custom.inputs(custom.packages(configuration) if code is None else code)
    if file := weights.named_by(experiment.model):
        inputs["weights"] = fingerprint(weights.find(file, home / weights.FOLDER), home / MEMORY)
    inputs |= {f"member {name}": member for name, member in of_members.items()}
    return Recipe(MODEL, VERSION, inputs, configuration)


def trained_settings(experiment: Experiment) -> dict[str, Any]:
    """Plain settings of all of an experiment that training depends on."""
    excluded = {"name", "description", "prediction", "protocol", "cache", "launcher", *unused(experiment)}
    return experiment.model_dump(mode="json", exclude=excluded)


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
        CodeError: custom code is switched off, is not there, cannot be imported, or builds no network.
        ContractError: members of an ensemble do not fit the dataset; all of them are named.
    """
    manifest = load_manifest(folds.training_manifest(manifest_product, experiment, home).path)

    def member(member_experiment: Experiment) -> Product:
        return train(manifest_product, member_experiment, home, tracker=tracker, progress=progress)

    averaged = members.members(manifest, members.member_experiments(manifest, experiment), experiment, home, member)
    code = custom.packages(trained_settings(experiment))
    of_members = {name: product.fingerprint for name, product in averaged.items()}
    build_recipe = recipe(manifest, experiment, home, of_members, code)

    def build_model(stage: Stage) -> None:
        from landcover_orch.training.build import train_into  # loads torch, which a plan does without

        for package in code.values():
            package.write(stage.path / custom.FOLDER)  # this text is trained with, and travels with the model
        start = replace(Start.of(manifest, experiment.name, build_recipe, stage.path / JOURNAL), parent=parent)
        with tracker(start) as log:
            train_into(stage, manifest, experiment, home, log, progress, averaged)

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
    fingerprints = {
        name: fingerprint_of(manifest, member, home) if member else members.registered(name, home).fingerprint
        for name, member in members.member_experiments(split_manifest, experiment).items()
    }
    return recipe(split_manifest, experiment, home, fingerprints).fingerprint
