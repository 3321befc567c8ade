"""Repetitions of an experiment: their names, and back from a name to its experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from landcover_orch.config import load_experiment
from landcover_orch.config.experiments import Experiment, Folds, Protocol
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.config.experiments.repetitions import repetition, repetitions
from landcover_orch.errors import ConfigError


def experiment(protocol: Protocol) -> Experiment:
    return Experiment(name="one", model="unet", seed=7, protocol=protocol)  # type: ignore[arg-type]


def test_without_seeds_and_folds_a_recipe_stands_for_itself() -> None:
    base = experiment(Protocol())
    assert repetitions(base, 4) == (base,)


def test_a_repetition_a_seed_of_each_fold() -> None:
    repeated = repetitions(experiment(Protocol(seeds=(3, 0), folds=Folds(by="tiles"))), 3)
    assert [r.name for r in repeated] == [f"one.seed-{seed}.fold-{fold}" for fold in (1, 2, 3) for seed in (3, 0)]
    assert [(r.seed, r.protocol.fold) for r in repeated][:3] == [(3, 1), (0, 1), (3, 2)]


def test_five_folds_by_block_unless_told_otherwise() -> None:
    assert len(repetitions(experiment(Protocol(folds=Folds())), 99)) == 5


@pytest.mark.parametrize(
    "protocol",
    [Protocol(seeds=(1, 2)), Protocol(folds=Folds(count=4)), Protocol(seeds=(5,), folds=Folds(by="tiles"))],
)
def test_every_repetition_is_found_again_by_its_name(protocol: Protocol) -> None:
    base = experiment(protocol)
    for repeated in repetitions(base, 6):
        assert repetition(base, repeated.name) == repeated
        assert not repeated.protocol.repeats


@pytest.mark.parametrize(
    "name", ["one.seed-3", "one.seed-01", "one.fold-1", "one.seed-1.fold-2", "two.seed-1", "one.x", "one."]
)
def test_a_name_that_the_protocol_has_not_is_none(name: str) -> None:
    assert repetition(experiment(Protocol(seeds=(1, 2))), name) is None


def test_folds_end_where_their_number_does() -> None:
    base = experiment(Protocol(folds=Folds(count=4)))
    assert repetition(base, "one.fold-4") is not None
    assert repetition(base, "one.fold-5") is None
    assert repetition(base, "one.fold-0") is None


def test_equal_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"seeds \[1\] are listed twice"):
        Protocol(seeds=(1, 2, 1))


def test_a_repetition_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no repetition demo-unet"):
        load_experiment("demo-unet.seed-8")


def test_an_ensembles_repetition_answers_with_the_same_repetition_of_each_member() -> None:
    together = Experiment.model_validate(
        {"name": "both", "model": {"name": "ensemble", "members": ["one", "two"]}, "protocol": {"seeds": [1, 2]}}
    )
    first, _ = repetitions(together, 4)
    assert first.name == "both.seed-1"
    assert first.model == Ensemble(members=("one.seed-1", "two.seed-1"))
    assert repetition(together, "both.seed-1") == first


@pytest.mark.parametrize("member", ["one.seed-1", "models:/tiny/3"])
def test_a_member_that_is_one_model_cannot_be_repeated(member: str) -> None:
    with pytest.raises(ValueError, match="no repetitions"):
        Experiment.model_validate(
            {"name": "both", "model": {"name": "ensemble", "members": [member]}, "protocol": {"seeds": [1, 2]}}
        )


@pytest.mark.parametrize("name", ["a.seed-1", "a.fold-2", "a.seed-1.fold-2"])
def test_a_repetition_is_a_recipe_that_another_process_reads(name: str) -> None:
    plain = {"seeds": [1] if "seed" in name else [], "folds": {"count": 3} if "fold" in name else None}
    base = Experiment.model_validate({"name": "a", "model": "unet", "protocol": plain})
    repeated = repetition(base, name)
    assert repeated is not None
    assert Experiment.model_validate_json(repeated.model_dump_json()) == repeated


def test_a_file_cannot_be_called_as_a_repetition(configs: Path) -> None:
    (configs / "experiments" / "a.yaml").write_text("{name: a.seed-1, model: unet}")
    with pytest.raises(ConfigError, match="as the file is called"):
        load_experiment("a")
