"""Ensemble members: which models an ensemble averages, and whether they fit together. Loads no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from landcover_orch import config
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.errors import ConfigError, ContractError, Problem
from landcover_orch.models.contract import Contract, load_contract
from landcover_orch.patches import folds
from landcover_orch.patches.folds import repetitions
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.publish import Product

REGISTERED = "models:/"


def member_experiments(manifest: DatasetManifest, experiment: Experiment) -> dict[str, Experiment | None]:
    """Ensemble members: name -> experiment, None of a registered version; nothing where it is no ensemble.

    A member that repeats stands for all its repetitions: each is a member.

    Raises:
        ConfigError: a member is an ensemble itself, has no experiment, or one of its repetitions is listed as well.
        CatalogueError: a member has folds that the dataset has not.
    """
    members = experiment.model.members if isinstance(experiment.model, Ensemble) else ()
    named: list[tuple[str, Experiment | None]] = []
    for name in members:
        experiments = (None,) if name.startswith(REGISTERED) else repetitions(manifest, config.load_experiment(name))
        named += [(repetition.name if repetition else name, repetition) for repetition in experiments]
    where = f"{config.file_label('experiments', experiment.name)}: model.members"
    nested = [name for name, member in named if member and isinstance(member.model, Ensemble)]
    twice = sorted({name for name, count in Counter(name for name, _ in named).items() if count > 1})
    problems = [
        *(Problem(where, f"{n}, an ensemble", "models that were trained", "list its members instead") for n in nested),
        *(Problem(where, f"{n} twice", "each model once", "drop it: its experiment includes it") for n in twice),
    ]
    if problems:
        raise ConfigError(*problems)
    return dict(named)


def members(
    manifest: DatasetManifest,
    experiments: Mapping[str, Experiment | None],
    experiment: Experiment,
    home: Path,
    train: Callable[[Experiment], Product],
) -> dict[str, Product]:
    """The products of an experiment's `member_experiments` by name.

    Experiments go through `train`, which finds what is there and trains what is not, so that they are always those of
    the present manifest and experiment, in whatever order the experiments of a dataset run.

    Raises:
        ContractError: members of other classes, bands or data; all of them are named.
        TrackingError: a registered version is not to be found.
    """
    products = {name: train(member) if member else registered(name, home) for name, member in experiments.items()}
    require_compatible({name: load_contract(product.path) for name, product in products.items()}, manifest, experiment)
    return products


def registered(version: str, home: Path) -> Product:
    """The product of a registered version.

    Raises:
        TrackingError: MLflow does not answer, or has no such version.
    """
    from landcover_orch.tracking.registry import product_of

    return product_of(version, home)


def require_compatible(contracts: Mapping[str, Contract], manifest: DatasetManifest, experiment: Experiment) -> None:
    """Compatibility check: raises ContractError with every way in which members differ from the dataset.

    The data count too: what was trained on another manifest may have seen the test tiles of this one. A fold of the
    dataset will do, since it excludes them.
    """
    where = f"{config.file_label('experiments', experiment.name)}: model.members: "
    dataset = manifest.dataset
    problems = [
        Problem(where + name, f"{what} {actual}", f"{expected}, as dataset {dataset.name} has it", fix)
        for name, contract in contracts.items()
        for what, actual, expected, fix in (
            ("classes", contract.legend.names, manifest.legend.names, "take models of one legend"),
            ("bands", contract.bands, dataset.bands, "take models of the same bands, in the same order"),
            ("dtype", contract.dtype, dataset.dtype, "take models of the same dtype"),
            (
                "training data",
                contract.data_digest,
                expected_digest(contract, manifest),
                "train it again on the present manifest",
            ),
        )
        if actual != expected
    ]
    problems += [
        Problem(where + name, "an ensemble", "a model that was trained", "list its members instead")
        for name, contract in contracts.items()
        if contract.members
    ]
    if problems:
        raise ContractError(*problems)


def expected_digest(contract: Contract, manifest: DatasetManifest) -> str:
    """Data digest that a member must have: the manifest's, or that of the fold of it that the contract names.

    Of a manifest that is a fold there are none: another fold's model was trained on the blocks that this one tests on.
    """
    if contract.fold is None or manifest.dataset.splits.fold or contract.data_digest == manifest.digest:
        return manifest.digest
    return folds.described(manifest, contract.fold).digest
