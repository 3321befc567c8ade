"""File pairing: which raster is the orthophoto of a tile, which file holds its labels, and the patterns of both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import PurePosixPath

from landcover_orch.config.experiments import KEY
from landcover_orch.config.valid_names import transliterate
from landcover_orch.tiles.catalogue import PLACE

WORDS = re.compile(
    r"^(images?|imgs?|ortho(photo)?s?|photos?|rgb|irrg|tiles?|sat|labels?|lbl|masks?|gt|truth|annotations?|polygons?|"
    r"classes|classified|lulc|landuse|landcover|reference|buildings?)$"
)
"""Words of a file's name that say what it holds, not which tile it is of."""

LABEL_WORDS = re.compile(
    r"(^|[^a-z])(labels?|lbl|masks?|gt|truth|annotations?|classes|classified|lulc|landuse|landcover|reference)([^a-z]|$)",
    re.IGNORECASE,
)
"""Words in the path of a raster that holds labels."""


@dataclass(frozen=True)
class TileFiles:
    """The files of a tile below the folder; without labels `label` is None."""

    name: str
    image: str
    label: str | None


@dataclass(frozen=True)
class Patterns:
    """Patterns of images and labels, and the tiles whose files they do not give."""

    image: str
    label: str
    odd: tuple[TileFiles, ...]


def stem(path: str) -> str:
    """The name of a file without its folder and ending."""
    return PurePosixPath(path).stem


def core(path: str) -> str:
    """What of a file's name says which tile it is of: without words as image, label, mask."""
    tokens = [token for token in re.split(r"[ _.\-]+", stem(path).lower()) if token and not WORDS.match(token)]
    return "_".join(tokens)


def folder_of(path: str) -> str:
    """The name of the folder that a file lies in."""
    return PurePosixPath(path).parent.name


def place_of(path: str) -> str:
    """The folders and the name of a file, without words as images, labels: train/images/a.tif is train/a."""
    folders = (folder for folder in PurePosixPath(path).parent.parts if not WORDS.match(folder.lower()))
    return "/".join([*folders, core(path) or stem(path)])


SPLIT_FOLDERS = {"validation": ("val", "valid", "validation"), "test": ("test", "testing")}
"""Split -> names of folders that hold its tiles."""


def held_out(images: Mapping[str, str]) -> dict[str, list[str]]:
    """Tiles of validation and test by the folders of their images; empty where not both have some, and others are left.

    Args:
        images: tile -> path.
    """
    folders = {name: {part.lower() for part in PurePosixPath(path).parent.parts} for name, path in images.items()}
    named = {
        split: [name for name, parts in folders.items() if parts & {*words}] for split, words in SPLIT_FOLDERS.items()
    }
    count = sum(map(len, named.values()))
    return named if all(named.values()) and count < len(images) else {}


KEYS: Mapping[str, Callable[[str], str]] = {
    "names": stem,
    "names without words": core,
    "folders": folder_of,
    "paths": place_of,
}
"""Ways to compare files by their names -> what of a path has to be equal."""


def paired(images: Sequence[str], labels: Sequence[str]) -> tuple[dict[str, str], str]:
    """The label file of each image that has one of its own, and by what they were paired.

    The way that pairs most files; a name that two labels share pairs none.
    """
    best: dict[str, str] = {}
    way = "names"
    for title, key in KEYS.items():
        of_label, of_image = Counter(map(key, labels)), Counter(map(key, images))
        single = {key(label): label for label in labels if of_label[key(label)] == 1}
        pairs = {image: single[key(image)] for image in images if key(image) in single and of_image[key(image)] == 1}
        if len(pairs) > len(best):
            best, way = pairs, title
    return best, way


def tile_names(images: Sequence[str]) -> dict[str, str]:
    """Names of tiles by their images: the files' names, their folders', or both; transliterated to ASCII.

    What all names begin and end with is left out where one of them has other characters.
    """
    names = {image: stem(image) for image in images}
    if len(set(names.values())) < len(names):
        names = {image: folder_of(image) for image in images}
    if len(set(names.values())) < len(names):
        names = {image: place_of(image).replace("/", "_") for image in images}
    if len(set(names.values())) < len(names):
        names = {image: "_".join(PurePosixPath(image).with_suffix("").parts) for image in images}
    if all(re.fullmatch(KEY, name) for name in names.values()):
        return names
    first, last = common_ends(list(names.values()))
    short = {image: name[first : len(name) - last] for image, name in names.items()}
    if all(re.fullmatch(KEY, name) for name in short.values()):
        return short
    return distinct({image: transliterate(name, "tile") for image, name in names.items()})


def common_ends(names: Sequence[str]) -> tuple[int, int]:
    """Lengths of what all names begin and end with, up to a character that is no letter or digit."""
    if len(names) < 2:
        return 0, 0
    first, last = (
        len(re.sub(r"[A-Za-z0-9]*$", "", common_beginning(ends))) for ends in (names, [name[::-1] for name in names])
    )
    return (first, last) if first + last < min(map(len, names)) else (first, 0)


def common_beginning(names: Sequence[str]) -> str:
    """What all names begin with."""
    low, high = min(names), max(names)
    return next((low[:i] for i, letter in enumerate(low) if high[i : i + 1] != letter), low)


def matching(pattern: str, paths: Iterable[str]) -> set[str]:
    """The names that a pattern finds among paths, as the catalogue does."""
    first, *rest = (re.escape(part) for part in pattern.split(PLACE))
    expression = re.compile(first + r"(?P<tile>[^/]+?)" + r"(?P=tile)".join(rest)) if rest else re.compile(first)
    return {match["tile"] for path in paths if rest and (match := expression.fullmatch(path))}


def shortened(names: Mapping[str, str]) -> dict[str, str]:
    """The names without what all of them begin and end with; as they are where nothing of a name would be left."""
    first, last = common_ends(list(names.values()))
    short = {key: name[first : len(name) - last] for key, name in names.items()}
    valid = all(re.fullmatch(KEY, name) for name in short.values())
    return short if valid and len({name.casefold() for name in short.values()}) == len(short) else dict(names)


def distinct(names: Mapping[str, str]) -> dict[str, str]:
    """The names with a number where another one is equal but for case."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for key, name in names.items():
        numbered = (f"{name}-{number}" for number in count(2))
        result[key] = next(free for free in chain([name], numbered) if free.casefold() not in taken)
        taken.add(result[key].casefold())
    return result


def patterns(tiles: Sequence[TileFiles], shared_label: str | None) -> Patterns:
    """The patterns that give most tiles' files, with {tile} in place of the name.

    Args:
        tiles: those with labels.
        shared_label: the one label file of all tiles.
    """
    votes: Counter[tuple[str, str]] = Counter()
    for tile in tiles:
        for image in placed(tile.image, tile.name):
            votes.update((image, label) for label in label_patterns(tile, shared_label))
    if not votes:
        return Patterns(tiles[0].image, shared_label or tiles[0].label or "", tuple(tiles))
    (image, label), _ = max(votes.items(), key=lambda vote: vote[1])
    odd = [tile for tile in tiles if filled(image, tile.name) != tile.image or filled(label, tile.name) != tile.label]
    return Patterns(image, label, tuple(odd))


def label_patterns(tile: TileFiles, shared_label: str | None) -> Iterable[str]:
    """Patterns that a tile's label file may have been named by."""
    return [shared_label] if shared_label else placed(tile.label or "", tile.name)


def placed(path: str, name: str) -> list[str]:
    """Patterns of a path with {tile} in place of a name: once in the file's name, or wherever it stands.

    A name counts where no letter or digit touches it, if it stands so anywhere; a file's ending never does.
    """
    stop = len(path) - len(PurePosixPath(path).suffix)
    alone = re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])")
    spans = [match.span() for match in alone.finditer(path, 0, stop)]
    spans = spans or [match.span() for match in re.finditer(re.escape(name), path[:stop])]
    single = [f"{path[:start]}{PLACE}{path[end:]}" for start, end in reversed(spans)]
    everywhere = path
    for start, end in reversed(spans):
        everywhere = f"{everywhere[:start]}{PLACE}{everywhere[end:]}"
    return list(dict.fromkeys([*single, everywhere] if spans else []))


def filled(pattern: str, name: str) -> str:
    """The path that a pattern gives for a tile."""
    return pattern.replace(PLACE, name)
