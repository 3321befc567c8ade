"""Optimiser and learning rate schedule settings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from landcover_orch.settings import Settings, named

RATE = "learning rate, the peak where a schedule has one; auto: found by a test"

Rate = Annotated[float, Field(gt=0)] | Literal["auto"]
Decay = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class SGD(Settings):
    """Stochastic gradient descent with Nesterov momentum."""

    name: Literal["sgd"] = "sgd"
    lr: Rate = Field(default=0.01, description=RATE)
    weight_decay: Decay = Field(default=0.0, description="L2 penalty")
    momentum: Fraction = Field(default=0.9, description="fraction of the last step that is added")
    nesterov: bool = Field(default=True, description="look ahead along the momentum")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum and "nesterov" in self.model_fields_set:
            raise ValueError("Nesterov's look-ahead needs momentum > 0")
        return self


class _Adaptive(Settings):
    lr: Rate = Field(default=1e-3, description=RATE)
    weight_decay: Decay = Field(default=0.0, description="L2 penalty")
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.999), description="decay of the two moments")


class Adam(_Adaptive):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"] = "adam"


class AdamW(_Adaptive):
    """AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    weight_decay: Decay = Field(default=0.01, description="decay of the weights, apart from the gradient")


class Adamax(_Adaptive):
    """Adamax: Adam with the infinity norm."""

    name: Literal["adamax"] = "adamax"
    lr: Rate = Field(default=2e-3, description=RATE)


class RMSprop(Settings):
    """RMSprop: steps divided by a running root mean square."""

    name: Literal["rmsprop"] = "rmsprop"
    lr: Rate = Field(default=1e-3, description=RATE)
    weight_decay: Decay = Field(default=0.0, description="L2 penalty")
    momentum: Fraction = Field(default=0.0, description="fraction of the last step that is added")
    alpha: Fraction = Field(default=0.99, description="decay of the mean square")


class Adagrad(Settings):
    """Adagrad: steps divided by the root of all squares so far."""

    name: Literal["adagrad"] = "adagrad"
    lr: Rate = Field(default=0.01, description=RATE)
    weight_decay: Decay = Field(default=0.0, description="L2 penalty")


class Adadelta(Settings):
    """Adadelta: steps scaled by the ratio of two running means (Zeiler 2012)."""

    name: Literal["adadelta"] = "adadelta"
    lr: Rate = Field(default=1.0, description=RATE)
    weight_decay: Decay = Field(default=0.0, description="L2 penalty")
    rho: Fraction = Field(default=0.9, description="decay of the means")


Optimiser = Annotated[
    SGD | Adam | AdamW | Adamax | RMSprop | Adagrad | Adadelta, Field(discriminator="name"), BeforeValidator(named)
]


class Constant(Settings):
    """Constant learning rate."""

    name: Literal["constant"] = "constant"
    warmup: int = Field(default=0, ge=0, description="steps in which the rate first rises in a line")


class OneCycle(Settings):
    """One-cycle schedule: cosine up, cosine down, momentum the other way (Smith 2018)."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(default=0.3, gt=0, lt=1, description="fraction of the steps in which the rate rises")
    start: float = Field(default=25.0, ge=1, description="peak rate over first rate")
    end: float = Field(default=1e4, ge=1, description="first rate over last rate")
    momentum: tuple[Fraction, Fraction] | None = Field(
        default=(0.95, 0.85), description="momentum (first beta) at the first and at the peak rate; null: as it is"
    )


class Plateau(Settings):
    """Reduce on plateau: the rate falls when the experiment's metric has not improved for a while."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.5, gt=0, lt=1, description="what the rate is multiplied by")
    patience: int = Field(default=5, ge=1, description="epochs without a better metric before it falls")
    least: float = Field(default=1e-6, ge=0, description="fraction of the first rate below which it does not fall")


class Polynomial(Settings):
    """Polynomial decay: (1 - progress)^power."""

    name: Literal["polynomial"] = "polynomial"
    power: float = Field(default=0.9, gt=0, le=10, description="1: a line")
    warmup: int = Field(default=0, ge=0, description="steps in which the rate first rises in a line")


Schedule = Annotated[Constant | OneCycle | Plateau | Polynomial, Field(discriminator="name"), BeforeValidator(named)]
