"""Tile catalogue: the files of a dataset by patterns, every problem listed. Light enough for a sensor."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_orch.config import SPLIT_NAMES, Dataset, Labels, TileOverride, file_label, home, inside
from landcover_orch.config.experiments import KEY
from landcover_orch.config.valid_names import transliterate
from landcover_orch.errors import CatalogueError, ConfigError, Problem, RasterError, pluralise
from landcover_orch.store.fingerprint import (
    combined,
    fingerprint,
    metadata_files,
    pixel_files,
    remembered,
    remembered_hash,
)
from landcover_orch.tiles.issues import some
from landcover_orch.tiles.tile import Component, Corrections, Tile

PLACE = "{tile}"
_PLACES = re.compile(r"\{tile(?::0(?P<digits>\d))?\}")


@dataclass(frozen=True)
class Catalogue:
    """The tiles of a dataset that can be used, sorted by name, and what is wrong with each of the others."""

    tiles: tuple[Tile, ...]
    waiting: Mapping[str, tuple[Problem, ...]]

    @property
    def problems(self) -> list[Problem]:
        """All problems of the tiles that wait, each once."""
        return list(dict.fromkeys(problem for problems in self.waiting.values() for problem in problems))


def tiles(dataset: Dataset) -> list[Tile]:
    """The tiles of a dataset, sorted by name, each with an orthophoto and a label file that exist.

    Without `names`, a tile is every file that matches the image pattern (hidden files do not count), and every
    override that states an image. Files that match `unlabelled` are further tiles, without labels.

    Raises:
        CatalogueError: everything that is wrong with names, files, overrides and splits, in one list.
    """
    catalogue, problems = _survey(dataset)
    if catalogue.problems or problems:
        raise CatalogueError(*catalogue.problems, *problems)
    return list(catalogue.tiles)


def examine(dataset: Dataset) -> tuple[Catalogue, list[Problem]]:
    """The tiles that are complete, those that wait, and what is wrong with the whole: for a check, which tells all."""
    return _survey(dataset)


def survey(dataset: Dataset) -> Catalogue:
    """The tiles that can be used, and those that wait for a file or a valid name: none of them hides the others.

    A tile that validation or test names may not be among these.

    Raises:
        CatalogueError: everything that is wrong with the whole: overrides, splits and their tiles.
    """
    catalogue, problems = _survey(dataset)
    held_out = {*dataset.splits.validation.tiles, *dataset.splits.test.tiles} & catalogue.waiting.keys()
    problems += [problem for name in sorted(held_out) for problem in catalogue.waiting[name]]
    if problems:
        raise CatalogueError(*problems)
    return catalogue


def _survey(dataset: Dataset) -> tuple[Catalogue, list[Problem]]:
    """The catalogue, and what is wrong with the whole of it."""
    search = TileSearch(dataset, dataset.folder, [])
    names = sorted(set(search.names()))
    if not names and not search.problems:
        search.no_match("tiles.image", dataset.tiles.image)
    bare = search.unlabelled(names)
    complete, waiting = [], {}
    for name, pattern in (*((name, None) for name in names), *((name, dataset.tiles.unlabelled) for name in bare)):
        of_tile = TileSearch(dataset, search.root, [])
        tile = of_tile.tile(name, pattern)
        of_tile.problems.extend(name_problems([name]))
        if tile is None or of_tile.problems:
            waiting[name] = tuple(of_tile.problems)
        else:
            complete.append(tile)
    for names_that_meet, problem in duplicates(dataset, complete):
        waiting |= {name: (*waiting.get(name, ()), problem) for name in names_that_meet}
    complete = [tile for tile in complete if tile.name not in waiting]
    problems = [*search.problems, *missing_csv_problems(dataset)]
    problems += unknown_tile_problems(dataset, names, bare) if names else ()
    problems += held_out_problems(dataset)
    return Catalogue(tuple(sorted(complete, key=lambda tile: tile.name)), waiting), problems


def images_of(dataset: Dataset, name: str) -> tuple[Path, ...]:
    """The files of the bands of a labelled tile.

    Raises:
        CatalogueError: one is missing.
    """
    search = TileSearch(dataset, dataset.folder, [])
    image = search.file(name, "image", search.override(name).image or dataset.tiles.image)
    files = (*([image] if image else []), *search.further(name))
    if search.problems:
        raise CatalogueError(*search.problems)
    return files


def image_fingerprint(tile: Tile, memory: Path) -> str:
    """Fingerprint of all files of a tile's image, and of the reference's where its radiometry is matched to one."""
    return images_fingerprint((*tile.images, *tile.reference), memory)


def images_fingerprint(paths: Iterable[Path], memory: Path) -> str:
    """Fingerprint of several rasters, in their order."""
    return combined(raster_fingerprint(path, memory) for path in paths)


def raster_fingerprint(path: Path, memory: Path) -> str:
    """Fingerprint of what is read of a raster: its bytes, its mask (and header), and its metadata as GDAL reads them.

    Statistics that QGIS writes beside it change none of them. What cannot be read counts by its bytes.

    Raises:
        RasterError: there is no such file.
    """
    if not path.is_file():
        return fingerprint(path, memory)
    parts = [path, *(file for file in pixel_files(path) if file.is_file())]
    sidecars = [file for file in metadata_files(path) if file.is_file()]

    def digest() -> str:
        from landcover_orch.raster import metadata_digest  # rasterio, which a remembered one does without

        return combined([*(remembered_hash(part, memory) for part in parts), metadata_digest(path)])

    try:
        return remembered("raster", (*parts, *sidecars), memory, digest)
    except RasterError:
        return fingerprint(path, memory)


def _where(dataset: Dataset, key: str) -> str:
    return f"{file_label('datasets', dataset.name)}: {key}"


@dataclass(frozen=True)
class TileSearch:
    """File search below a dataset's `root`; problems are collected on the way."""

    dataset: Dataset
    root: Path
    problems: list[Problem]

    def names(self) -> Iterable[str]:
        """Names of the labelled tiles, some perhaps twice."""
        tiles = self.dataset.tiles
        added = [name for name, override in tiles.overrides.items() if override.image]
        if tiles.names:
            return [*tiles.names, *added]
        if PLACE not in tiles.image:
            fix = f"put {PLACE} where the tile's name stands in the file names"
            self.problem("tiles.image", f"{tiles.image!r}, a single file", f"a pattern with {PLACE}, or `names`", fix)
            return added
        return [*_matches(self.root, tiles.image), *added]

    def unlabelled(self, labelled: Sequence[str]) -> list[str]:
        """Names of the tiles without labels: files that match their pattern and are no labelled tile's orthophoto."""
        pattern = self.dataset.tiles.unlabelled
        if pattern is None:
            return []
        matches = _matches(self.root, pattern)
        if not matches:
            self.no_match("tiles.unlabelled", pattern)
        images = {name: _filled(self.override(name).image or self.dataset.tiles.image, name) for name in labelled}
        taken = set(images.values())
        bare = sorted(name for name in set(matches) if _filled(pattern, name) not in taken)
        for name in images.keys() & {*bare}:
            fix = "rename one of the files, or list one in `overrides` under another name with its `image`"
            known = f"tile {name!r} is also a labelled tile, of another file"
            self.problem("tiles.unlabelled", known, "a name for one file", fix)
        return [name for name in bare if name not in images]

    def tile(self, name: str, bare: str | None = None) -> Tile | None:
        """A tile whose files are all there; `bare` is the pattern of its orthophoto where it is to have no labels."""
        before, override, tiles = len(self.problems), self.override(name), self.dataset.tiles
        image = self.file(name, "image", bare or override.image or tiles.image)
        label = None if bare else self.file(name, "label", override.label or tiles.label)
        components = () if bare else self.components(name)
        further = self.further(name)
        corrections = self.corrections(name) if label else None
        if image is None or len(self.problems) > before:
            return None
        return Tile(
            name=name,
            image=image,
            label=label,
            year=tiles.year if override.year is None else override.year,
            label_year=tiles.label_year if override.label_year is None else override.label_year,
            stored_dtype=override.dtype,
            layer=override.layer or self.dataset.labels.layer,
            components=components,
            further=further,
            shift=override.shift,
            corrections=corrections,
            reference=self.reference(name),
            columns=label_columns(self.dataset.labels),
        )

    def reference(self, name: str) -> tuple[Path, ...]:
        """The files of the tile that this one's radiometry is matched to; none where it is the reference itself."""
        match = self.dataset.radiometry
        if match is None or match.reference == name:
            return ()
        override, tiles = self.override(match.reference), self.dataset.tiles
        patterns = override.image or tiles.image, *(override.further or (file.image for file in tiles.further))
        paths = (self.path(match.reference, pattern, "radiometry.reference") for pattern in patterns)
        return tuple(path for path in paths if path)

    def corrections(self, name: str) -> Corrections | None:
        """The file of a tile's corrected polygons, which is there once something was corrected."""
        labels = self.dataset.labels
        if labels.corrections is None:
            return None
        path = self.path(name, labels.corrections, "labels.corrections")
        columns = tuple(column for column in dict.fromkeys((labels.attribute, labels.id)) if column)
        return None if path is None else Corrections(path, columns, self.dataset.crs)

    def further(self, name: str) -> tuple[Path, ...]:
        """The files of further bands that are there."""
        usual = tuple(file.image for file in self.dataset.tiles.further)
        patterns = self.override(name).further or usual
        if len(patterns) != len(usual):
            expected, fix = f"{len(usual)}, as `tiles.further` has", "list them all, in the order of `tiles.further`"
            self.problem(f"tiles.overrides.{name}.further", pluralise(len(patterns), "file"), expected, fix)
        files = [self.file(name, "image", pattern, f"tiles.further.{i}") for i, pattern in enumerate(patterns)]
        return tuple(file for file in files if file)

    def components(self, name: str) -> tuple[Component, ...]:
        """The files of each component that has its covers."""
        parts = []
        for i, component in enumerate(self.dataset.labels.components):
            key = f"labels.components.{i}"
            parts.append({part: pattern and self.file(name, part, pattern, key) for part, pattern in component})
        return tuple(Component(files["code"], files["percent"], files["table"]) for files in parts if files["code"])

    def file(self, name: str, kind: str, pattern: str, key: str = "tiles") -> Path | None:
        """A tile's file of a pattern; None where it is missing or lies elsewhere."""
        path = self.path(name, pattern, f"{key}.{kind}")
        if path is None or path.is_file():
            return path
        expected = f"the {kind} file of tile {name!r}"
        fix = f"add the file, take {name!r} out of the tiles, or correct `{key}.{kind}`"
        if kind == "label":
            fix = f"{fix}; orthophotos that are only to be mapped go into a folder of their own: `tiles.unlabelled`"
        self.problems.append(Problem(str(path), "no such file", expected, fix))
        return None

    def path(self, name: str, pattern: str, key: str) -> Path | None:
        """Where a tile's file of a pattern lies; None where that is not below the root."""
        try:
            return inside(self.root, _filled(pattern, name), _where(self.dataset, key))
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None

    def override(self, name: str) -> TileOverride:
        """What the configuration overrides for a tile."""
        return self.dataset.tiles.overrides.get(name, TileOverride())

    def no_match(self, key: str, pattern: str) -> None:
        """Collects the problem that no file matches a pattern."""
        actual, expected, fix = f"no file matches {pattern!r}", "at least one tile", f"correct `{key}` or `root`"
        if not self.root.is_dir():
            generated = self.root.is_relative_to(home())
            fix = "`make demo` generates it" if generated else "correct `root`, or mount it"
            actual, expected = "no such folder", "the dataset's `root`"
        self.problems.append(Problem(str(self.root), actual, expected, fix))

    def problem(self, key: str, found: str, expected: str, fix: str) -> None:
        """Collects the problem of a key of the dataset."""
        self.problems.append(Problem(_where(self.dataset, key), found, expected, fix))


def label_columns(labels: Labels) -> tuple[str, ...]:
    """Columns that are read of vector labels; none where a table of covers is read too."""
    columns = () if labels.content == "values" else (labels.attribute, labels.id)
    return tuple(column for column in dict.fromkeys(columns) if column)


def _matches(root: Path, pattern: str) -> list[str]:
    first, *rest = (re.escape(part) for part in pattern.split(PLACE))
    expression = re.compile(first + r"(?P<tile>[^/]+?)" + r"(?P=tile)".join(rest))
    wild = "*".join(glob.escape(part) for part in pattern.split(PLACE))
    matches = (expression.fullmatch(Path(path).as_posix()) for path in glob.glob(wild, root_dir=root))  # noqa: PTH207
    return [match["tile"] for match in matches if match]


def _filled(pattern: str, name: str) -> str:
    """The pattern with the tile's name in it, its numbers filled up with zeros where the pattern asks for that."""

    def text(placeholder: re.Match[str]) -> str:
        return re.sub(r"\d+", lambda number: number[0].zfill(int(placeholder["digits"] or 0)), name)

    return _PLACES.sub(text, pattern)


def name_problems(names: Iterable[str]) -> list[Problem]:
    """Names that cannot be partitions."""
    return [
        Problem(
            f"tile {name!r}",
            "a name that Dagster cannot take as a partition",
            "letters a to z, digits, '_' and '-' alone",
            f"rename its files, as {transliterate(name, 'tile')}, or list the tiles in `names` and give this one its "
            "`image` and `label` in `overrides`, under such a name",
        )
        for name in names
        if not re.fullmatch(KEY, name)
    ]


def duplicates(dataset: Dataset, tiles: list[Tile]) -> Iterator[tuple[list[str], Problem]]:
    """Tiles that are listed twice, are one file, or whose names differ in case alone: their names, and the problem."""
    by_name = _groups({tile.name: tile.name.casefold() for tile in tiles})
    by_file = _groups({tile.name: str(tile.image) for tile in tiles})
    repeated = [name for name, times in Counter(dataset.tiles.names).items() if times > 1]
    groups = [
        *((same, f"tile names that differ in case alone: {same}", "rename all but one") for same in by_name),
        *((same, f"tiles {same} are one file", "list the file under one name") for same in by_file),
        *(([name], f"tile {name!r} is listed twice", "delete one of the two lines") for name in repeated),
    ]
    for same, what, fix in groups:
        yield same, Problem(_where(dataset, "tiles"), what, "each tile once", fix)


def _groups(keys: Mapping[str, str]) -> list[list[str]]:
    grouped: dict[str, list[str]] = {}
    for name in sorted(keys):
        grouped.setdefault(keys[name], []).append(name)
    return [group for group in grouped.values() if len(group) > 1]


def missing_csv_problems(dataset: Dataset) -> list[Problem]:
    """Files of tile names that could not be read when the dataset was loaded."""
    files = {split: getattr(dataset.splits, split).from_csv for split in SPLIT_NAMES}
    fix = "add the file, or name the tiles under `tiles`"
    return [
        Problem(_where(dataset, f"splits.{split}.from_csv"), f"no file {name}", "a CSV file of tile names", fix)
        for split, name in files.items()
        if name is not None
    ]


def held_out_problems(dataset: Dataset) -> list[Problem]:
    """Splits all of whose tiles the dataset goes on without: there would be no ground to judge on."""
    left_out, where = {*dataset.tiles.go_on_without}, _where(dataset, "tiles.go_on_without")
    specs = {split: getattr(dataset.splits, split) for split in ("validation", "test")}
    return [
        Problem(where, f"{', '.join(spec.tiles)}, all tiles of `splits.{split}`", f"one of them left for {split}", fix)
        for split, spec in specs.items()
        if spec.tiles and {*spec.tiles} <= left_out and not spec.blocks
        for fix in (f"mend the tile, or name another one in `splits.{split}.tiles`",)
    ]


def unknown_tile_problems(dataset: Dataset, names: Sequence[str], bare: Sequence[str]) -> list[Problem]:
    """Names in the configuration that are no tile; tiles without labels are excluded from all splits."""
    named = {
        "tiles.overrides": {*dataset.tiles.overrides} - {*bare},
        "splits.validation.tiles": dataset.splits.validation.tiles,
        "splits.test.tiles": dataset.splits.test.tiles,
        "radiometry.reference": {dataset.radiometry.reference} if dataset.radiometry else (),
        "splits.excluded.tiles": {*dataset.splits.excluded.tiles} - {*bare},
        "tiles.go_on_without": {*dataset.tiles.go_on_without} - {*bare},
    }
    known = sorted(names)
    expected = f"one of {some(known)}" + (", the tiles with labels" if bare else "")
    return [
        Problem(_where(dataset, key), f"unknown tile {name!r}", expected, f"correct `{key}`")
        for key, listed in named.items()
        for name in sorted(listed)
        if name not in known
    ]
