"""How often a recipe is trained, and on which ground: seeds and folds. Each training is a repetition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from landcover_orch.experiment.models import Ensemble, Model
from landcover_orch.experiment.settings import Settings

if TYPE_CHECKING:
    from landcover_orch.experiment.recipe import Experiment

BLOCK_FOLDS = 5
"""Folds by block where a recipe does not say how many: as many as the Sentinel-2 challenge's study took."""

_REPETITION = re.compile(r"(?P<base>[A-Za-z0-9_-]+)(?:\.seed-(?P<seed>\d+))?(?:\.fold-(?P<fold>\d+))?")


class Folds(Settings):
    """All ground but the test side, dealt out: each fold is scored once, by a model that saw nothing of it."""

    by: Literal["blocks", "tiles"] = Field(
        default="blocks", description="what is dealt out: spatial blocks (`splits.block`), or whole tiles"
    )
    count: int | None = Field(
        default=None, ge=3, le=1000, description="folds; empty: 5 of blocks, or a tile each (leave one tile out)"
    )

    def number(self, tiles: int) -> int:
        """How many folds there are of a dataset with so many tiles beside the test side."""
        return self.count or (BLOCK_FOLDS if self.by == "blocks" else tiles)


class Fold(Settings):
    """One of a dataset's folds."""

    by: Literal["blocks", "tiles"]
    index: int = Field(ge=1, description="which one, counted from 1")
    count: int = Field(ge=3, description="how many there are")

    @property
    def name(self) -> str:
        """What its manifest is called: 'fold-2-of-5-blocks'."""
        return f"fold-{self.index}-of-{self.count}-{self.by}"

    def words(self) -> str:
        """As people say it: 'fold 2 of 5 by blocks'."""
        return f"fold {self.index} of {self.count} by {self.by}"


class Protocol(Settings):
    """Which repetitions a recipe has: one a seed, one a fold, or one a seed of each fold."""

    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(
        default=(), description="a repetition each, instead of the recipe's `seed`"
    )
    folds: Folds | None = Field(
        default=None, description="a repetition each: a fold is scored, the next chooses the checkpoint, the rest train"
    )
    fold: int | None = Field(default=None, ge=1, description="the one fold of a repetition; said by its name")

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"seeds {twice} are listed twice: they would give one model")
        return self

    @property
    def repeats(self) -> bool:
        """Whether there are repetitions that stand for the recipe."""
        return bool(self.seeds or self.folds) and self.fold is None


def base_of(name: str) -> str:
    """The recipe that a name belongs to: 'demo-unet' of 'demo-unet.seed-1.fold-2'."""
    return name.partition(".")[0]


def repetitions(experiment: Experiment, tiles: int) -> tuple[Experiment, ...]:
    """The recipe of each repetition, fold by fold; the recipe itself where it has none.

    Args:
        experiment: the recipe.
        tiles: how many tiles of the dataset lie beside its test side.
    """
    protocol = experiment.protocol
    if not protocol.repeats:
        return (experiment,)
    folds = range(1, protocol.folds.number(tiles) + 1) if protocol.folds else (None,)
    return tuple(_repetition(experiment, seed, fold) for fold in folds for seed in protocol.seeds or (None,))


def _repetition(experiment: Experiment, seed: int | None, fold: int | None) -> Experiment:
    said = {"seed": seed, "fold": fold}
    suffix = "".join(f".{key}-{value}" for key, value in said.items() if value is not None)
    protocol = Protocol(folds=experiment.protocol.folds, fold=fold) if fold else Protocol()
    return experiment.model_copy(
        update={
            "name": experiment.name + suffix,
            "seed": experiment.seed if seed is None else seed,
            "protocol": protocol,
            "model": _repeated(experiment.model, suffix),
        }
    )


def _repeated(model: Model, suffix: str) -> Model:
    """An ensemble's repetition answers with the same repetition of each member."""
    if not isinstance(model, Ensemble):
        return model
    return model.model_copy(update={"members": tuple(member + suffix for member in model.members)})


def repetition(experiment: Experiment, name: str) -> Experiment | None:
    """The repetition that `name` says, 'demo-unet.seed-1.fold-2'; None where the recipe has none of that name."""
    said = _REPETITION.fullmatch(name)
    if said is None or said["base"] != experiment.name:
        return None
    seed, fold = (int(said[key]) if said[key] else None for key in ("seed", "fold"))
    protocol = experiment.protocol
    seeds: tuple[int | None, ...] = protocol.seeds or (None,)
    if seed not in seeds or (fold is None) != (protocol.folds is None):
        return None
    if fold is not None and protocol.folds and not 1 <= fold <= protocol.folds.number(fold):
        return None
    found = _repetition(experiment, seed, fold)
    return found if found.name == name else None
