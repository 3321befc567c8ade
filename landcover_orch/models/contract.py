"""Model contract: the inputs, classes and data of a trained model; prediction refuses rasters that do not fit."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from landcover_orch.config.experiments import Fold, Model
from landcover_orch.errors import ContractError, Problem
from landcover_orch.grid import RESOLUTION_TOLERANCE
from landcover_orch.legend import Legend
from landcover_orch.store.canonical import digest
from landcover_orch.store.fingerprint import file_hash

CONTRACT = "contract.json"
WEIGHTS = "model.safetensors"


class Member(BaseModel):
    """Ensemble member: a trained model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str = Field(description="name of its experiment")
    fingerprint: str = Field(description="of its product")
    model: Model
    mean: tuple[float, ...] = Field(default=(), description="a band, of its own train pixels; empty: the ensemble's")
    std: tuple[float, ...] = Field(default=(), description="a band, of its own train pixels; empty: the ensemble's")
    fold: Fold | None = Field(default=None, description="which fold of the dataset it was trained on, where it was one")


class Contract(BaseModel):
    """Model contract: the inputs a model takes, the classes it gives, and the data it was trained on."""

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
    experiment: str = Field(description="name of the experiment")
    members: tuple[Member, ...] = Field(default=(), description="of an ensemble: the models in it, in order")
    checksum: str | None = Field(default=None, description="of the weights and of all else that stands here")

    def with_checksum(self, weights: Path) -> Contract:
        """The contract with the checksum of a file of weights and of itself."""
        content = self.model_dump(mode="json", exclude={"checksum"})
        return self.model_copy(update={"checksum": digest([file_hash(weights), content])})

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the networks in it."""
        return tuple(dict.fromkeys(member.model.name for member in self.members)) or (self.model.name,)

    @property
    def informed(self) -> tuple[str, ...]:
        """Members that may know the ensemble's validation split: its validation score flatters them.

        They are of folds, which may train on the dataset's validation split, though never on its test split.
        """
        return tuple(member.experiment for member in self.members if member.fold != self.fold)

    def require(self, bands: tuple[str, ...], dtype: str, resolution: float, where: str) -> None:
        """Raises ContractError with every way in which a raster does not fit."""
        problems = [
            Problem(where, f"{what} {actual}", f"{expected}, as in training", fix)
            for what, actual, expected, fits, fix in (
                ("bands", bands, self.bands, bands == self.bands, "name and order the bands as in training"),
                ("dtype", dtype, self.dtype, dtype == self.dtype, "store the raster in the training dtype"),
                (
                    "resolution",
                    round(resolution, 4),
                    round(self.resolution, 4),
                    abs(resolution - self.resolution) <= RESOLUTION_TOLERANCE * self.resolution,
                    "resample the raster",
                ),
            )
            if not fits
        ]
        if problems:
            raise ContractError(*problems)

    def save(self, folder: Path) -> None:
        """Writes contract.json into a folder."""
        (folder / CONTRACT).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_contract(folder: Path) -> Contract:
    """The contract in a folder.

    Raises:
        ContractError: it is missing, damaged, or of another version.
    """
    path = folder / CONTRACT
    try:
        return Contract.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        fix = "train the experiment again (`landcover materialise`), or restore the whole folder"
        raise ContractError(Problem(str(path), f"cannot be read ({text})", "a model's contract", fix)) from error
