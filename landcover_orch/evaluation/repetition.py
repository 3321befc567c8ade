"""The repetitions of an experiment as they are scored: each on the test side, each fold also on its own ground."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

from landcover_orch.config import load_experiment
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import ContractError, IncompleteError, Problem
from landcover_orch.evaluation.choices import stands_on
from landcover_orch.evaluation.evaluate import Evaluation, evaluate, tiles_to_predict
from landcover_orch.models.contract import load_contract
from landcover_orch.patches import folds
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.products import PREDICTION, current_manifest, folder
from landcover_orch.store.publish import Product
from landcover_orch.training.protocol import current_models

TEST_SIDE, OUT_OF_FOLD = "test side", "out of fold"


@dataclass(frozen=True)
class Repetition:
    """A trained model of an experiment, and its maps by tile."""

    recipe: Experiment
    """With the repetition's own name and seed."""

    manifest: DatasetManifest
    """What it was trained on: the dataset's, or its fold's."""

    model: Product
    maps: Mapping[str, Product]

    @property
    def name(self) -> str:
        """As its products are called."""
        return self.recipe.name

    @property
    def fold(self) -> int | None:
        """The fold whose ground it never saw, counted from 1; None where it is of no fold."""
        return self.recipe.protocol.fold

    @property
    def across(self) -> str:
        """Its name without the fold: one for all folds of a seed."""
        return self.name.removesuffix(f".fold-{self.fold}")


def trained_repetitions(dataset: str, experiment: str, home: Path) -> list[tuple[Experiment, DatasetManifest, Product]]:
    """Experiment, manifest it was trained on (the dataset's, or its fold's), and model of each repetition.

    Raises:
        IncompleteError: there is no manifest or no model.
    """
    models = current_models(home, dataset, experiment)
    recipes = [load_experiment(name) for name in models]
    return [(recipe, _manifest_of(dataset, recipe, home), models[recipe.name]) for recipe in recipes]


def _manifest_of(dataset: str, experiment: Experiment, home: Path) -> DatasetManifest:
    product, protocol = current_manifest(home, dataset), experiment.protocol
    if protocol.fold is not None and protocol.folds is not None:
        product = folds.build(product, protocol.folds, protocol.fold, home)
    return manifests.load(product.path)


def current_repetitions(dataset: str, experiment: str, home: Path) -> list[Repetition]:
    """The repetitions of an experiment with the maps that were last published.

    Raises:
        IncompleteError: a manifest, model or map is missing.
    """
    maps, described = folder(home, dataset, PREDICTION), manifests.load_current(home, dataset)
    return [
        Repetition(
            recipe,
            manifest,
            model,
            {e.name: publish.current(maps / recipe.name, e.name) for e in tiles_to_predict(described, manifest)},
        )
        for recipe, manifest, model in trained_repetitions(dataset, experiment, home)
    ]


@dataclass(frozen=True)
class Score:
    """What one repetition is compared by."""

    name: str
    seed: int
    fold: int | None
    stands_on: tuple[str, ...]
    found: Evaluation


@dataclass(frozen=True)
class Scores:
    """All that is counted of an experiment."""

    side: str
    """`TEST_SIDE`, or `OUT_OF_FOLD` of a dataset without any."""

    chosen: Score
    """The one that the report draws."""

    compared: tuple[Score, ...]
    """The repetitions on the test side; of a dataset without any, each seed out of fold."""

    folds: tuple[Score, ...]
    """Each fold's model on that fold's ground alone."""

    across: tuple[Score, ...]
    """Each seed out of fold: all ground but the test side, every pixel by the model that never saw it."""


def scores(manifest: DatasetManifest, repetitions: Sequence[Repetition], chosen: str, home: Path) -> Scores:
    """The scores of an experiment's repetitions.

    Args:
        manifest: the dataset's.
        repetitions: all of the experiment.
        chosen: name of the one that validation chose.
        home: folder everything is written below.

    Raises:
        ContractError: a model was trained on other data; all of them are named.
        IncompleteError: the dataset has no test side and the experiment no folds, or a map is missing.
        GridError: a map does not fit its labels.
    """
    require_own_ground(manifest, repetitions)
    own = tuple(_score(one, evaluate(one.manifest, one.maps, home)) for one in repetitions if one.fold is not None)
    across = tuple(_across(own, name) for name in dict.fromkeys(one.across for one in repetitions) if own)
    if tiles_to_predict(manifest):
        compared = tuple(_score(one, evaluate(manifest, one.maps, home)) for one in repetitions)
        return Scores(TEST_SIDE, _named(compared, chosen), compared, own, across)
    if not across:
        where, fix = f"report of {repetitions[0].name}", "set `splits.test`, or give the experiment `protocol.folds`"
        raise IncompleteError(Problem(where, "no test side and no folds", "labelled ground to score on", fix))
    drawn = next(one.across for one in repetitions if one.name == chosen)
    return Scores(OUT_OF_FOLD, _named(across, drawn), across, own, across)


def _named(found: Sequence[Score], name: str) -> Score:
    return next(score for score in found if score.name == name)


def _score(one: Repetition, found: Evaluation) -> Score:
    return Score(one.name, one.recipe.seed, one.fold, stands_on(one.recipe), found)


def _across(each: Sequence[Score], name: str) -> Score:
    """The folds of a seed as one: their matrices added, tile by tile."""
    own = [score for score in each if score.name == f"{name}.fold-{score.fold}"]
    members = tuple(member.removesuffix(f".fold-{own[0].fold}") for member in own[0].stands_on)
    return Score(name, own[0].seed, None, members, reduce(add, (score.found for score in own)))


def require_own_ground(manifest: DatasetManifest, repetitions: Sequence[Repetition]) -> None:
    """Raises ContractError with every repetition that learnt on other ground, and every map of another model."""
    wrong = [
        Problem(where, found, f"{expected}, {whose}", f"materialise `{asset}` of the experiment again")
        for one in repetitions
        for where, found, expected, whose, asset in _versions(manifest, one)
        if found != expected
    ]
    if wrong:
        raise ContractError(*wrong)


def _versions(manifest: DatasetManifest, one: Repetition) -> Iterator[tuple[str, str, str, str, str]]:
    """What a repetition is made of: where, the version found and expected, whose that is, and what makes it anew."""
    whose = "its fold's manifest" if one.fold else "the dataset's manifest"
    yield f"ground of {one.name}", one.manifest.digest, _own_ground(manifest, one), whose, "model"
    yield f"model of {one.name}", load_contract(one.model.path).data_digest, one.manifest.digest, whose, "model"
    for tile, product in one.maps.items():
        made_by = str(product.recipe.inputs.get("model"))
        yield f"map of tile {tile} by {one.name}", made_by, one.model.fingerprint, "the model", "prediction"


def _own_ground(manifest: DatasetManifest, one: Repetition) -> str:
    """Digest of the manifest that a repetition should be trained on."""
    protocol = one.recipe.protocol
    if protocol.folds is None or protocol.fold is None:
        return manifest.digest
    return folds.described(manifest, folds.fold_of(manifest, protocol.folds, protocol.fold)).digest
