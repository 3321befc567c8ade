"""Dataset manifest as data: which tiles, their versions, their split, their numbers, under one digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.legend import Legend
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import current_manifest

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

FILE = "dataset.json"
SPLITS = ("train", "validation", "test")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TileEntry(_Frozen):
    """One tile: what it was made of and where its products lie."""

    name: str
    image: str = Field(description="path of the orthophoto")
    further: tuple[str, ...] = Field(default=(), description="paths of the files of the bands that follow its own")
    stored_dtype: str | None = Field(description="dtype of the file where it differs from the dataset's")
    year: int | None
    label_year: int | None
    image_fingerprint: str
    label_fingerprint: str | None = Field(description="None where the tile has no labels")
    ground_truth: str = Field(description="folder of the ground-truth product, relative to LANDCOVER_HOME")
    ground_truth_fingerprint: str
    patches: str = Field(description="folder of the patch product, relative to LANDCOVER_HOME")
    patches_fingerprint: str
    shape: tuple[int, int] = Field(description="height, width in pixels")
    transform: tuple[float, float, float, float, float, float] = Field(description="affine a, b, c, d, e, f")
    crs: str | None
    counts: dict[str, int] = Field(description="patches of train, validation and test, those excluded and dropped")
    patch_roles: str = Field(
        default="", description="role of each patch in store order, as run lengths; see `splits.decode`"
    )
    class_pixels: dict[str, tuple[int, ...]] = Field(
        description="split -> labelled pixels of each class, each counted once"
    )
    excluded_pixels: int = Field(default=0, description="pixels that are in no split, counted nowhere else")

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of its bands, the orthophoto first."""
        return tuple(map(Path, (self.image, *self.further)))

    @property
    def year_gap(self) -> int | None:
        """Years between orthophoto and labels; None where one of them is not stated, or there are no labels."""
        dated = self.label_fingerprint and self.year is not None and self.label_year is not None
        return abs(self.year - self.label_year) if dated else None  # type: ignore[operator]

    @property
    def pixels(self) -> int:
        """How many pixels are in some split: all but the excluded ones, as all of a tile without labels are."""
        return self.shape[0] * self.shape[1] - self.excluded_pixels

    @property
    def resolution(self) -> float:
        """Ground sample distance in units of the CRS: the square root of a pixel's area."""
        a, b, _, d, e, _ = self.transform
        return float(abs(a * e - b * d) ** 0.5)

    @property
    def grid(self) -> GeoBox:
        """Where the tile's pixels lie."""
        from affine import Affine
        from odc.geo.geobox import GeoBox

        return GeoBox(self.shape, Affine(*self.transform), self.crs)


class BandStatistics(_Frozen):
    """One band over the valid pixels of the train split."""

    name: str
    minimum: float
    maximum: float
    mean: float
    std: float
    percentiles: dict[str, float] = Field(description="2, 25, 50, 75, 98 -> value")


@dataclass(frozen=True)
class TileYears:
    """Year of a tile's image and of its labels, the gap between them, and the most that is allowed."""

    tile: str
    image: int | None
    labels: int | None
    gap: int | None
    limit: int | None


class DatasetManifest(_Frozen):
    """Everything training, prediction and evaluation must know of a dataset."""

    dataset: Dataset
    legend: Legend
    tiles: tuple[TileEntry, ...]
    bands: tuple[BandStatistics, ...]
    class_weights: tuple[float, ...] = Field(
        description="inverse frequency in train pixels, clipped; mean 1 over classes that occur"
    )

    def years(self) -> list[TileYears]:
        """The years of each tile."""
        limit = self.dataset.limits.max_year_gap
        return [TileYears(t.name, t.year, t.label_year, t.year_gap, limit) for t in self.tiles]

    @property
    def resolution(self) -> float:
        """Ground sample distance of the tiles that are trained on, in units of the CRS: the median."""
        trained = [tile for tile in self.tiles if any(tile.class_pixels["train"])] or self.tiles
        return median(tile.resolution for tile in trained)

    @property
    def digest(self) -> str:
        """One fingerprint of all that training or scoring reads; tiles without labels are none of it."""
        tiles = [
            (t.name, t.image_fingerprint, t.ground_truth_fingerprint, t.patches_fingerprint)
            for t in self.tiles
            if t.label_fingerprint is not None
        ]
        return digest(
            {"tiles": tiles, "splits": self.dataset.splits, "legend": self.legend, "bands": self.dataset.bands}
        )

    @property
    def test_digest(self) -> str:
        """One fingerprint of what models are compared on: test pixels and their labels; without any, all labels."""
        tested = [tile for tile in self.tiles if any(tile.class_pixels["test"])] or self.tiles
        labels = [(tile.name, tile.ground_truth_fingerprint) for tile in tested]
        return digest({"tiles": labels, "splits": self.dataset.splits, "classes": self.legend.names})


def load(folder: Path) -> DatasetManifest:
    """The manifest in a published folder.

    Raises:
        IncompleteError: an earlier version wrote it, with other keys.
    """
    try:
        return DatasetManifest.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where, what = str(folder / FILE), f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        fix = "materialise the asset `dataset_manifest` again"
        raise IncompleteError(Problem(where, f"written by another version ({what})", "a manifest", fix)) from error


def load_current(home: Path, dataset: str) -> DatasetManifest:
    """The manifest of a dataset that was last published.

    Raises:
        IncompleteError: there is none, or it is damaged.
    """
    return load(current_manifest(home, dataset).path)
