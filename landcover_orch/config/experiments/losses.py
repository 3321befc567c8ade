"""Settings of losses and class weights.

The formulas are in `landcover_orch.training.losses` and `landcover_orch.patches.class_weights`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from landcover_orch.config.experiments.settings import Settings, named


class ClassWeights(Settings):
    """How much a class counts, from the labelled train pixels of each."""

    name: Literal["inverse", "median", "balanced"] = Field(
        description="inverse: 1/n, mean 1; median: median(n)/n; balanced: sum(n)/(n C)"
    )
    clip: float | None = Field(
        default=10.0, ge=1, description="largest weight as a multiple of the smallest; null: no limit"
    )
    exclude_classes: tuple[str, ...] = Field(
        default=(), description="classes whose weight is 0: labelled, but not learnt"
    )


class LossSettings(Settings):
    """What all losses share."""

    weight: float = Field(default=1.0, gt=0, description="factor of this loss in the sum of several")


class HardLabelLoss(LossSettings):
    """What losses of labelled pixels share; pixels of 255 never count."""

    class_weights: Annotated[ClassWeights, BeforeValidator(named)] | None = Field(
        default=None, description="how much each class counts; empty: all alike"
    )


class CrossEntropy(HardLabelLoss):
    """-log p of the labelled class."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the target spread over all classes")


class Focal(HardLabelLoss):
    """Cross-entropy that leaves out what is already known: (1 - p)^gamma."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0, le=10, description="exponent; 0 is cross-entropy")


class Jaccard(HardLabelLoss):
    """1 - soft intersection over union, mean over the classes of the batch."""

    name: Literal["jaccard"] = "jaccard"


class Dice(HardLabelLoss):
    """1 - soft F1, mean over the classes of the batch."""

    name: Literal["dice"] = "dice"


class GeneralisedCrossEntropy(HardLabelLoss):
    """(1 - p^q) / q: between cross-entropy (q = 0) and mean absolute error (q = 1), robust to wrong labels."""

    name: Literal["generalised_cross_entropy"] = "generalised_cross_entropy"
    q: float = Field(default=0.7, gt=0, le=1, description="the larger, the less a wrong label pulls")


class Proportions(LossSettings):
    """KL divergence of a composite polygon's mean prediction from its declared shares; beside a loss of labels."""

    name: Literal["proportions"] = "proportions"
    class_weights: None = Field(default=None, description="none: the declared shares say how much each class counts")


Loss = Annotated[
    CrossEntropy | Focal | Jaccard | Dice | GeneralisedCrossEntropy | Proportions,
    Field(discriminator="name"),
    BeforeValidator(named),
]


def as_tuple(value: object) -> object:
    """One loss is a sum of one."""
    return value if isinstance(value, list | tuple) else (value,)


Losses = Annotated[tuple[Loss, ...], BeforeValidator(as_tuple)]
