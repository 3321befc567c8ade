"""Repetitions of an experiment: one a seed, one a fold, or one a seed of each fold."""

from __future__ import annotations

import re

from landcover_orch.config.experiments.experiment import Experiment
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.config.experiments.protocol import Protocol

_REPETITION = re.compile(r"(?P<base>[A-Za-z0-9_-]+)(?:\.seed-(?P<seed>\d+))?(?:\.fold-(?P<fold>\d+))?")


def base_of(name: str) -> str:
    """Base experiment of a repetition's name: 'demo-unet' of 'demo-unet.seed-1.fold-2'."""
    return name.partition(".")[0]


def repetitions(experiment: Experiment, tiles: int) -> tuple[Experiment, ...]:
    """Experiments of all repetitions, fold by fold; the experiment itself where it has none.

    Args:
        experiment: the base.
        tiles: how many tiles of the dataset are outside its test split.
    """
    protocol = experiment.protocol
    if not protocol.repeats:
        return (experiment,)
    folds = range(1, protocol.folds.number(tiles) + 1) if protocol.folds else (None,)
    return tuple(_repetition(experiment, seed, fold) for fold in folds for seed in protocol.seeds or (None,))


def _repetition(experiment: Experiment, seed: int | None, fold: int | None) -> Experiment:
    settings = {"seed": seed, "fold": fold}
    suffix = "".join(f".{key}-{value}" for key, value in settings.items() if value is not None)
    protocol = Protocol(folds=experiment.protocol.folds, fold=fold) if fold else Protocol()
    model = experiment.model
    if isinstance(model, Ensemble):  # of the same repetition of each member
        model = model.model_copy(update={"members": tuple(member + suffix for member in model.members)})
    return experiment.model_copy(
        update={
            "name": experiment.name + suffix,
            "seed": experiment.seed if seed is None else seed,
            "protocol": protocol,
            "model": model,
        }
    )


def repetition(experiment: Experiment, name: str) -> Experiment | None:
    """Repetition by its name, 'demo-unet.seed-1.fold-2'; None where the experiment has none of that name."""
    match = _REPETITION.fullmatch(name)
    if match is None or match["base"] != experiment.name:
        return None
    seed, fold = (int(match[key]) if match[key] else None for key in ("seed", "fold"))
    protocol = experiment.protocol
    seeds: tuple[int | None, ...] = protocol.seeds or (None,)
    if seed not in seeds or (fold is None) != (protocol.folds is None):
        return None
    if fold is not None and protocol.folds and not 1 <= fold <= protocol.folds.number(fold):
        return None
    repeated = _repetition(experiment, seed, fold)
    return repeated if repeated.name == name else None
