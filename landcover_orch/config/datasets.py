"""Dataset: tiles, legend, splits, patch settings, and what runs on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from landcover_orch.config.experiments import KEY
from landcover_orch.config.labels import Labels
from landcover_orch.config.paths import expand, file_label
from landcover_orch.config.retraining import Promotion, Retraining
from landcover_orch.config.splits import Splits
from landcover_orch.errors import ConfigError, Problem, pluralise
from landcover_orch.grid import Edge
from landcover_orch.settings import Settings


class TileOverride(Settings):
    """Tile override: what a tile has different from its dataset's patterns."""

    image: str | None = Field(default=None, description="path of the orthophoto below `root`")
    label: str | None = Field(default=None, description="path of the labels below `root`")
    year: int | None = Field(default=None, description="year of the orthophoto")
    label_year: int | None = Field(default=None, description="year of the labels")
    dtype: str | None = Field(
        default=None, description="dtype this file is stored in, where every value fits the dataset's"
    )
    layer: str | None = Field(default=None, description="layer of this tile's label file")
    further: tuple[str, ...] = Field(
        default=(), description="paths of the files of further bands below `root`, all of them in order"
    )
    shift: tuple[float, float] = Field(
        default=(0.0, 0.0),
        description="pixels (right, down) by which the labels are translated before they are rasterised, as the checks "
        "`shift_within_limit` and `common_shift` advise; integers where labels arrive as rasters",
    )


Bands = tuple[Annotated[int, Field(ge=1)], ...]
"""Numbers of a file's bands, from 1 as GDAL counts them."""


def _number_or_word(value: object) -> object:
    try:
        return value if value in ("file", "none") else float(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither `file`, `none` nor a number") from None


Nodata = Annotated[float | Literal["file", "none"], BeforeValidator(_number_or_word)]
"""Nodata value: what the file says, none, or a number."""


class Further(Settings):
    """Further bands of a tile in a separate file, pixel by pixel on the orthophoto's grid: a surface model."""

    image: str = Field(description="pattern below `root`, as that of the orthophotos")
    bands: tuple[str, ...] = Field(min_length=1, description="their names, as they stand in the dataset's `bands`")
    select: Bands = Field(default=(), description="numbers of the file's bands to read, in order; empty: all")
    nodata: Nodata = Field(default="file", description="as the dataset's, for these files")


class Tiles(Settings):
    """Tile files: patterns with {tile} in them, corrected tile by tile.

    {tile:02} is the name with every number in it filled up with zeros to two digits: 02_10 for tile 2_10.
    """

    image: str = Field(description="pattern below `root`; {tile} stands for the tile's name, as in 'images/{tile}.tif'")
    label: str = Field(description="pattern below `root`; without {tile} all tiles share one label file")
    names: tuple[str, ...] = Field(default=(), description="the tiles; empty: every file that matches `image`")
    select: Bands = Field(
        default=(),
        description="numbers of the orthophoto's bands to read, in order, as [4, 1, 2] of red, green, blue, infrared; "
        "empty: all",
    )
    further: tuple[Further, ...] = Field(default=(), description="bands that lie in further files, after the others")
    unlabelled: str | None = Field(
        default=None,
        description="pattern below `root` of orthophotos without labels: mapped, but never trained on nor scored; the "
        "labelled tiles' own orthophotos do not count",
    )
    go_on_without: tuple[str, ...] = Field(
        default=(),
        description="tiles that the manifest leaves out, as their files cannot be used; every page made without them "
        "says so",
    )
    year: int | None = Field(default=None, description="year of the orthophotos")
    label_year: int | None = Field(default=None, description="year of the labels")
    overrides: dict[str, TileOverride] = Field(default_factory=dict, description="tile -> what it has different")


class Patches(Settings):
    """Patch settings: how training arrays are cut."""

    size: int = Field(default=256, ge=16, le=4096, description="side of a patch in pixels")
    stride: int = Field(default=256, ge=1, description="step between patches in pixels")
    edge: Edge = Field(
        default="shift_back",
        description="what becomes of a tile's remainder: shift_back, pad, drop, or "
        "drop_strict (drop, and a window that ends at the very edge with it)",
    )
    min_labelled: float = Field(
        default=0.0, ge=0, le=1, description="patches with a smaller labelled fraction are left out"
    )
    shard: int = Field(default=128, ge=1, le=1024, description="patches in one shard (one file) of the store")
    compression: Literal["zstd", "none"] = Field(
        default="zstd", description="of the stores; none: an eighth more disk for photographs, read five times as fast"
    )


class Match(Settings):
    """Radiometric matching of all tiles to one, where they were flown in other years or light."""

    match: Literal["moments", "histogram"] = Field(
        description="moments: the mean and standard deviation of each band; histogram: all of its distribution, for "
        "tiles of much the same land cover, as it makes a tile of fields as dark as one of woods. Either makes a tile "
        "under cloud like a clear one as far as its histogram goes: check the pictures"
    )
    reference: str = Field(description="the tile that the others are made like")


class Proportions(Settings):
    """Units of class proportions: patches, tiles, or polygons."""

    unit: Literal["tile", "patch", "polygon"] = Field(
        default="tile", description="a tile, a window of the patch grid, or a polygon of `polygons`"
    )
    exclude_classes: tuple[str, ...] = Field(
        default=(), description="classes that are not predicted: their pixels do not count, and their fraction is 0"
    )
    polygons: str | None = Field(default=None, description="vector file below `root`, for the unit polygon")
    layer: str | None = Field(default=None, description="layer of that file; empty: its only")
    id: str | None = Field(default=None, description="column that names a polygon; those of one name are one unit")

    @model_validator(mode="after")
    def _polygons_are_named(self) -> Proportions:
        if self.unit == "polygon" and not (self.polygons and self.id):
            raise ValueError("unit polygon needs `polygons`, the file, and `id`, the column of their names")
        return self


class Limits(Settings):
    """Limits of the checks: where an input is refused."""

    max_pixels: int = Field(default=4_000_000_000, gt=0, description="largest tile, in pixels")
    max_year_gap: int = Field(default=3, ge=0, description="most years between orthophoto and labels")
    max_shift: float = Field(
        default=3.0, gt=0, description="most pixels by which a tile's labels may be shifted against its image"
    )
    max_drift: float = Field(
        default=1.0,
        gt=0,
        description="most that a band of a tile may lie off the train pixels, in their standard deviations "
        "(Wasserstein distance)",
    )
    weight_clip: float = Field(default=10.0, ge=1, description="largest class weight, as a multiple of the smallest")
    max_flagged: float = Field(
        default=0.1,
        ge=0,
        le=1,
        exclude=True,  # no product depends on it
        description="most of the labelled area that may lie in polygons which label review flags",
    )
    max_changed: float = Field(
        default=0.2,
        ge=0,
        le=1,
        exclude=True,  # no product depends on it
        description="most of the labelled area that may lie in change candidates: where it is more, the map is wrong "
        "rather than the labels outdated",
    )


INTEGERS = {"uint8": (0, 2**8 - 1), "uint16": (0, 2**16 - 1), "int16": (-(2**15), 2**15 - 1)}
"""Integer dtypes of orthophotos, and their lowest and highest values."""

NodataRule = Literal["any", "all"]


def nodata_rule(dtype: str) -> NodataRule:
    """Which bands must be nodata for a pixel to be hidden, by default: any of measurements, all of colours."""
    return "all" if dtype.startswith("uint") else "any"


class Dataset(Settings):
    """Dataset: tiles, legend, patch settings and experiments: one file of configs/datasets."""

    name: str = Field(pattern=KEY, description="the file's name without .yaml; key prefix and group in Dagster")
    description: str = Field(default="", description="one sentence for people")
    root: str = Field(description="folder of the raw files; ${VARIABLE} and ${VARIABLE:-default} are replaced")
    tiles: Tiles = Field(description="which files are the tiles")
    bands: tuple[str, ...] = Field(
        min_length=1, description="band names in the order they are read: the orthophoto's, then those of further files"
    )
    dtype: Literal["uint8", "uint16", "int16", "float32"] = Field(
        default="uint8",
        description="dtype of the orthophotos; with further files, one that holds every value of all of them",
    )
    crs: str = Field(
        default="file",
        pattern=r"^(file|none|EPSG:\d+)$",
        description="where the pixels lie: in the CRS that each file states (file); in this one, where a file states "
        "none (EPSG:n); or nowhere (none): tiles then do not overlap, whatever their files say",
    )
    resolution: float | None = Field(
        default=None, gt=0, description="side of a pixel in metres, where `crs` is none and the files cannot say it"
    )
    nodata: Nodata = Field(
        default="file", description="nodata value: what the file says, none (its tag is wrong), or a number"
    )
    nodata_bands: Literal["any", "all"] | None = Field(
        default=None,
        description="whether nodata in any band hides a pixel, or only in all that have a nodata value, of all its "
        "files; empty: any for measurements (int16, float32), all for colours (uint8, uint16), in which it is a value",
    )
    band_names: Literal["check", "ignore"] = Field(
        default="check",
        exclude=True,  # no product depends on it
        description="whether band names and colours that the files state are held against `bands`; ignore: theirs are "
        "wrong",
    )
    radiometry: Match | None = Field(
        default=None,
        description="tiles made like one of them, band by band, while they are read; empty: as they are",
    )
    legend: str = Field(description="name of a file in configs/legends")
    labels: Labels = Field(default=Labels(), description="how labels are read")
    splits: Splits = Field(default=Splits(), description="train, validation, test")
    patches: Patches = Field(default=Patches(), description="how training arrays are cut")
    proportions: Proportions = Field(
        default=Proportions(), description="units of the class proportions of the champion's maps"
    )
    experiments: tuple[str, ...] = Field(
        min_length=1,
        description="names of files in configs/experiments; one with a `matrix` stands for all its experiments",
    )
    baselines: tuple[str, ...] = Field(
        default=("k-means", "random-forest"),
        description="experiments without deep learning that every other one should beat",
    )
    minor: tuple[str, ...] = Field(
        default=(), description="classes that the report also leaves out of its means, as too rare to be learnt"
    )
    competition: bool = Field(
        default=False,
        exclude=True,  # the leaderboard alone depends on it, and says so
        description="whether the leaderboard has a second ranking, by accuracy and then by training time, as the "
        "tutorial of the Vaihingen study has it",
    )
    searches: tuple[str, ...] = Field(default=(), description="names of files in configs/searches, run when asked to")
    label_review: str | None = Field(
        default=None,
        exclude=True,  # no other product depends on it
        description="that of its experiments, with `protocol.folds`, whose out-of-fold maps are compared with the "
        "polygons of the labels (asset `label_review`); empty: none",
    )
    limits: Limits = Field(default=Limits(), description="where a check refuses an input")
    retraining: Retraining | None = Field(
        default=None,
        exclude=True,  # no product depends on it
        description="what runs by itself, and when models are trained anew; empty: nothing does",
    )
    promotion: Promotion = Field(
        default=Promotion(),
        exclude=True,  # the asset `champion` alone depends on it, and says so
        description="how a challenger becomes the champion",
    )
    cluster: str | None = Field(default=None, description="address of a Dask scheduler; empty: threads of this machine")

    @field_validator("nodata")
    @classmethod
    def _is_a_value(cls, nodata: float | str, info: ValidationInfo) -> float | str:
        """A file of another dtype may state what is no value of the dataset's."""
        dtype, tiles = info.data.get("dtype"), info.data.get("tiles")
        other = tiles is None or any(override.dtype for override in tiles.overrides.values())
        if isinstance(nodata, str) or dtype not in INTEGERS or other:
            return nodata
        low, high = INTEGERS[dtype]
        if not (low <= nodata <= high and nodata.is_integer()):
            raise ValueError(f"{nodata:g} is no value of {dtype}, whole numbers from {low} to {high}")
        return nodata

    @field_validator("retraining", mode="before")
    @classmethod
    def _says_when(cls, value: object) -> object:
        if value is None:
            raise ValueError("an empty block says nothing: give `when`, or delete the key")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Dataset:
        added = tuple(band for file in self.tiles.further for band in file.bands)
        count = len(self.bands) - len(added)
        fractional = [
            name
            for name, count in self.tiles.overrides.items()
            if self.labels.kind != "vector" and any(by % 1 for by in count.shift)
        ]
        conflicts = {
            f"labels that arrive as rasters are translated by whole pixels: `shift` of {fractional}": bool(fractional),
            f"`tiles.further` holds {list(added)}, which must be the last of `bands`": count < 1
            or self.bands[count:] != added,
            f"`tiles.select` takes {pluralise(len(self.tiles.select), 'band')}, `bands` names {count}": bool(
                self.tiles.select
            )
            and len(self.tiles.select) != count,
            "`crs: none` needs `resolution`, the side of a pixel in metres": self.crs == "none"
            and self.resolution is None,
            "`resolution` is for `crs: none`: else the files say it": self.crs != "none"
            and self.resolution is not None,
            "`label_review` is of polygons, labels of kind vector": bool(self.label_review)
            and self.labels.kind != "vector",
            "polygons need a CRS: `crs: none` is for labels that arrive as rasters": self.crs == "none"
            and self.labels.kind == "vector",
        }
        if any(conflicts.values()):
            raise ValueError("; ".join(text for text, met in conflicts.items() if met))
        return self

    @property
    def imagery(self) -> dict[str, object]:
        """Imagery settings: all but the files that the pixels of a tile, and their georeference, depend on."""
        files = {"select": self.tiles.select, "further": self.tiles.further}
        georeference = {"crs": self.crs, "resolution": self.resolution}
        matched = {"radiometry": self.radiometry} if self.radiometry else {}
        nodata = {"nodata": self.nodata, "nodata_rule": self.nodata_rule}
        return {"bands": self.bands, "dtype": self.dtype, **nodata, **files, **georeference, **matched}

    @property
    def nodata_rule(self) -> NodataRule:
        """Which bands must be nodata for a pixel to be hidden."""
        return self.nodata_bands or nodata_rule(self.dtype)

    @property
    def years(self) -> dict[str, object]:
        """Years of images and labels as stated: of all tiles (key ''), and of those that differ."""
        overrides = {name: (override.year, override.label_year) for name, override in self.tiles.overrides.items()}
        return {"": (self.tiles.year, self.tiles.label_year), **overrides}

    @property
    def outdated(self) -> bool:
        """Whether some orthophoto is stated to be newer than the polygons that label it (asset `label_changes`)."""
        image, label = self.tiles.year, self.tiles.label_year
        years = [(override.year or image, override.label_year or label) for override in self.tiles.overrides.values()]
        return self.labels.kind == "vector" and any(a and b and a > b for a, b in [(image, label), *years])

    @property
    def folder(self) -> Path:
        """`root` with its variables replaced, absolute.

        Raises:
            ConfigError: a variable without a default is not set, or the path is relative.
        """
        where = f"{file_label('datasets', self.name)}: root"
        path = Path(expand(self.root, where)).expanduser()
        if not path.is_absolute():
            expected = "an absolute path: another working folder would lead elsewhere"
            fix = "write all of the path, as /data/raw, or a ${VARIABLE} that holds such a path"
            raise ConfigError(Problem(where, f"{self.root!r}, a relative path", expected, fix))
        return path.resolve()
