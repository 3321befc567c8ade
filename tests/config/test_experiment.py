"""Experiments: what goes together parses in every combination, and what does not is refused at load with its reason."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch.config.experiments import Classical, Experiment, Network
from landcover_orch.config.experiments.experiment import has_momentum
from landcover_orch.config.experiments.losses import LabelLoss, Loss
from landcover_orch.config.experiments.optimisation import Optimiser, Schedule
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import ConfigError
from landcover_orch.training import product as training
from landcover_orch.training import throughput
from tests.training import classroom
from tests.unions import names

NETWORKS, FOREST = names(Network), names(Classical)
LOSSES, OPTIMISERS, SCHEDULES = (names(union) for union in (Loss, Optimiser, Schedule))
OF_LABELS = names(LabelLoss)
"""The losses that need nothing but labels."""

CUSTOM = {"custom": {"name": "custom", "build": "my_package.models:make"}}
"""What must say more than its name."""

AUGMENTATIONS: list[dict[str, Any]] = [
    {},
    {"flips": False, "right_angles": False, "brightness": 0, "contrast": 0},
    {"rotation": 45, "zoom": [0.5, 2], "gamma": 0.2, "noise": 0.1, "band_dropout": 0.1},
]


def _read(**parts: Any) -> Experiment:
    return parse({"name": "quick", "model": "unet", **parts}, Experiment, "quick.yaml")


def _schedule(name: str, optimiser: str) -> dict[str, Any]:
    """A schedule's defaults, without momentum where the optimiser has none."""
    plain = _read(optimiser=optimiser)
    return {"name": name, **({} if name != "one_cycle" or has_momentum(plain.optimiser) else {"momentum": None})}


@pytest.mark.parametrize("network", NETWORKS)
def test_any_network_loss_optimiser_schedule_and_augmentation_go_together(network: str) -> None:
    every = itertools.product(LOSSES, OPTIMISERS, SCHEDULES, AUGMENTATIONS)
    for loss, optimiser, schedule, augmentation in every:
        experiment = _read(
            model=CUSTOM.get(network, network),
            loss=CUSTOM.get(loss, loss),
            optimiser=optimiser,
            schedule=_schedule(schedule, optimiser),
            augmentation=augmentation,
        )
        chosen = (experiment.model.name, experiment.loss[0].name, experiment.optimiser.name, experiment.schedule.name)
        assert chosen == (network, loss, optimiser, schedule)
        assert Experiment.model_validate(experiment.model_dump(mode="json")) == experiment


def test_each_union_has_members() -> None:
    assert all((NETWORKS, FOREST, OF_LABELS, LOSSES, OPTIMISERS, SCHEDULES))
    assert {*OF_LABELS} < {*LOSSES}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one cycle without momentum to turn": (
        {"optimiser": {"name": "sgd", "momentum": 0}, "schedule": "one_cycle"},
        "one_cycle turns momentum, and sgd has none: set `schedule.momentum: null`",
    ),
    "one cycle of rmsprop, whose momentum is 0": (
        {"optimiser": "rmsprop", "schedule": "one_cycle"},
        "one_cycle turns momentum, and rmsprop has none",
    ),
    "one cycle of adagrad": ({"optimiser": "adagrad", "schedule": "one_cycle"}, "and adagrad has none"),
    "one cycle of adadelta": ({"optimiser": "adadelta", "schedule": "one_cycle"}, "and adadelta has none"),
    "a look-ahead along nothing": (
        {"optimiser": {"name": "sgd", "momentum": 0, "nesterov": True}},
        "Nesterov's look-ahead needs momentum > 0",
    ),
    "patience that ends before the plateau acts": (
        {"schedule": {"name": "plateau", "patience": 5}, "patience": 5},
        "training stops after 5 epochs without improvement, before the plateau's 5 lower the rate",
    ),
    "a warm-up that does not end": (
        {"schedule": {"name": "polynomial", "warmup": 20}, "epochs": 2, "steps_per_epoch": 10},
        "a warm-up of 20 steps does not end within the run's 20",
    ),
    "more parts than patches": ({"batch_size": 4, "accumulate": 8}, "a batch of 4 cannot pass in 8 parts"),
    "no loss at all": ({"loss": []}, "no loss: name at least one"),
    "a forest with an optimiser": (
        {"model": "random_forest", "optimiser": "adam", "epochs": 3},
        "random_forest learns without gradients and takes no epochs, optimiser",
    ),
    "clusters with a loss": (
        {"model": "k_means", "loss": "dice"},
        "k_means learns without gradients and takes no loss",
    ),
    "pretrained weights of another width": (
        {"model": {"name": "pspnet", "trunk": {"width": 16, "weights": "resnet50.safetensors"}}},
        "weights fit a trunk of width 64, not 16",
    ),
    "a window without a centre": (
        {"model": {"name": "patch_classifier", "window": 32}},
        "has no central pixel: take 33",
    ),
    "heads that do not divide": (
        {"model": {"name": "swin_unet", "width": 10, "depths": [2, 2], "heads": [3, 6]}},
        "do not divide the channels of their stage",
    ),
    "a range that ends before it begins": ({"augmentation": {"zoom": [2, 1]}}, "ends before it begins"),
    "windows with gaps": ({"prediction": {"window": 64, "stride": 65}}, "leaves gaps between windows of 64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused_with_its_reason(name: str) -> None:
    parts, reason = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        _read(**parts)
    assert reason in str(caught.value)
    assert "quick.yaml" in str(caught.value)


def test_all_that_does_not_go_together_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        _read(optimiser="adagrad", schedule="one_cycle", batch_size=2, accumulate=3)
    assert "adagrad has none" in str(caught.value)
    assert "cannot pass in 3 parts" in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"optimiser": "adm"}, "quick.yaml: optimiser: 'adm'; expected one of .* did you mean 'adam'"),
        ({"loss": ["cross_entropy", "jacard"]}, "did you mean 'jaccard'"),
        (
            {"schedule": {"name": "plateau", "patiance": 3}},
            "schedule.patiance: an unknown key.*did you mean 'patience'",
        ),
        ({"metric": "miou"}, "quick.yaml: metric: 'miou'"),
        ({"optimiser": {"name": "adam", "lr": 0}}, "optimiser.lr"),
    ],
)
def test_a_slip_is_a_question(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _read(**parts)


def _covering() -> list[tuple[str, str, str]]:
    """Triples of loss, optimiser and schedule that hold each pair of two of them at least once."""
    uncovered = {
        frozenset(pair)
        for kinds in itertools.combinations((OF_LABELS, OPTIMISERS, SCHEDULES), 2)
        for pair in itertools.product(*kinds)
    }
    covering: list[tuple[str, str, str]] = []
    while uncovered:
        best = max(
            itertools.product(OF_LABELS, OPTIMISERS, SCHEDULES),
            key=lambda triple: sum(frozenset(pair) in uncovered for pair in itertools.combinations(triple, 2)),
        )
        covering.append(best)
        uncovered -= {frozenset(pair) for pair in itertools.combinations(best, 2)}
    return covering


@pytest.mark.slow
def test_each_pair_of_loss_optimiser_and_schedule_trains(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "PATIENCE_S", 0.01)
    described = classroom.published(home)
    triples = _covering()
    assert len(triples) < 1.4 * len(OF_LABELS) * len(OPTIMISERS)
    with classroom.in_memory(train=8, validation=4):
        for loss, optimiser, schedule in triples:
            experiment = classroom.experiment(
                model="pixel_classifier",
                loss={"name": loss, "class_weights": "median"},
                optimiser=optimiser,
                schedule=_schedule(schedule, optimiser),
                epochs=2,
                batch_size=4,
            )
            rows = training.train(described, experiment, home).json("history.json")
            numbers = [[row["loss"], row["validation_loss"], row["lr"], *row["metrics"].values()] for row in rows]
            assert np.isfinite(np.array(numbers, float)).all(), (loss, optimiser, schedule)
