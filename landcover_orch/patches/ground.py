"""Ground of a split: its tiles, labelled pixels, hectares, years and classes, and warnings where it holds one class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landcover_orch.grid import HECTARE
from landcover_orch.pages.page import format_hectares, format_number
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, TileEntry

NAMED = 4
"""Tiles that are named; of more, how many there are."""


ONE_CLASS = 0.85
"""Fraction of a split's labelled pixels above which one class makes it hard to tell models apart."""


@dataclass(frozen=True)
class Ground:
    """Labelled ground of one split, or of several together.

    `hectares` is None where a tile's CRS has no unit of length. `classes` are those that occur.
    """

    splits: tuple[str, ...]
    tiles: tuple[str, ...]
    pixels: int
    hectares: float | None
    image_years: tuple[int, ...]
    label_years: tuple[int, ...]
    classes: tuple[str, ...]

    def words(self) -> str:
        """Ground as a phrase: '65,536 test pixels (6.55 ha) of tile r1c1, orthophotos of 2024, labels of 2023'."""
        area = "" if self.hectares is None else f" ({format_hectares(self.hectares)})"
        kind = "labelled" if len(self.splits) > 1 else self.splits[0]
        years = [
            f", {name} of {', '.join(map(str, values))}"
            for name, values in (("orthophotos", self.image_years), ("labels", self.label_years))
            if values
        ]
        return f"{format_number(self.pixels)} {kind} pixels{area} of {tile_words(self.tiles)}{''.join(years)}"


def tile_words(names: Sequence[str]) -> str:
    """Tiles by name, many by their number."""
    if len(names) == 1:
        return f"tile {names[0]}"
    return f"tiles {', '.join(names)}" if len(names) <= NAMED else f"{len(names)} tiles"


def ground(manifest: DatasetManifest, *splits: str) -> Ground:
    """Labelled ground of some splits."""
    tiles = [tile for tile in manifest.tiles if any(split_pixels(tile, splits))]
    counts = np.sum([np.zeros(len(manifest.legend.names), np.int64), *(split_pixels(t, splits) for t in tiles)], axis=0)
    areas = [hectares(tile, int(split_pixels(tile, splits).sum())) for tile in tiles]
    known = [area for area in areas if area is not None]
    return Ground(
        splits=splits,
        tiles=tuple(tile.name for tile in tiles),
        pixels=int(counts.sum()),
        hectares=sum(known) if len(known) == len(areas) and areas else None,
        image_years=years(tile.year for tile in tiles),
        label_years=years(tile.label_year for tile in tiles),
        classes=tuple(name for name, count in zip(manifest.legend.names, counts, strict=True) if count),
    )


def scored_ground(manifest: DatasetManifest) -> Ground:
    """Ground that scores are measured on: the test split; of a dataset without one, all that folds score."""
    test = ground(manifest, "test")
    return test if test.pixels else ground(manifest, "train", "validation")


def split_pixels(tile: TileEntry, splits: Iterable[str]) -> Any:
    """Labelled pixels of each class of a tile in some splits."""
    counts = [np.array(tile.class_pixels[split], np.int64) for split in splits if tile.class_pixels.get(split)]
    return sum(counts) if counts else np.zeros(1, np.int64)


def years(values: Iterable[int | None]) -> tuple[int, ...]:
    """Distinct years, the earliest first."""
    return tuple(sorted({value for value in values if value is not None}))


def pixel_m2(tile: TileEntry) -> float | None:
    """Square metres of a tile's pixel; None where it lies in no CRS with a unit of length."""
    if tile.crs is None:
        return None
    from pyproj import CRS

    axes = CRS.from_user_input(tile.crs).axis_info
    if not axes or any(axis.unit_name == "degree" for axis in axes):
        return None
    a, b, _, d, e, _ = tile.transform
    return float(abs(a * e - b * d) * axes[0].unit_conversion_factor ** 2)


def hectares(tile: TileEntry, pixels: int) -> float | None:
    """Hectares of pixels of a tile; None where its CRS has no unit of length."""
    area = pixel_m2(tile)
    return None if area is None else pixels * area / HECTARE


def one_class_warnings(manifest: DatasetManifest) -> list[str]:
    """Warnings of splits that hold one class alone, each with the key that mends it."""
    where = f"datasets/{manifest.dataset.name}.yaml"  # a product says the same wherever it is made
    warnings = []
    for split in SPLITS:
        present = ground(manifest, split)
        if len(present.classes) != 1 or len(manifest.legend.names) == 1:
            continue
        (name,) = present.classes
        if split == "train":
            effect = "a model learns no other class from it"
            fix = "leave tiles or blocks with other classes to training (smaller `splits.validation` and `splits.test`)"
        else:
            effect = f"a map of {name} everywhere scores an accuracy of 1.000 there"
            fix = f"give tiles or blocks with other classes to `splits.{split}`"
        unlabelled = ", or say what ground without a label is by `labels.unlabelled`"
        warnings.append(f"All {split} ground is {name}: {effect}. Fix: {fix}{unlabelled} ({where}).")
    return [*warnings, *uneven_warnings(manifest)]


def uneven_warnings(manifest: DatasetManifest) -> Iterator[str]:
    """Warnings of validation or test ground of hardly more than one class, where training has others."""
    train = [fraction or 0.0 for fraction in class_fractions(manifest, "train")]
    for split, use in (("validation", "chosen"), ("test", "judged")):
        fractions = [fraction or 0.0 for fraction in class_fractions(manifest, split)]
        number = fractions.index(max(fractions))
        if train[number] < ONE_CLASS < fractions[number] < 1:
            held, trained = (f"{100 * part[number]:.0f} %" for part in (fractions, train))
            text = f"{split.capitalize()} ground is {held} {manifest.legend.names[number]}, train ground {trained}"
            yield f"{text}: models are hardly to be {use} by it. Fix: name other tiles in `splits`."


def class_fractions(manifest: DatasetManifest, split: str) -> list[float | None]:
    """Fraction of each class in the labelled pixels of a split; None where it has no labelled pixel."""
    none = np.zeros(len(manifest.legend.names), np.int64)
    pixels = sum((split_pixels(tile, [split]) for tile in manifest.tiles), none)
    total = int(pixels.sum())
    return [float(n / total) if total else None for n in pixels]
