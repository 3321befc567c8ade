"""The recipe of a training as a whole, and which parts do not go together."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from landcover_orch.config.experiments.losses import CrossEntropy, Losses
from landcover_orch.config.experiments.models import RECIPE, Classical, Ensemble, Model
from landcover_orch.config.experiments.optimisation import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
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
from landcover_orch.config.experiments.settings import Settings

KEY = r"^[A-Za-z0-9_-]+$"
"""What a name may hold: it becomes a Dagster key, a partition and a folder."""

Metric = Literal[
    "loss",
    "accuracy",
    "mean_recall",
    "mean_precision",
    "mean_f1",
    "mean_iou",
    "kappa",
    "mcc",
    "kl_proportions",
]
"""What can choose a checkpoint: the loss, any headline metric of the report, the divergence of class proportions."""

Unit = Annotated[float, Field(ge=0, le=1)]


class Augmentation(Settings):
    """How training patches vary; each epoch draws anew under the seed."""

    flips: bool = Field(default=True, description="mirror image and mask")
    right_angles: bool = Field(default=True, description="turn image and mask by 0, 90, 180 or 270 degrees")
    rotation: float = Field(default=0.0, ge=0, le=180, description="turn image and mask by up to this many degrees")
    zoom: tuple[Annotated[float, Field(ge=0.25, le=4)], Annotated[float, Field(ge=0.25, le=4)]] = Field(
        default=(1.0, 1.0), description="scales image and mask; above 1 a crop at a random place, below 1 with a margin"
    )
    brightness: Unit = Field(default=0.1, description="shift of the image by up to this many band standard deviations")
    contrast: float = Field(default=0.1, ge=0, lt=1, description="factor 1 -+ this on the image about its band means")
    gamma: float = Field(default=0.0, ge=0, lt=1, description="exponent 1 -+ this on the image between its extremes")
    noise: Unit = Field(default=0.0, description="normal noise of up to this many band standard deviations")
    band_dropout: Unit = Field(default=0.0, description="chance of each band to become its mean")

    @model_validator(mode="after")
    def _zoom_is_a_range(self) -> Self:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom {list(self.zoom)} ends before it begins")
        return self


class Experiment(Settings):
    """A training recipe: one file of configs/experiments."""

    name: str = Field(
        pattern=f"^{RECIPE}$",
        description="the file's name without .yaml; a partition in Dagster, unless a repetition's",
    )
    description: str = Field(default="", description="one sentence for people")
    model: Model = Field(description="which model, and how large")
    loss: Losses = Field(default=(CrossEntropy(),), description="what training minimises: one loss, or a list of them")
    optimiser: Optimiser = Field(default=Adam(), description="how weights move")
    schedule: Schedule = Field(default=Constant(), description="learning rate over the run")
    augmentation: Augmentation = Field(default=Augmentation(), description="how training patches vary")
    sampling: Literal["uniform", "by_class"] = Field(
        default="uniform", description="by_class: a class first, then a patch by how much of it the patch holds"
    )
    cache: Literal["none", "disk", "memory"] = Field(
        default="none", description="where patches are kept, decoded, between epochs"
    )
    launcher: str = Field(
        default="local", pattern=KEY, description="what starts the training's processes: a file of configs/launchers"
    )
    epochs: int = Field(default=20, ge=1, description="passes over the training patches, at most")
    steps_per_epoch: int | None = Field(default=None, ge=1, description="batches an epoch; empty: every patch once")
    batch_size: int = Field(default=16, ge=1, description="patches a step")
    accumulate: int = Field(default=1, ge=1, description="parts a batch passes the device in, where memory is short")
    clip_gradients: float | None = Field(default=None, gt=0, description="largest norm of a step's gradient")
    patience: int | None = Field(default=None, ge=1, description="epochs without a better `metric` before stopping")
    metric: Metric = Field(default="mean_iou", description="validation metric that chooses the checkpoint")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="arithmetic; auto: bfloat16 where the device has it"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a CUDA device where there is one")
    seed: int = Field(default=0, ge=0, description="of weights, order and augmentation")
    protocol: Protocol = Field(default=Protocol(), description="how often it is trained: seeds and folds, a model each")
    prediction: Prediction = Field(default=Prediction(), description="how whole tiles are predicted")

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        parts = (_of_what_takes_no_steps, _of_members, _of_a_schedule, _of_a_step)
        problems = [text for part in parts for text in part(self)]
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
"""Keys that only say something of a model that learns by gradients."""


def unused(recipe: Experiment) -> set[str]:
    """Keys that say nothing of the recipe's model: a classical one takes no steps, an ensemble learns nothing."""
    if isinstance(recipe.model, Ensemble):
        return (LEARNT | {"seed"}) - {"precision", "device"}
    return LEARNT if isinstance(recipe.model, Classical) else set()


def _of_what_takes_no_steps(recipe: Experiment) -> list[str]:
    useless = sorted(unused(recipe) & recipe.model_fields_set)
    how = "learns nothing" if isinstance(recipe.model, Ensemble) else "learns without gradients"
    return [f"{recipe.model.name} {how} and takes no {', '.join(useless)}"] if useless else []


def _of_members(recipe: Experiment) -> list[str]:
    members = recipe.model.members if isinstance(recipe.model, Ensemble) else ()
    problems = [f"{recipe.name} is a member of itself: drop it from `members`"] if recipe.name in members else []
    single = [member for member in members if not re.match(KEY, member)]
    if single and recipe.protocol.repeats:
        problems.append(f"members {single} have no repetitions: name recipes as members, or drop `protocol`")
    return problems


def _of_a_schedule(recipe: Experiment) -> list[str]:
    problems = []
    if isinstance(recipe.schedule, OneCycle) and recipe.schedule.momentum and not has_momentum(recipe.optimiser):
        problems.append(
            f"one_cycle turns momentum, and {recipe.optimiser.name} has none: set `schedule.momentum: null`,"
            " or another optimiser"
        )
    if isinstance(recipe.schedule, Plateau) and recipe.patience and recipe.schedule.patience >= recipe.patience:
        problems.append(
            f"training stops after {recipe.patience} epochs without improvement, before the plateau's"
            f" {recipe.schedule.patience} lower the rate: raise `patience`, or lower `schedule.patience`"
        )
    steps = recipe.epochs * recipe.steps_per_epoch if recipe.steps_per_epoch else None
    if isinstance(recipe.schedule, Constant | Polynomial) and steps and recipe.schedule.warmup >= steps:
        problems.append(
            f"a warm-up of {recipe.schedule.warmup} steps does not end within the run's {steps}: lower `warmup`"
        )
    return problems


def has_momentum(optimiser: Optimiser) -> bool:
    """Whether an optimiser keeps a share of its last step that a schedule can turn."""
    if isinstance(optimiser, SGD | RMSprop):
        return optimiser.momentum > 0
    return not isinstance(optimiser, Adagrad | Adadelta)


def _of_a_step(recipe: Experiment) -> list[str]:
    problems = [] if recipe.loss else ["no loss: name at least one under `loss`"]
    if recipe.accumulate > recipe.batch_size:
        problems.append(f"a batch of {recipe.batch_size} cannot pass in {recipe.accumulate} parts: lower `accumulate`")
    return problems
