"""The election of a champion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch.config.experiments import Protocol
from landcover_orch.config.experiments.repetitions import repetitions
from landcover_orch.errors import IncompleteError
from landcover_orch.evaluation import champion
from landcover_orch.evaluation.build import build
from landcover_orch.evaluation.champion import Champion, elect
from tests.evaluation.scored import EXPERIMENT, scored


def _model(name: str, mean_iou: float) -> Champion:
    return Champion(experiment=name, model=name, fingerprint=name, data_digest="d", test_digest="t", mean_iou=mean_iou)


def test_the_best_challenger_wins_an_empty_seat() -> None:
    assert elect(None, [_model("a", 0.4), _model("b", 0.6)]).experiment == "b"


def test_the_standing_champion_is_only_replaced_when_beaten() -> None:
    current = _model("old", 0.6)
    assert elect(current, [_model("equal", 0.6)]) == current
    assert elect(current, [_model("worse", 0.2)]) == current
    assert elect(current, [_model("better", 0.61)]).experiment == "better"


def test_an_election_needs_somebody() -> None:
    current = _model("old", 0.6)
    assert elect(current, []) == current
    with pytest.raises(IncompleteError, match="materialise `report` first"):
        elect(None, [])


def test_an_election_is_published(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="champion"):
        champion.load("demo", tmp_path)
    champion.build("demo", _model("a", 0.5), tmp_path)
    champion.build("demo", _model("b", 0.7), tmp_path)
    assert champion.load("demo", tmp_path).experiment == "b"


def test_a_candidate_is_the_repetition_that_validation_chose_with_its_own_score(home: Path) -> None:
    labels = np.repeat(np.arange(2, dtype=np.uint8), 50).reshape(10, 10)
    scene = scored(home, {"a": labels}, {"a": labels}, names=("field", "forest"))
    experiment = EXPERIMENT.model_copy(update={"name": "seeds", "protocol": Protocol(seeds=(1, 2))})
    trained = [scene.repetition(r, {"a": labels if r.seed == 1 else 0 * labels}) for r in repetitions(experiment, 1)]
    report = build(scene.manifest, experiment, trained, "seeds.seed-2", home)
    challenger = champion.candidate(scene.manifest, trained[1].model, report, home)
    assert (challenger.experiment, challenger.fingerprint) == ("seeds.seed-2", trained[1].model.fingerprint)
    assert challenger.mean_iou == pytest.approx(0.25), "not that of the better seed, nor the mean"
