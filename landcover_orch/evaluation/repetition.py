"""Repetitions of an experiment and their scores: each on the test split, each fold also on its own test pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

from landcover_orch.config import load_experiment
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import ContractError, IncompleteError, Problem
from landcover_orch.evaluation.choices import base_experiments
from landcover_orch.evaluation.evaluate import Evaluation, evaluate, tiles_to_predict
from landcover_orch.models.contract import load_contract
from landcover_orch.patches import folds
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.products import PREDICTION, current_manifest, folder
from landcover_orch.store.publish import Product
from landcover_orch.training.protocol import current_models

TEST_SPLIT, OUT_OF_FOLD = "test split", "out of fold"


@dataclass(frozen=True)
class Score:
    """Evaluation of a repetition, of a fold, or of all folds of a seed together."""

    name: str
    seed: int
    fold: int | None
    base_experiments: tuple[str, ...]
    evaluation: Evaluation


@dataclass(frozen=True)
class Repetition:
    """A trained model of an experiment, and its maps by tile."""

    experiment: Experiment
    """With the repetition's own name and seed."""

    manifest: DatasetManifest
    """What it was trained on: the dataset's, or its fold's."""

    model: Product
    maps: Mapping[str, Product]

    @property
    def name(self) -> str:
        """As its products are called."""
        return self.experiment.name

    @property
    def fold(self) -> int | None:
        """The fold whose pixels it never saw, counted from 1; None where it is of no fold."""
        return self.experiment.protocol.fold

    @property
    def seed_group(self) -> str:
        """Its name without the fold: the same for all folds of a seed."""
        return self.name.removesuffix(f".fold-{self.fold}")

    def score(self, manifest: DatasetManifest, home: Path) -> Score:
        """Its evaluation on the test pixels of a manifest: the dataset's, or its own fold's."""
        evaluation = evaluate(manifest, self.maps, home)
        return Score(self.name, self.experiment.seed, self.fold, base_experiments(self.experiment), evaluation)

    def version_problems(self, manifest: DatasetManifest) -> Iterator[Problem]:
        """Version conflicts: a manifest, model or map that is not of the dataset's manifest, or of its fold."""
        protocol, digest = self.experiment.protocol, manifest.digest
        if protocol.folds is not None and protocol.fold is not None:
            digest = folds.described(manifest, folds.fold_of(manifest, protocol.folds, protocol.fold)).digest
        owner = "its fold's manifest" if self.fold else "the dataset's manifest"
        versions = [
            (f"ground of {self.name}", self.manifest.digest, digest, owner, "model"),
            (f"model of {self.name}", load_contract(self.model.path).data_digest, self.manifest.digest, owner, "model"),
        ]
        for tile, product in self.maps.items():
            model = str(product.recipe.inputs.get("model"))
            where = f"map of tile {tile} by {self.name}"
            versions.append((where, model, self.model.fingerprint, "the model", "prediction"))
        for where, version, expected, owner, asset in versions:
            if version != expected:
                fix = f"materialise `{asset}` of the experiment again"
                yield Problem(where, version, f"{expected}, {owner}", fix)


def trained_repetitions(dataset: str, experiment: str, home: Path) -> list[tuple[Experiment, DatasetManifest, Product]]:
    """Trained models: experiment, manifest it was trained on (the dataset's, or its fold's), and model of each.

    Raises:
        IncompleteError: there is no manifest or no model.
    """
    trained = []
    for name, model in current_models(home, dataset, experiment).items():
        repetition = load_experiment(name)
        product, protocol = current_manifest(home, dataset), repetition.protocol
        if protocol.fold is not None and protocol.folds is not None:
            product = folds.build(product, protocol.folds, protocol.fold, home)
        trained.append((repetition, manifests.load(product.path), model))
    return trained


def current_repetitions(dataset: str, experiment: str, home: Path) -> list[Repetition]:
    """The repetitions of an experiment with the maps that were last published.

    Raises:
        IncompleteError: a manifest, model or map is missing.
    """
    maps, described = folder(home, dataset, PREDICTION), manifests.load_current(home, dataset)
    return [
        Repetition(
            repetition,
            manifest,
            model,
            {e.name: publish.current(maps / repetition.name, e.name) for e in tiles_to_predict(described, manifest)},
        )
        for repetition, manifest, model in trained_repetitions(dataset, experiment, home)
    ]


@dataclass(frozen=True)
class Scores:
    """All evaluations of an experiment."""

    split: str
    """`TEST_SPLIT`, or `OUT_OF_FOLD` of a dataset without any."""

    chosen: Score
    """The one that the report draws."""

    scores: tuple[Score, ...]
    """The repetitions on the test split; of a dataset without any, each seed out of fold."""

    folds: tuple[Score, ...]
    """Each fold's model on that fold's test pixels alone."""

    seed_groups: tuple[Score, ...]
    """Each seed out of fold: all pixels but the test split, every one by the model that never saw it."""


def score_repetitions(manifest: DatasetManifest, repetitions: Sequence[Repetition], chosen: str, home: Path) -> Scores:
    """Evaluates an experiment's repetitions.

    Args:
        manifest: the dataset's.
        repetitions: all of the experiment.
        chosen: name of the one that validation chose.
        home: folder everything is written below.

    Raises:
        ContractError: a model was trained on other data; all of them are named.
        IncompleteError: the dataset has no test split and the experiment no folds, or a map is missing.
        GridError: a map does not fit its labels.
    """
    require_matching_versions(manifest, repetitions)
    fold_scores = tuple(r.score(r.manifest, home) for r in repetitions if r.fold is not None)
    names = dict.fromkeys(r.seed_group for r in repetitions if fold_scores)
    groups = {name: pool_folds(fold_scores, name) for name in names}
    if tiles_to_predict(manifest):
        scores = {r.name: r.score(manifest, home) for r in repetitions}
        return Scores(TEST_SPLIT, scores[chosen], tuple(scores.values()), fold_scores, tuple(groups.values()))
    if not groups:
        where, fix = f"report of {repetitions[0].name}", "set `splits.test`, or give the experiment `protocol.folds`"
        raise IncompleteError(Problem(where, "no test split and no folds", "labelled pixels to score on", fix))
    seed_group = next(r.seed_group for r in repetitions if r.name == chosen)
    return Scores(OUT_OF_FOLD, groups[seed_group], tuple(groups.values()), fold_scores, tuple(groups.values()))


def pool_folds(fold_scores: Sequence[Score], seed_group: str) -> Score:
    """Out-of-fold score of a seed: the matrices of its folds added, tile by tile."""
    members = [score for score in fold_scores if score.name == f"{seed_group}.fold-{score.fold}"]
    bases = tuple(base.removesuffix(f".fold-{members[0].fold}") for base in members[0].base_experiments)
    return Score(seed_group, members[0].seed, None, bases, reduce(add, (score.evaluation for score in members)))


def require_matching_versions(manifest: DatasetManifest, repetitions: Sequence[Repetition]) -> None:
    """Raises ContractError with every repetition trained on another manifest, and every map of another model."""
    problems = [problem for repetition in repetitions for problem in repetition.version_problems(manifest)]
    if problems:
        raise ContractError(*problems)
