"""Validation of experiments and searches of a dataset: files missing, parts that do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from landcover_orch import config
from landcover_orch.checks.custom_code import custom_code_problems
from landcover_orch.config import file_label
from landcover_orch.config.datasets import Dataset
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.files import (
    experiments_of,
    load_experiment,
    load_experiments,
    load_legend,
    load_search,
    with_members,
)
from landcover_orch.errors import ConfigError, Problem, TrainingError, did_you_mean, one_of
from landcover_orch.models import weights


def experiment_problems(dataset: Dataset) -> list[Problem]:
    """Problems of a dataset's experiments and searches: files missing, parts that do not go together."""
    problems: list[Problem] = []
    members: dict[str, Experiment] = {}
    for name in (*dataset.experiments, *dataset.baselines):
        try:
            for experiment in load_experiments(name):
                for member in with_members(experiment):
                    require_weights(member)
                    members[member.name] = member
        except (ConfigError, TrainingError) as error:
            problems.extend(error.problems)
    for name in dataset.searches:
        try:
            load_search(name)
        except ConfigError as error:
            problems.extend(error.problems)
    return problems or [*code_problems(dataset, [*members.values()]), *label_review_problems(dataset)]


def code_problems(dataset: Dataset, experiments: Sequence[Experiment]) -> list[Problem]:
    """Problems of the custom code of some experiments, on images and classes as the dataset has them."""
    try:
        classes = len(load_legend(dataset.legend).classes)
    except ConfigError:
        return []  # said where the legend is checked
    return custom_code_problems(experiments, len(dataset.bands), classes, dataset.patches.size)


def require_weights(experiment: Experiment) -> None:
    """Raises TrainingError where an experiment starts from pretrained weights that are not there."""
    if file := weights.named_by(experiment.model):
        weights.find(file, config.home() / weights.FOLDER)


def label_review_problems(dataset: Dataset) -> Iterator[Problem]:
    """Problems of the experiment that a dataset's `label_review` names, where its other experiments are valid."""
    where, name = f"{file_label('datasets', dataset.name)}: label_review", dataset.label_review
    if name is not None and name not in experiments_of(dataset):
        known = list(experiments_of(dataset))
        fix = did_you_mean(name, known) or "add it to `experiments`"
        yield Problem(where, repr(name), one_of(name, known), fix)
    elif name is not None and load_experiment(name).protocol.folds is None:
        fix = "give the experiment `protocol: {folds: {}}`, or name one that has them"
        yield Problem(where, f"{name!r}, which has no folds", "an experiment with `protocol.folds`", fix)
