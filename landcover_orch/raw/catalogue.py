"""Which files are the tiles of a dataset: patterns resolved, every problem listed. Light enough for a sensor."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from landcover_orch.config import Dataset, TileOverride, inside
from landcover_orch.errors import CatalogueError, ConfigError, Problem
from landcover_orch.experiment import KEY
from landcover_orch.fingerprint import fingerprint
from landcover_orch.raw.findings import some

PLACE = "{tile}"
_PLACES = re.compile(r"\{tile(?::0(?P<digits>\d))?\}")


class Component(NamedTuple):
    """The files of one component of a tile's labels: covers, their percentages, the table of the covers' values."""

    code: Path
    percent: Path | None
    table: Path | None


@dataclass(frozen=True)
class Tile:
    """One input raster and its label file; `layer` and `stored_dtype` only where they differ from the default.

    A tile without labels has no `label`. Where labels are of kind components, these hold them, and `label` only says
    where they lie. `further` are the files of the bands that follow those of `image`.
    """

    name: str
    image: Path
    label: Path | None
    year: int | None
    label_year: int | None
    stored_dtype: str | None
    layer: str | None
    components: tuple[Component, ...] = ()
    further: tuple[Path, ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of its bands, the orthophoto first."""
        return self.image, *self.further


def tiles(dataset: Dataset) -> list[Tile]:
    """The tiles of a dataset, sorted by name, each with an orthophoto and a label file that exist.

    Without `names`, a tile is every file that matches the image pattern (hidden files do not count), and every
    override that states an image. Files that match `unlabelled` are further tiles, without labels.

    Raises:
        CatalogueError: everything that is wrong with names, files, overrides and splits, in one list.
    """
    problems: list[Problem] = []
    names = sorted(set(_names(dataset, problems)))
    if not names and not problems:
        problems.append(_nothing(dataset, "tiles.image", dataset.tiles.image))
    found = [tile for name in names if (tile := _tile(dataset, name, problems))]
    bare = _unlabelled(dataset, names, problems)
    found += [tile for name in bare if (tile := _tile(dataset, name, problems, dataset.tiles.unlabelled))]
    problems += [*_bad_names([*names, *bare]), *_duplicates(dataset, found)]
    problems += _unknown(dataset, names, bare) if names else ()
    if problems:
        raise CatalogueError(*problems)
    return sorted(found, key=lambda tile: tile.name)


def fingerprints(tile: Tile, memory: Path) -> tuple[str, str | None]:
    """Fingerprints of all files of a tile's image and of its labels (None without any), remembered in `memory`."""
    labels = [path for part in tile.components for path in part if path is not None]
    return image_fingerprint(tile, memory), None if tile.label is None else _joined((tile.label, *labels), memory)


def image_fingerprint(tile: Tile, memory: Path) -> str:
    """Fingerprint of all files of a tile's image, remembered in the SQLite file `memory`."""
    return _joined(tile.images, memory)


def _joined(paths: Iterable[Path], memory: Path) -> str:
    parts = [fingerprint(path, memory) for path in paths]
    return parts[0] if len(parts) == 1 else f"sha256:{hashlib.sha256(''.join(parts).encode()).hexdigest()}"


def _where(dataset: Dataset, key: str) -> str:
    return f"configs/datasets/{dataset.name}.yaml: {key}"


def _names(dataset: Dataset, problems: list[Problem]) -> Iterable[str]:
    added = [name for name, override in dataset.tiles.overrides.items() if override.image]
    if dataset.tiles.names:
        return [*dataset.tiles.names, *added]
    if PLACE not in dataset.tiles.image:
        problems.append(
            Problem(
                _where(dataset, "tiles.image"),
                f"{dataset.tiles.image!r}, a single file",
                f"a pattern with {PLACE}, or `names`",
                f"put {PLACE} where the tile's name stands in the file names",
            )
        )
        return added
    return [*_matches(dataset.folder, dataset.tiles.image), *added]


def _matches(root: Path, pattern: str) -> list[str]:
    first, *rest = (re.escape(part) for part in pattern.split(PLACE))
    expression = re.compile(first + r"(?P<tile>[^/]+?)" + r"(?P=tile)".join(rest))
    wild = "*".join(glob.escape(part) for part in pattern.split(PLACE))
    found = (expression.fullmatch(Path(path).as_posix()) for path in glob.glob(wild, root_dir=root))  # noqa: PTH207
    return [match["tile"] for match in found if match]


def _unlabelled(dataset: Dataset, labelled: Sequence[str], problems: list[Problem]) -> list[str]:
    """Names of the tiles without labels: files that match their pattern and are no labelled tile's orthophoto."""
    pattern = dataset.tiles.unlabelled
    if pattern is None:
        return []
    found = _matches(dataset.folder, pattern)
    if not found:
        problems.append(_nothing(dataset, "tiles.unlabelled", pattern))
    own = {name: dataset.tiles.overrides.get(name, TileOverride()).image or dataset.tiles.image for name in labelled}
    taken = {dataset.folder / _filled(image, name) for name, image in own.items()}
    bare = sorted(name for name in set(found) if dataset.folder / _filled(pattern, name) not in taken)
    problems += [
        Problem(
            _where(dataset, "tiles.unlabelled"),
            f"tile {name!r} is also a labelled tile, of another file",
            "a name for one file",
            "rename one of the files, or list one in `overrides` under another name with its `image`",
        )
        for name in bare
        if name in own
    ]
    return [name for name in bare if name not in own]


def _nothing(dataset: Dataset, key: str, pattern: str) -> Problem:
    if not dataset.folder.is_dir():
        return Problem(str(dataset.folder), "no such folder", "the dataset's `root`", "correct `root`, or mount it")
    found, fix = f"no file matches {pattern!r}", f"correct `{key}` or `root`"
    return Problem(str(dataset.folder), found, "at least one tile", fix)


def _tile(dataset: Dataset, name: str, problems: list[Problem], bare: str | None = None) -> Tile | None:
    """A tile whose files are all there; `bare` is the pattern of its orthophoto where it is to have no labels."""
    before, own = len(problems), dataset.tiles.overrides.get(name, TileOverride())
    image = _file(dataset, name, "image", own.image or bare or dataset.tiles.image, problems)
    label = None if bare else _file(dataset, name, "label", own.label or dataset.tiles.label, problems)
    components = () if bare else _components(dataset, name, problems)
    further = _further(dataset, name, own, problems)
    if image is None or len(problems) > before:
        return None
    return Tile(
        name=name,
        image=image,
        label=label,
        year=dataset.tiles.year if own.year is None else own.year,
        label_year=dataset.tiles.label_year if own.label_year is None else own.label_year,
        stored_dtype=own.dtype,
        layer=own.layer or dataset.labels.layer,
        components=components,
        further=further,
    )


def _further(dataset: Dataset, name: str, own: TileOverride, problems: list[Problem]) -> tuple[Path, ...]:
    """The files of the further bands that are there."""
    patterns = own.further or tuple(file.image for file in dataset.tiles.further)
    if len(patterns) != len(dataset.tiles.further):
        where, fix = (
            _where(dataset, f"tiles.overrides.{name}.further"),
            "list them all, in the order of `tiles.further`",
        )
        expected = f"{len(dataset.tiles.further)}, as `tiles.further` has"
        problems.append(Problem(where, f"{len(patterns)} files", expected, fix))
    files = [
        _file(dataset, name, "image", pattern, problems, f"tiles.further.{i}") for i, pattern in enumerate(patterns)
    ]
    return tuple(file for file in files if file)


def _components(dataset: Dataset, name: str, problems: list[Problem]) -> tuple[Component, ...]:
    """The files of each component that has its covers."""
    found = []
    for i, component in enumerate(dataset.labels.components):
        files = {
            part: None if pattern is None else _file(dataset, name, part, pattern, problems, f"labels.components.{i}")
            for part, pattern in component
        }
        found.append(files)
    return tuple(Component(files["code"], files["percent"], files["table"]) for files in found if files["code"])


def _file(
    dataset: Dataset, name: str, kind: str, pattern: str, problems: list[Problem], key: str = "tiles"
) -> Path | None:
    try:
        path = inside(dataset.folder, _filled(pattern, name), _where(dataset, f"{key}.{kind}"))
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    if path.is_file():
        return path
    problems.append(
        Problem(
            str(path),
            "no such file",
            f"the {kind} file of tile {name!r}",
            f"add the file, take {name!r} out of the tiles, or correct `{key}.{kind}`",
        )
    )
    return None


def _filled(pattern: str, name: str) -> str:
    """The pattern with the tile's name in it, its numbers filled up with zeros where the pattern asks for that."""

    def text(place: re.Match[str]) -> str:
        return re.sub(r"\d+", lambda number: number[0].zfill(int(place["digits"] or 0)), name)

    return _PLACES.sub(text, pattern)


def _bad_names(names: Iterable[str]) -> list[Problem]:
    return [
        Problem(
            f"tile {name!r}",
            "a name that Dagster cannot take as a partition",
            "letters, digits, '_' and '-' alone",
            "rename the file, or list the tile in `overrides` under another name with its `image`",
        )
        for name in names
        if not re.fullmatch(KEY, name)
    ]


def _duplicates(dataset: Dataset, found: list[Tile]) -> list[Problem]:
    names = {tile.name for tile in found}
    repeated = [name for name, times in Counter(dataset.tiles.names).items() if times > 1]
    groups = [
        *((f"tile names that differ in case alone: {same}", "rename all but one") for same in _same(names)),
        *((f"tiles {same} are one file", "list the file under one name") for same in _one_file(found)),
        *((f"tile {name!r} is listed twice", "delete one of the two lines") for name in repeated),
    ]
    return [Problem(_where(dataset, "tiles"), what, "each tile once", fix) for what, fix in groups]


def _same(names: Iterable[str]) -> list[list[str]]:
    return _groups({name: name.casefold() for name in names})


def _one_file(found: list[Tile]) -> list[list[str]]:
    return _groups({tile.name: str(tile.image) for tile in found})


def _groups(keys: Mapping[str, str]) -> list[list[str]]:
    grouped: dict[str, list[str]] = {}
    for name in sorted(keys):
        grouped.setdefault(keys[name], []).append(name)
    return [group for group in grouped.values() if len(group) > 1]


def _unknown(dataset: Dataset, names: Sequence[str], bare: Sequence[str]) -> list[Problem]:
    """Names that stand elsewhere and are no tile; tiles without labels are excluded from all sides of a split."""
    named = {
        "tiles.overrides": {*dataset.tiles.overrides} - {*bare},
        "splits.validation.tiles": dataset.splits.validation.tiles,
        "splits.test.tiles": dataset.splits.test.tiles,
        "splits.excluded.tiles": {*dataset.splits.excluded.tiles} - {*bare},
    }
    known = sorted(names)
    expected = f"one of {some(known)}" + (", the tiles with labels" if bare else "")
    return [
        Problem(_where(dataset, key), f"unknown tile {name!r}", expected, f"correct `{key}`")
        for key, listed in named.items()
        for name in sorted(listed)
        if name not in known
    ]
