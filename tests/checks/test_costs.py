"""Cost estimates: by steps, patches and repetitions, in the unit that people would use."""

from __future__ import annotations

import pytest

from landcover_orch.checks.costs import CLASSICAL_S, training_seconds
from landcover_orch.config.experiments import Experiment

PATCHES = {"train": 100, "validation": 30, "test": 10}
AREA = 64 * 64


def experiment(**settings: object) -> Experiment:
    return Experiment.model_validate({"name": "some", "model": {"name": "unet"}, **settings})


def test_training_costs_its_steps_and_validations() -> None:
    by_patches = training_seconds(experiment(epochs=10, batch_size=16), PATCHES, AREA, tiles=3)
    assert by_patches == pytest.approx(10 * (7 * 16 + 30 / 3) * AREA / 1e6)
    by_steps = training_seconds(experiment(epochs=10, batch_size=16, steps_per_epoch=70), PATCHES, AREA, tiles=3)
    assert by_steps == pytest.approx(10 * (70 * 16 + 30 / 3) * AREA / 1e6)


def test_repetitions_multiply_and_ensembles_learn_nothing() -> None:
    single = training_seconds(experiment(), PATCHES, AREA, tiles=4)
    seeds = {"seeds": [0, 1, 2]}
    assert training_seconds(experiment(protocol=seeds), PATCHES, AREA, tiles=4) == pytest.approx(3 * single)
    folds = {"folds": {"by": "tiles"}}
    assert training_seconds(experiment(protocol=folds), PATCHES, AREA, tiles=4) == pytest.approx(4 * single)
    ensemble = experiment(model={"name": "ensemble", "members": ["a", "b"]})
    assert training_seconds(ensemble, PATCHES, AREA, tiles=4) == 0
    forest = experiment(model={"name": "random_forest"})
    assert training_seconds(forest, PATCHES, AREA, tiles=4) == CLASSICAL_S
