"""Evaluation protocol: cross-validation folds and seeds of an experiment. Each training is a repetition."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from landcover_orch.settings import Settings

BLOCK_FOLDS = 5
"""Default number of folds by block: as many as the Sentinel-2 challenge's study took."""


class Folds(Settings):
    """Cross-validation of all but the test split: each fold is scored once, by a model that saw nothing of it."""

    by: Literal["blocks", "tiles"] = Field(
        default="blocks", description="what folds consist of: spatial blocks (`splits.block`), or tiles"
    )
    count: int | None = Field(
        default=None, ge=3, le=1000, description="folds; empty: 5 of blocks, or a tile each (leave one tile out)"
    )

    def number(self, tiles: int) -> int:
        """Number of folds of a dataset with so many tiles outside the test split."""
        return self.count or (BLOCK_FOLDS if self.by == "blocks" else tiles)


class Fold(Settings):
    """Fold: one of a dataset's."""

    by: Literal["blocks", "tiles"]
    index: int = Field(ge=1, description="which one, counted from 1")
    count: int = Field(ge=3, description="how many there are")

    @property
    def name(self) -> str:
        """Name of its manifest: 'fold-2-of-5-blocks'."""
        return f"fold-{self.index}-of-{self.count}-{self.by}"

    def words(self) -> str:
        """Display text: 'fold 2 of 5 by blocks'."""
        return f"fold {self.index} of {self.count} by {self.by}"


class Protocol(Settings):
    """Repetitions of an experiment: one a seed, one a fold, or one a seed of each fold."""

    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(
        default=(), description="a repetition each, instead of the experiment's `seed`"
    )
    folds: Folds | None = Field(
        default=None, description="a repetition each: a fold is scored, the next chooses the checkpoint, the rest train"
    )
    fold: int | None = Field(default=None, ge=1, description="the fold of a repetition, set by its name")

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"seeds {twice} are listed twice: they would give one model")
        return self

    @property
    def repeats(self) -> bool:
        """Whether there are repetitions that stand for the experiment."""
        return bool(self.seeds or self.folds) and self.fold is None
