"""What class proportions are counted over: each patch, tile or polygon, and the pixels of every class in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import compute, raster
from landcover_orch.config import Dataset, inside
from landcover_orch.errors import GridError, Problem
from landcover_orch.grid import Window, blocks, window_grid, windows
from landcover_orch.labels import polygons
from landcover_orch.legend import IGNORE
from landcover_orch.patches.splits import ROLES, roles
from landcover_orch.raster import Raster

BLOCK = 2048
"""Side of the blocks that are read at a time, in pixels: a multiple of the rasters' own."""

Counts = NDArray[np.int64]
Whole = int
"""The unit that all of a window belongs to."""

Tallies = list[tuple[Counts, Counts]]
"""Units, and of each the pixels of every value (unit, value): of the map, of the labels, of the labels' roles."""


@dataclass(frozen=True)
class Unit:
    """A piece of ground and its pixels.

    `mapped` counts the map's pixels of each class, and last those without; `labelled` alike those of the ground
    truth; `roles` its labelled pixels by role (see `patches.splits`). `tiles` are those it lies on; `row` and `col` a
    patch's place in its tile, in pixels.
    """

    name: str
    tiles: tuple[str, ...]
    row: int | None
    col: int | None
    mapped: Counts
    labelled: Counts
    roles: Counts

    def __add__(self, other: Unit) -> Unit:
        """Both parts of a polygon that lies on several tiles."""
        tiles = (*self.tiles, *other.tiles)
        counts = (self.mapped + other.mapped, self.labelled + other.labelled, self.roles + other.roles)
        return Unit(self.name, tiles, self.row, self.col, *counts)


@dataclass(frozen=True)
class Layout:
    """A tile's units: their names, the row and column of patches, and the windows that are read one after another.

    Each window has the unit that it belongs to; where there are `shapes` (geometry, unit), its pixels have theirs.
    """

    names: list[str]
    places: list[tuple[int | None, int | None]]
    groups: list[list[tuple[Window, Whole]]]
    shapes: list[tuple[Any, int]] | None = None


def units(dataset: Dataset, classes: int, maps: Mapping[str, Raster], labels: Mapping[str, Raster]) -> list[Unit]:
    """The units of a dataset's maps, tile by tile; ground where tiles overlap counts in each of them.

    Args:
        dataset: says what a unit is.
        classes: how many the legend has.
        maps: tile -> its class raster.
        labels: tile -> its ground truth, of tiles that have one.

    Raises:
        GridError: a map does not lie on its labels' grid.
        LabelError: the file of polygons cannot be read, or tiles have no CRS to lay them on.
    """
    found: dict[str, Unit] = {}
    for tile in sorted(maps):
        for unit in _of_tile(dataset, classes, tile, maps[tile], labels.get(tile)):
            found[unit.name] = found[unit.name] + unit if unit.name in found else unit
    return list(found.values())


def _of_tile(dataset: Dataset, classes: int, tile: str, found: Raster, truth: Raster | None) -> Iterator[Unit]:
    if truth is not None and truth.grid != found.grid:
        fix = "materialise `ground_truth` and the map again"
        raise GridError(Problem(str(found.path), "another grid than its labels'", f"the grid of {truth.path}", fix))
    layout = _layout(dataset, tile, found.grid)
    sums = [np.zeros((len(layout.names), size), np.int64) for size in (classes + 1, classes + 1, len(ROLES) + 1)]

    def count(group: Sequence[tuple[Window, Whole]]) -> list[Tallies]:
        counted = []
        for (window, whole), values in zip(group, _read(dataset, tile, group, found, truth), strict=True):
            there, place = _members(layout, whole, found.grid, window)
            sizes = [total.shape[1] for total in sums][: len(values)]
            pixels = zip(values, sizes, strict=True)
            counted.append([(there, _tally(place, len(there), part, size)) for part, size in pixels])
        return counted

    compute.run(count, layout.groups, done=lambda _, counted: _add(sums, counted), label=f"proportions of {tile}")
    mapped, labelled, role = sums
    for i, name in enumerate(layout.names):
        yield Unit(name, (tile,), *layout.places[i], mapped[i], labelled[i], role[i, : len(ROLES)])


def _read(
    dataset: Dataset, tile: str, group: Sequence[tuple[Window, Whole]], found: Raster, truth: Raster | None
) -> Iterator[list[NDArray[np.uint8]]]:
    """Of each window the map's classes and, where there are labels, these and their roles; each (y, x)."""
    with raster.reader(found, nodata="none") as pixels:
        values = [[pixels.read(window)[0]] for window, _ in group]
    if truth is not None:
        with raster.reader(truth, nodata="none") as pixels:
            for (window, _), read in zip(group, values, strict=True):
                label = pixels.read(window)[0]
                read += [label, np.where(label == IGNORE, IGNORE, roles(dataset.splits, tile, found.grid, window))]
    yield from values


def _members(layout: Layout, whole: Whole, grid: GeoBox, window: Window) -> tuple[Counts, Counts]:
    """The units that a window meets, and which of them each pixel (y, x) belongs to, -1 for none."""
    if layout.shapes is None:
        return np.array([whole]), np.zeros((window.height, window.width), np.int64)
    burnt = raster.burn(layout.shapes, window_grid(grid, window), all_touched=False, fill=0, dtype=np.uint32).astype(
        np.int64
    )
    there, place = np.unique(np.append(burnt, 0), return_inverse=True)
    return there[1:] - 1, place[:-1].reshape(burnt.shape) - 1


def _tally(place: Counts, units: int, values: NDArray[np.uint8], size: int) -> Counts:
    """Pixels of each value (unit, value); those that are not below `size` - 1, as 255, count in the last place."""
    held = place >= 0
    joint = place[held] * size + np.minimum(values, size - 1)[held]
    return np.bincount(joint, minlength=units * size).reshape(units, size)


def _add(sums: list[Counts], counted: list[Tallies]) -> None:
    for tallies in counted:
        for total, (whose, counts) in zip(sums, tallies, strict=False):
            total[whose] += counts


def _layout(dataset: Dataset, tile: str, grid: GeoBox) -> Layout:
    shape, unit = (int(grid.shape[0]), int(grid.shape[1])), dataset.proportions.unit
    if unit == "patch":
        cut = windows(shape, dataset.patches.size, dataset.patches.stride, dataset.patches.edge)
        rows = groupby(enumerate(cut), key=lambda entry: entry[1].row)
        groups = [[(box.within(shape), i) for i, box in row] for _, row in rows]
        return Layout([f"{tile}-r{box.row}-c{box.col}" for box in cut], [(box.row, box.col) for box in cut], groups)
    whole = [[(box, 0)] for box in blocks(shape, BLOCK, BLOCK)]
    if unit == "tile":
        return Layout([tile], [(None, None)], whole)
    names, shapes = _polygons(dataset, grid)
    return Layout(names, [(None, None)] * len(names), whole if names else [], shapes)


def _polygons(dataset: Dataset, grid: GeoBox) -> tuple[list[str], list[tuple[Any, int]]]:
    """Names of the polygons that meet a grid, each once; their geometries with the number of their name, from 1."""
    settings = dataset.proportions
    place = f"configs/datasets/{dataset.name}.yaml: proportions.polygons"
    path = inside(dataset.folder, str(settings.polygons), place)
    found = polygons.read(path, settings.layer, settings.id, grid, name=settings.id)
    number = {str(name): i for i, name in enumerate(dict.fromkeys(found.name), start=1)}
    return list(number), [(shape, number[str(name)]) for shape, name in zip(found.geometry, found.name, strict=True)]
