"""Loss settings and class weights.

The formulas are in `landcover_orch.training.losses` and `landcover_orch.patches.class_weights`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from landcover_orch.config.experiments.custom import Custom
from landcover_orch.settings import Settings, named


class ClassWeights(Settings):
    """Class weights, from the labelled train pixels of each class."""

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
    """Settings that all losses share."""

    weight: float = Field(default=1.0, gt=0, description="factor of this loss in the sum of several")


class HardLabelLoss(LossSettings):
    """Settings of losses of labelled pixels; pixels of 255 never count."""

    class_weights: Annotated[ClassWeights, BeforeValidator(named)] | None = Field(
        default=None, description="weight of each class; empty: all equal"
    )


class CrossEntropy(HardLabelLoss):
    """Cross-entropy: -log p of the labelled class."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the target spread over all classes"
    )


class Focal(HardLabelLoss):
    """Focal loss: cross-entropy with less weight on what is already known, (1 - p)^gamma."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0, le=10, description="exponent; 0 is cross-entropy")


class Jaccard(HardLabelLoss):
    """Jaccard loss: 1 - soft intersection over union, mean over the classes of the batch."""

    name: Literal["jaccard"] = "jaccard"


class Dice(HardLabelLoss):
    """Dice loss: 1 - soft F1, mean over the classes of the batch."""

    name: Literal["dice"] = "dice"


class GeneralisedCrossEntropy(HardLabelLoss):
    """Generalised cross-entropy, robust to wrong labels: (1 - p^q) / q, from cross-entropy (q = 0) to MAE (q = 1)."""

    name: Literal["generalised_cross_entropy"] = "generalised_cross_entropy"
    q: float = Field(default=0.7, gt=0, le=1, description="the larger, the less a wrong label weighs")


class Proportions(LossSettings):
    """KL divergence of a composite polygon's mean prediction from its declared fractions; with a loss of labels."""

    name: Literal["proportions"] = "proportions"
    class_weights: None = Field(default=None, description="none: the declared fractions weigh the classes")


class CustomLoss(Custom, HardLabelLoss):
    """A loss of your own: `build(**arguments)` gives what is called with logits, label and class weights."""


PixelLoss = CrossEntropy | Focal | GeneralisedCrossEntropy
"""Pixel-wise losses: means over pixels, of a function of the labelled class's probability."""

OverlapLoss = Jaccard | Dice
"""Overlap losses: ratios over all pixels of a batch, class by class."""

LabelLoss = PixelLoss | OverlapLoss
"""Losses of labelled pixels."""

Loss = Annotated[LabelLoss | Proportions | CustomLoss, Field(discriminator="name"), BeforeValidator(named)]


def as_tuple(value: object) -> object:
    """Tuple of losses: one alone is a sum of one."""
    return value if isinstance(value, list | tuple) else (value,)


Losses = Annotated[tuple[Loss, ...], BeforeValidator(as_tuple)]
