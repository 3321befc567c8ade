"""Experiment: all settings of a training, and which do not go together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self, assert_never

from pydantic import Field, model_validator

from landcover_orch.config.experiments.losses import CrossEntropy, Losses
from landcover_orch.config.experiments.models import EXPERIMENT_NAME, Classical, Ensemble, Model
from landcover_orch.config.experiments.optimisation import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Constant,
    OneCycle,
    Optimiser,
    Plateau,
    Polynomial,
    RMSprop,
    Schedule,
)
from landcover_orch.config.experiments.prediction import Prediction
from landcover_orch.config.experiments.protocol import Protocol
from landcover_orch.config.experiments.sampling import Sampling
from landcover_orch.errors import pluralise
from landcover_orch.metrics.catalogue import METRICS, RANKED_BY
from landcover_orch.settings import Settings

KEY = r"^[A-Za-z0-9_-]+$"
"""Characters of a name: it becomes a Dagster key, a partition and a folder."""

if TYPE_CHECKING:
    Metric = str
else:
    Metric = Literal["loss", *(metric.name for metric in METRICS)]
"""Metrics that can choose a checkpoint: the loss, and every metric of the catalogue."""

Unit = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Settings):
    """Data augmentation: how training patches vary; each epoch draws anew under the seed."""

    flips: bool = Field(default=True, description="mirror image and mask")
    right_angles: bool = Field(default=True, description="turn image and mask by 0, 90, 180 or 270 degrees")
    rotation: float = Field(default=0.0, ge=0, le=180, description="turn image and mask by up to this many degrees")
    zoom: tuple[Annotated[float, Field(ge=0.25, le=4)], Annotated[float, Field(ge=0.25, le=4)]] = Field(
        default=(1.0, 1.0), description="scales image and mask; above 1 a random crop, below 1 with a margin"
    )
    brightness: Unit = Field(default=0.1, description="shift of the image by up to this many band standard deviations")
    contrast: float = Field(default=0.1, ge=0, lt=1, description="factor 1 -+ this on the image about its band means")
    gamma: float = Field(default=0.0, ge=0, lt=1, description="exponent 1 -+ this on the image between its extremes")
    noise: Unit = Field(default=0.0, description="normal noise of up to this many band standard deviations")
    band_dropout: Unit = Field(default=0.0, description="probability of each band to become its mean")

    @model_validator(mode="after")
    def _zoom_is_a_range(self) -> Self:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom {list(self.zoom)} ends before it begins")
        return self


class Experiment(Settings):
    """Experiment: one file of configs/experiments."""

    name: str = Field(
        pattern=f"^{EXPERIMENT_NAME}$",
        description="the file's name without .yaml; a partition in Dagster, unless a repetition's",
    )
    description: str = Field(default="", description="one sentence for people")
    model: Model = Field(description="which model, and how large")
    loss: Losses = Field(default=(CrossEntropy(),), description="what training minimises: one loss, or a list of them")
    optimiser: Optimiser = Field(default=Adam(), description="how weights move")
    schedule: Schedule = Field(default=Constant(), description="learning rate over the run")
    augmentation: Augmentation = Field(default=Augmentation(), description="how training patches vary")
    sampling: Sampling = Field(
        default="uniform",
        description="by_class: a class first, then a patch by how much of it the patch holds; or a sampler of your own",
    )
    cache: Literal["none", "disk", "memory"] = Field(
        default="none", description="where decoded patches are cached between epochs"
    )
    launcher: str = Field(
        default="local", pattern=KEY, description="what starts the training's processes: a file of configs/launchers"
    )
    epochs: int = Field(default=20, ge=1, description="passes over the training patches, at most")
    steps_per_epoch: int | None = Field(default=None, ge=1, description="batches an epoch; empty: every patch once")
    batch_size: int = Field(default=16, ge=1, description="patches a step")
    accumulate: int = Field(
        default=1, ge=1, description="micro-batches a batch passes the device in, where memory is short"
    )
    clip_gradients: float | None = Field(default=None, gt=0, description="largest norm of a step's gradient")
    patience: int | None = Field(default=None, ge=1, description="epochs without a better `metric` before stopping")
    metric: Metric = Field(default=RANKED_BY, description="validation metric that chooses the checkpoint")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="arithmetic; auto: bfloat16 where the device has it"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a CUDA device where there is one")
    seed: int = Field(default=0, ge=0, description="of weights, order and augmentation")
    protocol: Protocol = Field(default=Protocol(), description="how often it is trained: seeds and folds, a model each")
    prediction: Prediction = Field(default=Prediction(), description="how whole tiles are predicted")

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        checks = (unused_key_problems, member_problems, schedule_problems, batch_problems)
        problems = [text for check in checks for text in check(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


LEARNT = {
    "loss",
    "optimiser",
    "schedule",
    "augmentation",
    "sampling",
    "cache",
    "epochs",
    "steps_per_epoch",
    "batch_size",
    "accumulate",
    "clip_gradients",
    "patience",
    "precision",
    "device",
}
"""Keys that only a model that learns by gradients uses."""


def unused(experiment: Experiment) -> set[str]:
    """Unused keys of the experiment's model: a classical one takes no steps, an ensemble learns nothing."""
    if isinstance(experiment.model, Ensemble):
        return (LEARNT | {"seed"}) - {"precision", "device"}
    return LEARNT if isinstance(experiment.model, Classical) else set()


def unused_key_problems(experiment: Experiment) -> list[str]:
    """Problems of keys that are set although the model does not use them."""
    useless = sorted(unused(experiment) & experiment.model_fields_set)
    how = "learns nothing" if isinstance(experiment.model, Ensemble) else "learns without gradients"
    return [f"{experiment.model.name} {how} and takes no {', '.join(useless)}"] if useless else []


def member_problems(experiment: Experiment) -> list[str]:
    """Problems of ensemble members: of itself, or single ones where it repeats."""
    members = experiment.model.members if isinstance(experiment.model, Ensemble) else ()
    problems = (
        [f"{experiment.name} is a member of itself: drop it from `members`"] if experiment.name in members else []
    )
    single = [member for member in members if not re.match(KEY, member)]
    if single and experiment.protocol.repeats:
        problems.append(f"members {single} have no repetitions: name experiments as members, or drop `protocol`")
    return problems


def schedule_problems(experiment: Experiment) -> list[str]:
    """Problems of the learning rate schedule: momentum, patience or warm-up that do not fit."""
    match experiment.schedule:
        case OneCycle() as schedule:
            if schedule.momentum and not has_momentum(experiment.optimiser):
                kind, fix = experiment.optimiser.name, "set `schedule.momentum: null`, or another optimiser"
                return [f"one_cycle turns momentum, and {kind} has none: {fix}"]
        case Plateau() as schedule:
            if experiment.patience and schedule.patience >= experiment.patience:
                epochs = pluralise(experiment.patience, "epoch", "epochs")
                return [
                    f"training stops after {epochs} without improvement, before the plateau's {schedule.patience} lower"
                    " the rate: raise `patience`, or lower `schedule.patience`"
                ]
        case Constant() | Polynomial() as schedule:
            steps = experiment.epochs * (experiment.steps_per_epoch or 0)
            if steps and schedule.warmup >= steps:
                warmup = pluralise(schedule.warmup, "step")
                return [f"a warm-up of {warmup} does not end within the run's {steps}: lower `warmup`"]
        case _:
            assert_never(experiment.schedule)
    return []


def has_momentum(optimiser: Optimiser) -> bool:
    """Whether an optimiser has momentum that a schedule can cycle."""
    match optimiser:
        case SGD() | RMSprop():
            return optimiser.momentum > 0
        case Adam() | AdamW() | Adamax():
            return True
        case Adagrad() | Adadelta():
            return False
        case _:
            assert_never(optimiser)


def batch_problems(experiment: Experiment) -> list[str]:
    """Problems of loss and batch: none, or fewer patches than micro-batches."""
    problems = [] if experiment.loss else ["no loss: name at least one under `loss`"]
    if experiment.accumulate > experiment.batch_size:
        problems.append(
            f"a batch of {experiment.batch_size} cannot pass in {experiment.accumulate} parts: lower `accumulate`"
        )
    return problems
