"""The shipped settings of the five reference systems: what they say, how large they are, and that each takes steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landcover_orch import config
from landcover_orch.config.experiments import Experiment, Folds, Protocol, matrix
from landcover_orch.config.experiments.models import DeepLabV3, Ensemble, PatchClassifier, PSPNet, ResNetFCN, SwinUNet
from landcover_orch.models import networks
from landcover_orch.models.networks import Normalised
from landcover_orch.training import device, fit, optimisation, throughput
from landcover_orch.training import product as training
from landcover_orch.training.augmentation import Bands
from tests.training import classroom

LEARNT: dict[str, int] = {
    "pnoa-segnet": 1,
    "pnoa-networks": 10,
    "vaihingen-resnet-fcn": 1,
    "vaihingen-resnet-fcn-imagenet": 1,
    "vaihingen-competition": 36,
    "vaihingen-variants": 12,
    "potsdam-unet": 21,
    "potsdam-variants": 8,
    "inria-resunet": 1,
    "s2glc-unet": 1,
    "course-networks": 9,
}
"""Files of configs/experiments that learn -> experiments in each."""

OF_MEMBERS = ("pnoa-deeplabv3-smoothed", "potsdam-unet-tta", "course-ensemble")

PARAMETERS: dict[str, tuple[int, int, int]] = {
    "vaihingen-resnet-fcn": (3, 6, 23_556_114 + 53_120),
    "s2glc-unet": (4, 10, 987_242),
    "inria-resunet": (3, 2, 10_338_626),
    "pnoa-segnet": (3, 2, 29_489_218),
}
"""Experiment -> bands, classes and the numbers of its network; the first two as published, with running statistics."""

POTSDAM = {
    ("3", "plain", "plain", "cross_entropy", "constant"): [0.6350],
    ("3", "plain", "plain", "cross_entropy", "one_cycle"): [0.6144],
    ("3", "residual", "plain", "cross_entropy", "one_cycle"): [0.6610],
    ("4", "plain", "plain", "cross_entropy", "plateau"): [0.6341],
    ("4", "plain", "plain", "cross_entropy", "one_cycle"): [0.6953],
    ("4", "residual", "plain", "cross_entropy", "one_cycle"): [0.6890],
    ("4", "residual", "residual", "cross_entropy", "one_cycle"): [0.6756],
    ("4", "residual", "residual", "focal", "one_cycle"): [0.6757],
    ("4", "residual", "residual", "focal", "plateau"): [0.6347],
    ("4", "residual", "residual", "jaccard", "one_cycle"): [0.6918],
    ("4", "residual", "serial", "cross_entropy", "one_cycle"): [0.6845],
    ("4", "residual", "serial", "focal", "one_cycle"): [0.6467, 0.6885],
    ("4", "residual", "serial", "jaccard", "one_cycle"): [0.7015],
    ("4", "residual", "parallel", "cross_entropy", "one_cycle"): [0.6786],
    ("4", "residual", "parallel", "focal", "plateau"): [0.6456, 0.6827],
    ("4", "residual", "parallel", "jaccard", "plateau"): [0.6782],
    ("4", "residual", "parallel", "jaccard", "one_cycle"): [0.6929],
    ("5", "plain", "plain", "cross_entropy", "plateau"): [0.6423],
    ("5", "plain", "plain", "cross_entropy", "one_cycle"): [0.6963],
}
"""Skips, blocks, centre, loss and schedule -> validation mean IoU of each of its runs, as the study printed them."""


def _experiments(*files: str) -> dict[str, Experiment]:
    return {name: experiment for file in files for name, experiment in config.load_experiments(file).items()}


def _experiment(name: str) -> Experiment:
    return config.load_experiment(name)


def test_no_recipe_is_forgotten() -> None:
    studies = ("pnoa", "vaihingen", "potsdam", "inria", "s2glc", "course")
    shipped = {path.stem for path in (config.shipped_configs() / "experiments").glob("*.yaml")}
    assert {name for name in shipped if name.startswith(studies)} == {*LEARNT, *OF_MEMBERS}


@pytest.mark.parametrize("file", LEARNT)
def test_a_file_stands_for_so_many_recipes(file: str) -> None:
    assert len(config.load_experiments(file)) == LEARNT[file]


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_have_their_published_size(name: str) -> None:
    bands, classes, expected = PARAMETERS[name]
    with torch.device("meta"):
        network = networks.build(_experiment(name).model, bands, classes)
    assert networks.parameters(network) == expected


@pytest.mark.parametrize("file", LEARNT)
def test_every_network_is_built_at_full_size(file: str) -> None:
    for settings in {
        experiment.model.model_dump_json(): experiment.model for experiment in _experiments(file).values()
    }.values():
        with torch.device("meta"):
            assert networks.parameters(networks.build(settings, 4, 6)) > 1_000


def _small(experiment: Experiment) -> Experiment:
    """The experiment on the classroom's patches: a narrow network without foreign weights, two steps of four."""
    settings = experiment.model
    if isinstance(settings, ResNetFCN | PSPNet | DeepLabV3):
        # eight channels: oneDNN's strided 1x1 convolution of four writes past its memory with AVX2 and one thread
        trunk = settings.trunk.model_copy(update={"width": 8, "depth": 18, "weights": None})
        settings = settings.model_copy(update={"trunk": trunk})
    elif isinstance(settings, SwinUNet):
        small = {"width": 8, "depths": (2, 2), "heads": (2, 4), "window": 2, "patch": 2}
        settings = settings.model_copy(update=small)
    else:
        settings = settings.model_copy(update={"width": 4})
    if isinstance(settings, PatchClassifier):
        settings = settings.model_copy(update={"window": 9})
    loss = tuple(
        term.model_copy(update={"class_weights": term.class_weights.model_copy(update={"exclude_classes": ("dark",)})})
        if term.class_weights and term.class_weights.exclude_classes
        else term
        for term in experiment.loss
    )
    quick = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 4, "device": "cpu", "cache": "none"}
    return experiment.model_copy(update={"model": settings, "loss": loss, **quick})


def _two_steps(experiment: Experiment) -> list[float]:
    """The losses of two updates, as the learning loop takes them."""
    source = classroom.patches(8)
    bands = Bands(*(np.array(values, np.float32) for values in ([100, 100], [66, 66], [0, 0], [200, 200])))
    task = fit.Task(experiment, source, source, classroom.CLASSES, bands, (5, 3, 2), device.choose(experiment))
    torch.manual_seed(0)
    step = fit.step(task, Normalised(networks.build(experiment.model, 2, 3), [100, 100], [66, 66]), lambda line: None)
    lr = 0.01 if experiment.optimiser.lr == "auto" else experiment.optimiser.lr
    optimiser = optimisation.build_optimiser(experiment.optimiser, step.model, lr)
    losses = []
    for batch in fit.train_batches(task, epoch=0):
        optimisation.apply(optimisation.at(experiment.schedule, batch.step, task.steps), optimiser, lr)
        losses.append(float(step.update(batch, optimiser, seed=batch.step)))
    return losses


@pytest.mark.parametrize("file", LEARNT)
def test_every_recipe_takes_two_steps(file: str) -> None:
    for name, experiment in _experiments(file).items():
        losses = _two_steps(_small(experiment))
        assert len(losses) == 2, name
        assert np.isfinite(losses[0]), name


@pytest.mark.parametrize("file", [file for file in LEARNT if not file.startswith(("vaihingen-c", "vaihingen-v"))])
def test_the_first_recipe_of_each_file_becomes_a_model(home: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setattr(throughput, "PATIENCE_S", 0.01)
    experiment = _small(next(iter(_experiments(file).values()))).model_copy(update={"protocol": Protocol()})
    with classroom.in_memory(train=8, validation=4):
        product = training.train(classroom.published(home), experiment, home)
    assert product.path.name.startswith(experiment.name)
    assert len(product.json("history.json")) == 1


@pytest.mark.parametrize("name", OF_MEMBERS)
def test_what_answers_for_members_names_recipes_that_are_there(name: str) -> None:
    ensemble, *members = config.with_members(name)
    assert isinstance(ensemble.model, Ensemble)
    assert [member.name for member in members] == list(ensemble.model.members)


# what the studies printed, setting by setting


def test_pnoa_fifty_thousand_iterations() -> None:
    for experiment in _experiments("pnoa-segnet", "pnoa-networks").values():
        assert experiment.epochs * (experiment.steps_per_epoch or 0) == 50_000


def test_vaihingen_as_printed() -> None:
    for name in ("vaihingen-resnet-fcn", "vaihingen-resnet-fcn-imagenet"):
        experiment = _experiment(name)
        assert (experiment.optimiser.name, experiment.loss[0].name, experiment.metric) == (
            "adam",
            "cross_entropy",
            "loss",
        )
        assert (experiment.batch_size, experiment.epochs, experiment.steps_per_epoch) == (16, 20, -(-4166 // 16))
        assert experiment.augmentation.flips
        assert experiment.augmentation.right_angles
        assert (experiment.prediction.window, experiment.prediction.stride) == (256, 256)
    assert isinstance(model := _experiment("vaihingen-resnet-fcn-imagenet").model, ResNetFCN)
    assert model.trunk.weights == "resnet50.pth"


def test_the_competition_over_its_optimisers_and_rates() -> None:
    pairs = {
        (experiment.optimiser.name, experiment.optimiser.lr)
        for experiment in _experiments("vaihingen-competition").values()
    }
    rates = (10, 1, 0.1, 0.01, 0.001, 0.0001)
    kinds = ("sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax")
    assert pairs == {(kind, rate) for kind in kinds for rate in rates}


def test_the_21_runs_on_potsdam() -> None:
    experiments = _experiments("potsdam-unet")
    settings = {name: tuple(name.partition(matrix.SEPARATOR)[2].split("-")) for name in experiments}
    assert len(experiments) == sum(len(runs) for runs in POTSDAM.values()) == 21
    assert {key[:5] for key in settings.values()} == set(POTSDAM)
    for name, (skips, blocks, centre, loss, schedule, batch, seed) in settings.items():
        plain = experiments[name].model_dump()
        assert plain["model"]["skips"] == int(skips)
        assert plain["model"]["residual"] == (blocks == "residual")
        assert (plain["model"]["centre"], plain["loss"][0]["name"]) == (centre, loss)
        assert (plain["schedule"]["name"], plain["batch_size"]) == (schedule, int(batch.removeprefix("bs")))
        assert (plain["epochs"], plain["optimiser"]["name"], plain["metric"]) == (100, "sgd", "mean_iou")
        assert plain["seed"] == ["first", "second"].index(seed)


def test_the_file_prints_beside_each_run_on_potsdam_what_was_published() -> None:
    text = (config.shipped_configs() / "experiments/potsdam-unet.yaml").read_text()
    printed: dict[tuple[str, ...], list[float]] = {}
    for row, value in re.findall(r"- \[(.*)\] +# ([0-9.]+)", text):
        printed.setdefault(tuple(row.split(", ")[:5]), []).append(float(value))
    assert printed == POTSDAM


def test_inria_as_printed() -> None:
    experiment = _experiment("inria-resunet")
    assert (experiment.epochs, experiment.batch_size, experiment.optimiser.lr, experiment.metric) == (
        70,
        50,
        0.1,
        "mean_iou",
    )
    steps = -(-155 * 361 // experiment.batch_size)
    assert steps == 1120
    for epoch, (lr, momentum) in enumerate([(0.0045361, 0.9491623), (0.0061325, 0.946668)], start=1):
        point = optimisation.at(experiment.schedule, epoch * steps, experiment.epochs * steps)
        assert point.factor * 0.1 == pytest.approx(lr, abs=5e-8)
        assert point.momentum == pytest.approx(momentum, abs=5e-8)


def test_the_sentinel_2_challenge_as_printed() -> None:
    experiment = _experiment("s2glc-unet")
    weights = experiment.loss[0].class_weights
    assert weights is not None
    assert (weights.name, weights.exclude_classes, weights.clip) == ("balanced", ("no_data", "clouds"), 10)
    assert set(weights.exclude_classes) <= set(config.load_legend("s2glc").names)
    schedule: Any = experiment.schedule
    assert (schedule.name, schedule.factor, schedule.patience) == ("plateau", 0.5, 5)
    assert (experiment.epochs, experiment.batch_size, experiment.optimiser.lr) == (90, 16, 0.0075)
    assert (experiment.metric, experiment.patience, experiment.protocol.seeds[0]) == ("kl_proportions", 10, 42)


def test_the_challenges_search_is_five_folds_of_three_optimisers() -> None:
    search = config.load_search("s2glc-optimisers")
    assert (search.experiment, search.sampler) == ("s2glc-unet", "grid")
    assert set(search.space["optimiser.name"].choices) == {"adam", "rmsprop", "adagrad"}
    assert isinstance(search.repetitions, Protocol)
    assert search.repetitions.folds == Folds(by="tiles", count=5)


def test_the_course_in_its_order() -> None:
    names = [experiment.model.name for experiment in _experiments("course-networks").values()]
    deep = ["patch_classifier", "pixel_classifier", "hypercolumn", "fcn", "pspnet", "resunet", "deeplabv3"]
    assert names == [*deep, "swin_unet", "swin_unet"]
