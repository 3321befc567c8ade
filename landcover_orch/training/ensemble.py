"""Trained models as members of one, and how well they do together on the validation split. Nothing is learnt."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from landcover_orch import config
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.errors import ConfigError, ContractError, Problem
from landcover_orch.legend import IGNORE
from landcover_orch.models import ensemble
from landcover_orch.models.contract import Contract, Member, load_contract
from landcover_orch.models.networks import Normalised, load
from landcover_orch.patches import folds
from landcover_orch.patches.folds import repetitions
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.publish import Product
from landcover_orch.training import history
from landcover_orch.training.fit import EpochCallback, Task
from landcover_orch.training.history import Tally, TrainingHistory
from landcover_orch.training.loader import in_order

BATCH = 8
"""Patches that are scored at a time."""

REGISTERED = "models:/"

Products = Mapping[str, Product]


def voices(manifest: DatasetManifest, experiment: Experiment) -> dict[str, Experiment | None]:
    """Name -> recipe of each model that answers, None of a registered version; nothing where it is no ensemble.

    A member that repeats stands for all its repetitions: each has a voice.

    Raises:
        ConfigError: a member is an ensemble itself, has no recipe, or one of its repetitions is listed beside it.
        CatalogueError: a member has folds that the dataset has not.
    """
    members = experiment.model.members if isinstance(experiment.model, Ensemble) else ()
    found: list[tuple[str, Experiment | None]] = []
    for name in members:
        recipes = (None,) if name.startswith(REGISTERED) else repetitions(manifest, config.load_experiment(name))
        found += [(one.name if one else name, one) for one in recipes]
    _require_one_voice(experiment, found)
    return dict(found)


def members(
    manifest: DatasetManifest,
    wanted: Mapping[str, Experiment | None],
    experiment: Experiment,
    home: Path,
    train: Callable[[Experiment], Product],
) -> dict[str, Product]:
    """The products of an experiment's `voices` by name.

    Experiments go through `train`, which finds what is there and trains what is not, so that they are always those of
    the present manifest and recipe, in whatever order the experiments of a dataset run.

    Raises:
        ContractError: members of other classes, bands or data; all of them are named.
        TrackingError: a registered version is not to be found.
    """
    found = {name: train(recipe) if recipe else registered(name, home) for name, recipe in wanted.items()}
    require_alike({name: load_contract(product.path) for name, product in found.items()}, manifest, experiment)
    return found


def registered(version: str, home: Path) -> Product:
    """The product of a registered version.

    Raises:
        TrackingError: MLflow does not answer, or has no such version.
    """
    from landcover_orch.tracking.lookup import product_of

    return product_of(version, home)


def _require_one_voice(experiment: Experiment, found: Sequence[tuple[str, Experiment | None]]) -> None:
    where = f"configs/experiments/{experiment.name}.yaml: model.members"
    nested = [name for name, recipe in found if recipe and isinstance(recipe.model, Ensemble)]
    twice = sorted({name for name, count in Counter(name for name, _ in found).items() if count > 1})
    problems = [
        *(Problem(where, f"{n}, an ensemble", "models that were trained", "list its members instead") for n in nested),
        *(Problem(where, f"{n} twice", "one voice a model", "drop it: its recipe brings it along") for n in twice),
    ]
    if problems:
        raise ConfigError(*problems)


def require_alike(contracts: Mapping[str, Contract], manifest: DatasetManifest, experiment: Experiment) -> None:
    """Raises ContractError with every way in which members differ from the dataset they are to answer for.

    The data count too: what was trained on another manifest may have seen the test tiles of this one. A fold of the
    dataset will do, since it excludes them.
    """
    where = f"configs/experiments/{experiment.name}.yaml: model.members: "
    dataset = manifest.dataset
    wrong = [
        Problem(where + name, f"{what} {found}", f"{expected}, as dataset {dataset.name} has it", fix)
        for name, contract in contracts.items()
        for what, found, expected, fix in (
            ("classes", contract.legend.names, manifest.legend.names, "take models of one legend"),
            ("bands", contract.bands, dataset.bands, "take models of the same bands, in the same order"),
            ("dtype", contract.dtype, dataset.dtype, "take models of the same dtype"),
            (
                "training data",
                contract.data_digest,
                _data(contract, manifest),
                "train it again on the present manifest",
            ),
        )
        if found != expected
    ]
    wrong += [
        Problem(where + name, "an ensemble", "a model that was trained", "list its members instead")
        for name, contract in contracts.items()
        if contract.members
    ]
    if wrong:
        raise ContractError(*wrong)


def _data(contract: Contract, manifest: DatasetManifest) -> str:
    """The digest that a member's data must have: the manifest's, or that of the fold of it that the contract names.

    Of a manifest that is a fold there are none: another fold's model has learnt from the ground that this one tests on.
    """
    if contract.fold is None or manifest.dataset.splits.fold or contract.data_digest == manifest.digest:
        return manifest.digest
    return folds.described(manifest, contract.fold).digest


def described(products: Products) -> tuple[Member, ...]:
    """The members as the ensemble's contract names them."""
    contracts = {name: load_contract(product.path) for name, product in products.items()}
    return tuple(
        Member(
            experiment=contract.experiment,
            fingerprint=products[name].fingerprint,
            model=contract.model,
            mean=contract.mean,
            std=contract.std,
            fold=contract.fold,
        )
        for name, contract in contracts.items()
    )


def assemble(products: Products, settings: Ensemble, mean: Sequence[float], std: Sequence[float]) -> Normalised:
    """The members' networks as one behind band statistics of the present data, each with its own in front of it."""
    loaded = [load(product.path) for product in products.values()]
    own = [(contract.mean, contract.std) for _, contract in loaded]
    found = [ensemble.behind(module.network, each, (mean, std)) for (module, _), each in zip(loaded, own, strict=True)]
    return Normalised(ensemble.Ensemble(settings, found), mean, std).eval()


def score(task: Task, model: Normalised, report: EpochCallback) -> TrainingHistory:
    """The one row of an ensemble, of the validation split, and its seconds; `model` is back on the CPU afterwards."""
    began, tally, surprise = time.perf_counter(), Tally(len(task.classes)), 0.0
    model.to(task.device.kind)
    for indices in in_order(np.arange(len(task.validation)), BATCH):
        image, label = task.validation.take(indices)
        with torch.inference_mode(), torch.autocast(task.device.kind, torch.bfloat16, task.device.bfloat16):
            logits = model(torch.from_numpy(np.ascontiguousarray(image)).to(task.device.kind)).float().cpu()
        tally.add(label, logits.argmax(1).to(torch.uint8).numpy())
        target = torch.from_numpy(label.astype(np.int64))
        surprise += float(torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum"))
    model.cpu()
    row = history.row(1, None, surprise / max(int(tally.matrix.sum()), 1), tally, task.classes, None)
    seconds = time.perf_counter() - began
    report(row, seconds)
    return TrainingHistory([row], [seconds])
