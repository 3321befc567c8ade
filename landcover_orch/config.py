"""Frozen models of configs/*.yaml, and where those files and all outputs lie."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from landcover_orch.errors import ConfigError, Problem
from landcover_orch.experiment import KEY, Experiment, matrix, models, protocol
from landcover_orch.experiment import search as searching
from landcover_orch.experiment.search import Search
from landcover_orch.experiment.settings import Settings
from landcover_orch.grid import Edge
from landcover_orch.launcher import LOCAL, Launcher
from landcover_orch.legend import IGNORE_NAME, Legend
from landcover_orch.yamlfile import Model, did_you_mean, parse, read_yaml

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class TileOverride(Settings):
    """What one tile has different from its dataset's patterns."""

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


Bands = tuple[Annotated[int, Field(ge=1)], ...]
"""Numbers of a file's bands, from 1 as GDAL counts them."""


class Further(Settings):
    """Bands of a tile that lie in a file of their own, pixel by pixel on the orthophoto's grid: a surface model."""

    image: str = Field(description="pattern below `root`, as that of the orthophotos")
    bands: tuple[str, ...] = Field(min_length=1, description="their names, as they stand in the dataset's `bands`")
    select: Bands = Field(default=(), description="numbers of the file's bands to read, in order; empty: all")
    nodata: float | Literal["file", "none"] = Field(default="file", description="as the dataset's, for these files")


class Tiles(Settings):
    """Which files are the tiles: patterns with {tile} in them, corrected tile by tile.

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
    year: int | None = Field(default=None, description="year of the orthophotos")
    label_year: int | None = Field(default=None, description="year of the labels")
    overrides: dict[str, TileOverride] = Field(default_factory=dict, description="tile -> what it has different")


class Values(Settings):
    """The table that lists the covers of polygons, a row each: SIOSE's T_VALORES."""

    layer: str = Field(default="T_VALORES", description="the table, in the file of the polygons")
    polygon: str = Field(default="ID_POLYGON", description="column that names the polygon, as `labels.id` does")
    cover: str = Field(default="ID_COBERTURA", description="column of the cover: its number or label")
    percent: str = Field(default="SUPERF_POR", description="column of the cover's percentage of the polygon")
    ancestors: str = Field(
        default="ID_ANCESTROS",
        description="column of the composites that hold the cover, outermost first; the composites' own rows do not "
        "count, their members do",
    )


class Component(Settings):
    """One of the rasters that together tell each pixel's covers."""

    code: str = Field(description="pattern below `root` of the raster of covers, GeoTIFF or ENVI")
    percent: str | None = Field(default=None, description="pattern of the raster of its percentages; empty: 100")
    table: str | None = Field(
        default=None, description="pattern of the text file of lines 'cover,value'; empty: values are the covers"
    )


class Labels(Settings):
    """How labels are read."""

    kind: Literal["vector", "raster", "rgb", "components"] = Field(
        default="vector",
        description="how labels arrive: polygons, one band of codes, colour-coded RGB, or rasters of covers and their "
        "percentages (`components`; `tiles.label` is then the raster that says where they lie)",
    )
    layer: str | None = Field(
        default=None,
        description="layer of a vector file, or a pattern as SAR_*_T_COMBINADA that one layer matches; empty: its only",
    )
    attribute: str | None = Field(default=None, description="column of a vector file that holds the source code")
    content: Literal["code", "siose", "largest", "values"] = Field(
        default="code",
        description="what the column tells: a code of the legend; a SIOSE label; the largest cover alone, by number "
        "or label; or nothing, for the covers stand in the table `values`",
    )
    id: str | None = Field(
        default=None, description="column that names a polygon, in messages and products; empty: the feature's number"
    )
    values: Values = Field(default=Values(), description="the table of covers, where `content` is values")
    components: tuple[Component, ...] = Field(
        default=(), description="the rasters of kind `components`, from the first component to the last"
    )
    unlabelled: str = Field(
        default=IGNORE_NAME, description="what a pixel without a label means: 'ignore', or a class name"
    )
    area_tolerance: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="fraction by which a code's area in polygons and raster may differ",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Labels:
        wrong = {
            f"content {self.content!r} is for polygons (kind vector)": self.composite and self.kind != "vector",
            "content 'values' needs `id`, the column that the table names polygons by": self.content == "values"
            and not self.id,
            "kind 'components' needs `components`": self.kind == "components" and not self.components,
            "`components` are for kind 'components'": self.kind != "components" and bool(self.components),
        }
        if any(wrong.values()):
            raise ValueError("; ".join(text for text, met in wrong.items() if met))
        return self

    @property
    def composite(self) -> bool:
        """Whether polygons may hold several covers, for the legend's `composites` to decide on."""
        return self.content != "code"


class Share(Settings):
    """One side of a split: whole tiles, by name or drawn, or a fraction of the spatial blocks of the other tiles."""

    tiles: tuple[str, ...] = Field(default=(), description="tiles that belong to this side whole")
    listed: str | None = Field(
        default=None, description="CSV file below `root` whose first column, under a header, names further such tiles"
    )
    drawn: float = Field(
        default=0.0, ge=0, lt=1, description="fraction of the tiles that no side names, drawn whole by their names"
    )
    blocks: float = Field(default=0.0, ge=0, lt=1, description="fraction of the spatial blocks of all other tiles")


class BlockFold(Settings):
    """One of the folds that spatial blocks are dealt out to: its blocks are test, the next fold's validation."""

    index: int = Field(ge=1, description="which fold, counted from 1")
    count: int = Field(ge=3, description="how many folds there are")

    @model_validator(mode="after")
    def _exists(self) -> BlockFold:
        if self.index > self.count:
            raise ValueError(f"fold {self.index} of {self.count}")
        return self


SIDES = ("validation", "test", "excluded")


class Splits(Settings):
    """Who learns from what: everything that is not validation, test or excluded is train."""

    validation: Share = Field(default=Share(), description="chooses the checkpoint")
    test: Share = Field(default=Share(), description="scored in the report; never seen by training")
    excluded: Share = Field(
        default=Share(),
        description="neither trained on nor scored; may be mapped. Its blocks are drawn first, and count in every tile",
    )
    fold: BlockFold | None = Field(
        default=None, description="deals out the blocks of all tiles that are on no side, instead of drawing shares"
    )
    chosen_on: Literal["validation", "test"] = Field(
        default="validation",
        description="the side whose patches choose the checkpoint; test where a study chose and scored on the same "
        "tiles, which flatters its scores",
    )
    block: float = Field(default=128.0, gt=0, description="side of a spatial block in units of the CRS (metres)")
    seed: int = Field(default=0, description="draws the blocks and tiles")
    on_overlap: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="train windows that meet validation or test ground: refuse the dataset, or drop and count them",
    )

    @model_validator(mode="after")
    def _disjoint(self) -> Splits:
        sides: dict[str, Share] = {side: getattr(self, side) for side in SIDES}
        for (one, left), (other, right) in combinations(sides.items(), 2):
            if both := set(left.tiles) & set(right.tiles):
                raise ValueError(f"tiles {sorted(both)} are both {one} and {other}")
        for part in ("blocks", "drawn"):
            if sum(getattr(share, part) for share in sides.values()) >= 1:
                raise ValueError(f"validation.{part} + test.{part} + excluded.{part} leave nothing to train on")
        if self.fold and (self.validation.blocks or self.test.blocks):
            raise ValueError("a fold deals out all blocks: validation.blocks and test.blocks must be 0")
        return self


class Patches(Settings):
    """How training arrays are cut."""

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


class Proportions(Settings):
    """What class proportions are told of: patches, tiles, or polygons."""

    unit: Literal["tile", "patch", "polygon"] = Field(
        default="tile", description="a whole tile, a window of the patch grid, or a polygon of `polygons`"
    )
    without: tuple[str, ...] = Field(
        default=(), description="classes that are not predicted: their pixels do not count, and their share is 0"
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
    """Where a check refuses an input."""

    max_pixels: int = Field(default=4_000_000_000, gt=0, description="largest tile, in pixels")
    max_year_gap: int = Field(default=3, ge=0, description="most years between orthophoto and labels")
    weight_clip: float = Field(default=10.0, ge=1, description="largest class weight, as a multiple of the smallest")


class Automation(Settings):
    """What runs by itself once switched on in Dagster."""

    retrain: str = Field(default="0 3 * * 0", description="cron time of the retraining schedule")
    timezone: str = Field(default="UTC", description="time zone of the schedule")


class Dataset(Settings):
    """Tiles + legend + patch settings + the experiments that run on them: one file of configs/datasets."""

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
        "none (EPSG:n); or nowhere (none): tiles then share no ground, whatever their files say",
    )
    resolution: float | None = Field(
        default=None, gt=0, description="side of a pixel in metres, where `crs` is none and the files cannot say it"
    )
    nodata: float | Literal["file", "none"] = Field(
        default="file", description="nodata value: what the file says, none (its tag is wrong), or a number"
    )
    legend: str = Field(description="name of a file in configs/legends")
    labels: Labels = Field(default=Labels(), description="how labels are read")
    splits: Splits = Field(default=Splits(), description="train, validation, test")
    patches: Patches = Field(default=Patches(), description="how training arrays are cut")
    proportions: Proportions = Field(
        default=Proportions(), description="what the class proportions of the champion's maps are told of"
    )
    experiments: tuple[str, ...] = Field(
        min_length=1,
        description="names of files in configs/experiments; one with a `matrix` stands for all its recipes",
    )
    floors: tuple[str, ...] = Field(
        default=("k-means", "random-forest"),
        description="experiments without deep learning that every other one should beat",
    )
    minor: tuple[str, ...] = Field(
        default=(), description="classes that the report also leaves out of its means, as too rare to be learnt"
    )
    searches: tuple[str, ...] = Field(default=(), description="names of files in configs/searches, run when asked to")
    limits: Limits = Field(default=Limits(), description="where a check refuses an input")
    automation: Automation = Field(default=Automation(), description="what runs by itself")
    cluster: str | None = Field(default=None, description="address of a Dask scheduler; empty: threads of this machine")

    @model_validator(mode="after")
    def _consistent(self) -> Dataset:
        added = tuple(band for file in self.tiles.further for band in file.bands)
        own = len(self.bands) - len(added)
        wrong = {
            f"`tiles.further` holds {list(added)}, which must be the last of `bands`": own < 1
            or self.bands[own:] != added,
            f"`tiles.select` takes {len(self.tiles.select)} bands, `bands` names {own}": bool(self.tiles.select)
            and len(self.tiles.select) != own,
            "`crs: none` needs `resolution`, the side of a pixel in metres": self.crs == "none"
            and self.resolution is None,
            "`resolution` is for `crs: none`: else the files say it": self.crs != "none"
            and self.resolution is not None,
            "polygons need a place: `crs: none` is for labels that arrive as rasters": self.crs == "none"
            and self.labels.kind == "vector",
        }
        if any(wrong.values()):
            raise ValueError("; ".join(text for text, met in wrong.items() if met))
        return self

    @property
    def imagery(self) -> dict[str, object]:
        """Everything but the files themselves that the pixels of a tile, and their place, depend on."""
        files = {"select": self.tiles.select, "further": self.tiles.further}
        place = {"crs": self.crs, "resolution": self.resolution}
        return {"bands": self.bands, "dtype": self.dtype, "nodata": self.nodata, **files, **place}

    @property
    def recipes(self) -> tuple[str, ...]:
        """All recipes that run: those of the files listed, then the floors'."""
        return tuple(dict.fromkeys(name for file in (*self.experiments, *self.floors) for name in recipe_names(file)))

    @property
    def folder(self) -> Path:
        """`root` with its variables replaced, absolute.

        Raises:
            ConfigError: a variable without a default is not set.
        """
        return Path(expand(self.root, f"configs/datasets/{self.name}.yaml: root")).expanduser().resolve()


def home() -> Path:
    """The folder everything is written below: LANDCOVER_HOME, or `var` in the working folder."""
    return Path(os.environ.get("LANDCOVER_HOME", "var")).expanduser().resolve()


def configs() -> Path:
    """The folder of configurations: LANDCOVER_CONFIGS, or `configs` beside the library, or in the working folder."""
    if "LANDCOVER_CONFIGS" in os.environ:
        return Path(os.environ["LANDCOVER_CONFIGS"]).expanduser().resolve()
    beside = Path(__file__).resolve().parent.parent / "configs"
    return beside if beside.is_dir() else Path("configs").resolve()


def expand(text: str, where: str) -> str:
    """`text` with ${VARIABLE} and ${VARIABLE:-default} replaced; LANDCOVER_HOME is always known."""
    missing = [
        m[1] for m in _VARIABLE.finditer(text) if m[2] is None and m[1] not in os.environ and m[1] != "LANDCOVER_HOME"
    ]
    if missing:
        raise ConfigError(
            *(
                Problem(
                    where,
                    f"${{{name}}}, which is not set",
                    "an environment variable",
                    f"export {name}=/path/of/the/data",
                )
                for name in missing
            )
        )
    known = {"LANDCOVER_HOME": str(home()), **os.environ}
    return _VARIABLE.sub(lambda m: known.get(m[1], m[2] or ""), text)


def inside(root: Path, relative: str, where: str) -> Path:
    """`root/relative`, resolved.

    Raises:
        ConfigError: the path leaves `root` (by '..', an absolute path, or a link).
    """
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ConfigError(
            Problem(
                where,
                f"path {relative!r} leaves {root}",
                "a path inside that folder",
                "move the file there, or widen the folder",
            )
        )
    return path


def digest(value: object) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a value's canonical JSON; models count by their fields."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: the same value always gives the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no canonical form")


def dataset_names() -> list[str]:
    """Names of the datasets that configs/datasets describes, sorted."""
    return sorted(path.stem for path in (configs() / "datasets").glob("*.yaml"))


def load_dataset(name: str) -> Dataset:
    """The dataset of configs/datasets/<name>.yaml; tiles that its splits list in CSV files are among their `tiles`.

    Where such a file is not there, as on a machine without the data, its key stays, for the checks to find.
    """
    dataset = _load("datasets", name, Dataset)
    sides = {side: _listed(dataset, side) for side in SIDES}
    listed = {side: share for side, share in sides.items() if share is not None}
    if not listed:
        return dataset
    splits = parse({**dict(dataset.splits), **listed}, Splits, f"configs/datasets/{name}.yaml: splits")
    return dataset.model_copy(update={"splits": splits})


def _listed(dataset: Dataset, side: str) -> Share | None:
    """A side of the split with the tiles of its CSV file by name; None where there is no such file."""
    share: Share = getattr(dataset.splits, side)
    if share.listed is None or not (root := _root(dataset)):
        return None
    path = inside(root, share.listed, f"configs/datasets/{dataset.name}.yaml: splits.{side}.listed")
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        names = [row[0].strip() for row in csv.reader(file) if row][1:]
    return share.model_copy(update={"tiles": tuple(dict.fromkeys((*share.tiles, *names))), "listed": None})


def _root(dataset: Dataset) -> Path | None:
    """The dataset's folder, None where it stands in a variable that is not set."""
    try:
        return dataset.folder
    except ConfigError:
        return None


def load_legend(name: str) -> Legend:
    """The legend of configs/legends/<name>.yaml."""
    return _load("legends", name, Legend)


def load_launcher(name: str) -> Launcher:
    """The launcher of configs/launchers/<name>.yaml, or `local`; LANDCOVER_LAUNCHER stands for whatever is named."""
    name = os.environ.get("LANDCOVER_LAUNCHER") or name
    return LOCAL if name == LOCAL.name else _load("launchers", name, Launcher)


def load_experiment(name: str) -> Experiment:
    """The experiment of configs/experiments/<name>.yaml, of a combination of its matrix, or of a repetition.

    A combination is called <file>__<choice>-<choice>, a repetition of either <name>.seed-1.fold-2.

    Raises:
        ConfigError: there is no such file, it is wrong, or has no such combination or repetition.
    """
    base = protocol.base_of(name)
    recipes, where = _recipes(base)
    if base not in recipes:
        raise ConfigError(_no_recipe(base, list(recipes), where))
    found = parse(recipes[base], Experiment, where if len(recipes) == 1 else f"{where} ({base})")
    if found.name == name:
        return found
    repeated = protocol.repetition(found, name)
    if repeated is None:
        expected = found.protocol.words() or "no repetitions"
        where = f"{where}: protocol"
        raise ConfigError(Problem(where, f"no repetition {name}", expected, "add it to `protocol`, or name another"))
    return repeated


def load_search(name: str) -> Search:
    """The search of configs/searches/<name>.yaml.

    Raises:
        ConfigError: there is no such file, or it or its recipe is wrong, or values of its space give no recipe.
    """
    found = _load("searches", name, Search)
    problems = searching.problems(found, load_experiment(found.experiment))
    if problems:
        raise ConfigError(*problems)
    return found


def _recipes(name: str) -> tuple[dict[str, dict[str, object]], str]:
    """The plain recipes of the file that a name stands in, and the file as messages call it."""
    file = name if (configs() / "experiments" / f"{name}.yaml").is_file() else matrix.file_of(name)
    content, where = _read("experiments", file)
    if not isinstance(content, dict):
        raise ConfigError(Problem(where, repr(content)[:80], "keys and values", "write a recipe"))
    return matrix.expand(content, file, where), where


def _no_recipe(name: str, known: list[str], where: str) -> Problem:
    shown = f"one of {known[:3]}" + (f" and {len(known) - 3} more" if len(known) > 3 else "")
    found = f"a matrix of {len(known)} recipes" if name == matrix.file_of(name) else f"no recipe {name}"
    return Problem(where, found, shown, did_you_mean(name, known) or "name one of them")


def recipe_names(name: str) -> tuple[str, ...]:
    """The recipes that a name in `Dataset.experiments` stands for: a file's, or the one of that name.

    A file that is missing or wrong stands for itself: what is wrong with it is said where it is loaded.
    """
    try:
        recipes, _ = _recipes(name)
    except ConfigError:
        return (name,)
    return tuple(recipes) if name == matrix.file_of(name) else (name,)


def load_recipes(name: str) -> dict[str, Experiment]:
    """The recipes by name that a name in `Dataset.experiments` stands for.

    Raises:
        ConfigError: every problem of every combination; one that several have is said once.
    """
    if name != matrix.file_of(name):
        return {name: load_experiment(name)}
    recipes, where = _recipes(name)
    found: dict[str, Experiment] = {}
    wrong: dict[Problem, list[str]] = {}
    for recipe, content in recipes.items():
        try:
            found[recipe] = parse(content, Experiment, where)
        except ConfigError as error:
            for problem in error.problems:
                wrong.setdefault(problem, []).append(recipe)
    if wrong:
        raise ConfigError(*(_of_some(problem, names, len(recipes)) for problem, names in wrong.items()))
    return found


def _of_some(problem: Problem, names: list[str], all_recipes: int) -> Problem:
    """A problem with the recipes that have it, where a file's others have not."""
    return problem if len(names) == all_recipes else replace(problem, where=f"{problem.where} ({', '.join(names)})")


def recipe_problems(dataset: Dataset) -> list[Problem]:
    """What is wrong with a dataset's experiments and searches: files missing, parts that do not go together."""
    found: list[Problem] = []
    for look, names in ((_recipes_of, (*dataset.experiments, *dataset.floors)), (load_search, dataset.searches)):
        for name in names:
            try:
                look(name)
            except ConfigError as error:
                found.extend(error.problems)
    return found


def _recipes_of(name: str) -> None:
    for recipe in load_recipes(name):
        with_members(recipe)


def with_members(name: str) -> tuple[Experiment, ...]:
    """The experiment of configs/experiments/<name>.yaml; of an ensemble also those of its members."""
    experiment = load_experiment(name)
    members = experiment.model.members if isinstance(experiment.model, models.Ensemble) else ()
    return experiment, *(load_experiment(member) for member in members if "/" not in member)


def _load(room: str, name: str, model: type[Model]) -> Model:
    content, where = _read(room, name)
    found = parse(content, model, where)
    if getattr(found, "name", name) != name:
        expected = f"{name!r}, as the file is called"
        raise ConfigError(Problem(f"{where}: name", repr(getattr(found, "name", None)), expected, "rename one of them"))
    return found


def _read(room: str, name: str) -> tuple[object, str]:
    """What configs/<room>/<name>.yaml holds, and the file as messages call it."""
    folder = configs() / room
    path = folder / f"{name}.yaml"
    if not re.match(KEY, name) or not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        fix = did_you_mean(name, known) or "write the file"
        raise ConfigError(Problem(f"configs/{room}", f"no file {name}.yaml", f"one of {known}", fix))
    return read_yaml(path), f"configs/{room}/{name}.yaml"
