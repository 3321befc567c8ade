"""Which files are the tiles of a dataset: patterns resolved, every problem listed. Light enough for a sensor."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from landcover_orch.config import Dataset, TileOverride, inside
from landcover_orch.errors import CatalogueError, ConfigError, Problem
from landcover_orch.experiment import KEY
from landcover_orch.fingerprint import fingerprint
from landcover_orch.raw.findings import some

PLACE = "{tile}"


class Component(NamedTuple):
    """The files of one component of a tile's labels: covers, their percentages, the table of the covers' values."""

    code: Path
    percent: Path | None
    table: Path | None


@dataclass(frozen=True)
class Tile:
    """One input raster and its label file; `layer` and `stored_dtype` only where they differ from the default.

    Where labels are of kind components, these hold them, and `label` only says where they lie.
    """

    name: str
    image: Path
    label: Path
    year: int | None
    label_year: int | None
    stored_dtype: str | None
    layer: str | None
    components: tuple[Component, ...] = ()


def tiles(dataset: Dataset) -> list[Tile]:
    """The tiles of a dataset, sorted by name, each with an orthophoto and a label file that exist.

    Without `names`, a tile is every file that matches the image pattern (hidden files do not count), and every
    override that states an image.

    Raises:
        CatalogueError: everything that is wrong with names, files, overrides and splits, in one list.
    """
    problems: list[Problem] = []
    names = sorted(set(_names(dataset, problems)))
    if not names and not problems:
        problems.append(_nothing(dataset))
    found = [tile for name in names if (tile := _tile(dataset, name, problems))]
    problems += [*_bad_names(names), *_duplicates(dataset, found), *(_unknown(dataset, names) if names else ())]
    if problems:
        raise CatalogueError(*problems)
    return found


def fingerprints(tile: Tile, memory: Path) -> tuple[str, str]:
    """Fingerprints of a tile's orthophoto and of its labels, remembered in the SQLite file `memory`."""
    further = [path for component in tile.components for path in component if path is not None]
    parts = [fingerprint(path, memory) for path in (tile.label, *further)]
    label = parts[0] if len(parts) == 1 else f"sha256:{hashlib.sha256(''.join(parts).encode()).hexdigest()}"
    return fingerprint(tile.image, memory), label


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


def _nothing(dataset: Dataset) -> Problem:
    if not dataset.folder.is_dir():
        return Problem(str(dataset.folder), "no such folder", "the dataset's `root`", "correct `root`, or mount it")
    return Problem(
        str(dataset.folder),
        f"no file matches {dataset.tiles.image!r}",
        "at least one tile",
        "correct `tiles.image` or `root`",
    )


def _tile(dataset: Dataset, name: str, problems: list[Problem]) -> Tile | None:
    own = dataset.tiles.overrides.get(name, TileOverride())
    image = _file(dataset, name, "image", own.image or dataset.tiles.image, problems)
    label = _file(dataset, name, "label", own.label or dataset.tiles.label, problems)
    components = _components(dataset, name, problems)
    if image is None or label is None or components is None:
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
    )


def _components(dataset: Dataset, name: str, problems: list[Problem]) -> tuple[Component, ...] | None:
    """The files of each component; None where some are missing."""
    before = len(problems)
    found = []
    for i, component in enumerate(dataset.labels.components):
        files = {
            part: None if pattern is None else _file(dataset, name, part, pattern, problems, f"labels.components.{i}")
            for part, pattern in component
        }
        found.append(files)
    if len(problems) > before:
        return None
    return tuple(Component(files["code"] or Path(), files["percent"], files["table"]) for files in found)


def _file(
    dataset: Dataset, name: str, kind: str, pattern: str, problems: list[Problem], key: str = "tiles"
) -> Path | None:
    try:
        path = inside(dataset.folder, pattern.replace(PLACE, name), _where(dataset, f"{key}.{kind}"))
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


def _unknown(dataset: Dataset, names: Iterable[str]) -> list[Problem]:
    named = {
        "tiles.overrides": dataset.tiles.overrides,
        "splits.validation.tiles": dataset.splits.validation.tiles,
        "splits.test.tiles": dataset.splits.test.tiles,
        "splits.excluded.tiles": dataset.splits.excluded.tiles,
    }
    known = sorted(names)
    return [
        Problem(_where(dataset, key), f"unknown tile {name!r}", f"one of {some(known)}", f"correct `{key}`")
        for key, listed in named.items()
        for name in listed
        if name not in known
    ]
