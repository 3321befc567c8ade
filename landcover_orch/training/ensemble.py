"""Trained models as members of one, and how well they do together on the validation split. Nothing is learnt."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from landcover_orch import config
from landcover_orch.errors import ConfigError, ContractError, Problem
from landcover_orch.experiment import Experiment
from landcover_orch.experiment.models import Ensemble
from landcover_orch.legend import IGNORE
from landcover_orch.model import ensemble
from landcover_orch.model.contract import Contract, Member, load_contract
from landcover_orch.model.networks import Normalised, load
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.publish import Product
from landcover_orch.training import history
from landcover_orch.training.fit import Report, Task
from landcover_orch.training.history import Kept
from landcover_orch.training.loader import in_order
from landcover_orch.training.tally import Tally

BATCH = 8
"""Patches that are scored at a time."""

REGISTERED = "models:/"

Products = Mapping[str, Product]


def members(
    manifest: DatasetManifest, experiment: Experiment, home: Path, train: Callable[[Experiment], Product]
) -> dict[str, Product]:
    """The products of an experiment's members by name; none where it is no ensemble.

    Experiments go through `train`, which finds what is there and trains what is not, so that they are always those of
    the present manifest and recipe, in whatever order the experiments of a dataset run.

    Raises:
        ConfigError: a member is an ensemble itself, or has no recipe.
        ContractError: members of other classes, bands or data; all of them are named.
        TrackingError: a registered version is not to be found.
    """
    if not isinstance(experiment.model, Ensemble):
        return {}
    named = [name for name in experiment.model.members if not name.startswith(REGISTERED)]
    recipes = {name: config.load_experiment(name) for name in named}
    _require_no_ensembles(experiment, recipes)
    registered = {name: _registered(name, home) for name in experiment.model.members if name not in recipes}
    found = {name: registered.get(name) or train(recipes[name]) for name in experiment.model.members}
    require_alike({name: load_contract(product.path) for name, product in found.items()}, manifest, experiment)
    return found


def _registered(version: str, home: Path) -> Product:
    from landcover_orch.tracking.lookup import product_of

    return product_of(version, home)


def _require_no_ensembles(experiment: Experiment, recipes: Mapping[str, Experiment]) -> None:
    nested = [name for name, recipe in recipes.items() if isinstance(recipe.model, Ensemble)]
    if nested:
        where, fix = f"configs/experiments/{experiment.name}.yaml: model.members", "list its members instead"
        raise ConfigError(*(Problem(where, f"{name}, an ensemble", "models that were trained", fix) for name in nested))


def require_alike(contracts: Mapping[str, Contract], manifest: DatasetManifest, experiment: Experiment) -> None:
    """Raises ContractError with every way in which members differ from the dataset they are to answer for.

    The data count too: what was trained on another manifest may have seen the test tiles of this one, and takes pixels
    that are normalised otherwise.
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
            ("training data", contract.data_digest, manifest.digest, "train it again on the present manifest"),
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


def described(products: Products) -> tuple[Member, ...]:
    """The members as the ensemble's contract names them."""
    contracts = {name: load_contract(product.path) for name, product in products.items()}
    return tuple(
        Member(experiment=contract.experiment, fingerprint=products[name].fingerprint, model=contract.model)
        for name, contract in contracts.items()
    )


def assemble(products: Products, settings: Ensemble) -> Normalised:
    """The members' networks as one, behind the normalisation they share."""
    loaded = [load(product.path) for product in products.values()]
    contract = loaded[0][1]
    together = ensemble.Ensemble(settings, [module.network for module, _ in loaded])
    return Normalised(together, contract.mean, contract.std).eval()


def score(task: Task, model: Normalised, report: Report) -> Kept:
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
    return Kept([row], [seconds])
