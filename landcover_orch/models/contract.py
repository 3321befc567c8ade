"""What a trained model was made for: prediction compares it with a raster and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from landcover_orch.config.experiments import Fold, Model
from landcover_orch.errors import ContractError, Problem
from landcover_orch.legend import Legend

CONTRACT = "contract.json"
WEIGHTS = "model.safetensors"
RESOLUTION_TOLERANCE = 0.1


class Member(BaseModel):
    """A trained model that an ensemble is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str = Field(description="name of its recipe")
    fingerprint: str = Field(description="of its product")
    model: Model
    mean: tuple[float, ...] = Field(default=(), description="a band, of its own train pixels; empty: the ensemble's")
    std: tuple[float, ...] = Field(default=(), description="a band, of its own train pixels; empty: the ensemble's")
    fold: Fold | None = Field(default=None, description="which fold of the dataset it was trained on, where it was one")


class Contract(BaseModel):
    """The inputs a model takes, the classes it gives, and the data it has seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Model
    bands: tuple[str, ...] = Field(description="band names in order")
    dtype: str = Field(description="dtype of the pixels it takes, not normalised")
    resolution: float = Field(description="ground sample distance in units of the CRS")
    mean: tuple[float, ...] = Field(description="a band, of the train pixels")
    std: tuple[float, ...] = Field(description="a band, of the train pixels")
    legend: Legend
    patch_size: int = Field(description="side of the training patches in pixels")
    dataset: str = Field(description="name of the dataset it was trained on")
    data_digest: str = Field(description="digest of that dataset's manifest, or of the fold's")
    fold: Fold | None = Field(default=None, description="which fold of the dataset it was trained on, where it was one")
    experiment: str = Field(description="name of the recipe")
    members: tuple[Member, ...] = Field(default=(), description="of an ensemble: the models in it, in order")

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the networks in it."""
        return tuple(dict.fromkeys(one.model.name for one in self.members)) or (self.model.name,)

    @property
    def informed(self) -> tuple[str, ...]:
        """Members trained on other ground than the ensemble chooses by: its validation score flatters them.

        They are of folds, which may learn from the dataset's validation side, though never from its test side.
        """
        return tuple(one.experiment for one in self.members if one.fold != self.fold)

    def require(self, bands: tuple[str, ...], dtype: str, resolution: float, where: str) -> None:
        """Raises ContractError with every way in which a raster does not fit."""
        wrong = [
            Problem(where, f"{what} {found}", f"{expected}, as in training", fix)
            for what, found, expected, fits, fix in (
                ("bands", bands, self.bands, bands == self.bands, "name and order the bands as in training"),
                ("dtype", dtype, self.dtype, dtype == self.dtype, "store the raster in the training dtype"),
                (
                    "resolution",
                    round(resolution, 4),
                    round(self.resolution, 4),
                    self._fits(resolution),
                    "resample the raster",
                ),
            )
            if not fits
        ]
        if wrong:
            raise ContractError(*wrong)

    def _fits(self, resolution: float) -> bool:
        return abs(resolution - self.resolution) <= RESOLUTION_TOLERANCE * self.resolution

    def save(self, folder: Path) -> None:
        """Writes contract.json into a folder."""
        (folder / CONTRACT).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_contract(folder: Path) -> Contract:
    """The contract in a folder."""
    return Contract.model_validate_json((folder / CONTRACT).read_text(encoding="utf-8"))
