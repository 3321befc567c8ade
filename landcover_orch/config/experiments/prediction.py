"""Prediction settings: sliding window, test-time augmentation, Markov random field over the probabilities."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from landcover_orch.settings import Settings, named


class Potts(Settings):
    """Potts prior of all solvers: neighbours of different classes cost `beta`."""

    beta: float = Field(default=1.0, ge=0, le=50, description="cost of two neighbours of different classes, in nats")
    neighbours: Literal[4, 8] = Field(default=4, description="neighbours of a pixel; 8: diagonal ones too")
    sigma: float | None = Field(
        default=None,
        ge=0.01,
        description="contrast, in band standard deviations, at which a border of the image lowers beta to 0.61 of it; "
        "empty: beta everywhere",
    )


class ICM(Potts):
    """Iterated conditional modes (Besag 1986): each pixel takes its best class, its neighbours given."""

    name: Literal["icm"] = "icm"
    sweeps: int = Field(default=10, ge=1, le=100, description="times each pixel is visited, at most")


class Annealing(Potts):
    """Simulated annealing by a Gibbs sampler (Geman and Geman 1984) that cools, then iterated conditional modes."""

    name: Literal["annealing"] = "annealing"
    sweeps: int = Field(default=40, ge=2, le=100, description="times each pixel is drawn")
    temperature: float = Field(default=1.0, gt=0, le=100, description="first temperature; 1 draws from the posterior")
    final_temperature: float = Field(
        default=0.05, gt=0, le=100, description="last temperature, reached in equal ratios"
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of the draws")

    @model_validator(mode="after")
    def _cools(self) -> Self:
        if self.final_temperature > self.temperature:
            raise ValueError(f"temperature rises from {self.temperature} to {self.final_temperature}: swap them")
        return self


class GraphCut(Potts):
    """Alpha-expansion by minimum cuts (Boykov, Veksler and Zabih 2001), in overlapping cells of fixed size."""

    name: Literal["graph_cut"] = "graph_cut"
    sweeps: int = Field(default=5, ge=1, le=100, description="times each class may expand, at most")


Smoothing = Annotated[ICM | Annealing | GraphCut, Field(discriminator="name"), BeforeValidator(named)]


class Prediction(Settings):
    """Sliding-window prediction of tiles."""

    window: int = Field(default=256, ge=16, le=4096, description="side of a window in pixels")
    stride: int = Field(default=192, ge=1, description="step between windows in pixels")
    batch_size: int = Field(default=8, ge=1, description="windows in one forward pass")
    tta: Literal[1, 8] = Field(
        default=1,
        description="test-time augmentation; 8: each window also turned and mirrored, probabilities averaged",
    )
    smoothing: Smoothing | None = Field(default=None, description="solver of the random field; empty: no smoothing")

    @model_validator(mode="after")
    def _covers(self) -> Self:
        if self.stride > self.window:
            raise ValueError(f"stride {self.stride} leaves gaps between windows of {self.window}")
        return self
