"""Train, validation and test splits of a dataset, and folds by spatial blocks."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

from pydantic import Field, model_validator

from landcover_orch.settings import Settings

SPLIT_NAMES = ("validation", "test", "excluded")


class SplitSpec(Settings):
    """Specification of a split: tiles, by name or at random, or a fraction of the spatial blocks of the other tiles."""

    tiles: tuple[str, ...] = Field(default=(), description="tiles that belong to this split")
    from_csv: str | None = Field(
        default=None, description="CSV file below `root` whose first column, under a header, names further such tiles"
    )
    random_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the tiles that no split names, drawn by their names"
    )
    blocks: float = Field(default=0.0, ge=0, lt=1, description="fraction of the spatial blocks of all other tiles")


class BlockFold(Settings):
    """Fold of spatial blocks: its blocks are test, the next fold's validation."""

    index: int = Field(ge=1, description="which fold, counted from 1")
    count: int = Field(ge=3, description="how many folds there are")

    @model_validator(mode="after")
    def _exists(self) -> BlockFold:
        if self.index > self.count:
            raise ValueError(f"fold {self.index} of {self.count}")
        return self


class Splits(Settings):
    """Train, validation and test splits: everything that is not validation, test or excluded is train."""

    validation: SplitSpec = Field(default=SplitSpec(), description="chooses the checkpoint")
    test: SplitSpec = Field(default=SplitSpec(), description="scored in the report; never seen by training")
    excluded: SplitSpec = Field(
        default=SplitSpec(),
        description="neither trained on nor scored; may be mapped. Its blocks are drawn first, and count in every tile",
    )
    fold: BlockFold | None = Field(
        default=None,
        description="divides the blocks of all tiles that no split names into folds, instead of drawing fractions",
    )
    checkpoint_split: Literal["validation", "test"] = Field(
        default="validation",
        description="the split whose patches choose the checkpoint; test where a study chose and scored on the same "
        "tiles, which flatters its scores",
    )
    block: float = Field(
        default=128.0, gt=0, description="side of a spatial block in the unit of the CRS: metres, feet or degrees"
    )
    seed: int = Field(default=0, description="draws the blocks and tiles")
    on_overlap: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="train windows that overlap validation or test areas: refuse the dataset, or drop and count them",
    )

    @model_validator(mode="after")
    def _disjoint(self) -> Splits:
        specs: dict[str, SplitSpec] = {name: getattr(self, name) for name in SPLIT_NAMES}
        for (first, left), (second, right) in combinations(specs.items(), 2):
            if both := set(left.tiles) & set(right.tiles):
                raise ValueError(f"tiles {sorted(both)} are both {first} and {second}")
        for part in ("blocks", "random_fraction"):
            if sum(getattr(spec, part) for spec in specs.values()) >= 1:
                raise ValueError(f"validation.{part} + test.{part} + excluded.{part} leave nothing to train on")
        if self.fold and (self.validation.blocks or self.test.blocks):
            raise ValueError("a fold takes all blocks: validation.blocks and test.blocks must be 0")
        return self
