"""Zonal class histograms: the pixels of every class in each patch, tile or polygon of a dataset's maps and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import compute, raster
from landcover_orch.config import Dataset, file_label, inside
from landcover_orch.errors import GridError, Problem
from landcover_orch.grid import Window, blocks, window_grid, windows
from landcover_orch.labels import polygons
from landcover_orch.legend import IGNORE
from landcover_orch.patches.splits import ROLES, roles
from landcover_orch.raster import Raster

BLOCK = 2048
"""Side of the blocks that are read at a time, in pixels: a multiple of the rasters' own."""

Counts = NDArray[np.int64]
UnitIndex = int
"""The unit that all pixels of a window belong to."""

Histograms = list[tuple[Counts, Counts]]
"""Units, and of each the pixels of every value (unit, value): of the map, of the labels, of the labels' roles."""


@dataclass(frozen=True)
class Unit:
    """A patch, tile or polygon, and its pixels.

    `mapped` counts the map's pixels of each class, and last those without; `labelled` likewise those of the ground
    truth; `roles` its labelled pixels by role (see `patches.splits`). `tiles` are those it lies on; `row` and `col` the
    upper left corner of a patch in its tile, in pixels.
    """

    name: str
    tiles: tuple[str, ...]
    row: int | None
    col: int | None
    mapped: Counts
    labelled: Counts
    roles: Counts

    def __add__(self, other: Unit) -> Unit:
        """Sum of both parts of a polygon that lies on several tiles."""
        tiles = (*self.tiles, *other.tiles)
        counts = (self.mapped + other.mapped, self.labelled + other.labelled, self.roles + other.roles)
        return Unit(self.name, tiles, self.row, self.col, *counts)


@dataclass(frozen=True)
class Layout:
    """Zones of a tile: names of its units, the row and column of patches, and the windows that are read in turn.

    Each window has the unit that it belongs to; where there are `shapes` (geometry, unit), its pixels have theirs.
    """

    names: list[str]
    corners: list[tuple[int | None, int | None]]
    groups: list[list[tuple[Window, UnitIndex]]]
    shapes: list[tuple[Any, int]] | None = None

    @classmethod
    def of_tile(cls, dataset: Dataset, tile: str, grid: GeoBox) -> Layout:
        """The zones of a tile that `dataset.proportions` asks for.

        Raises:
            LabelError: the file of polygons cannot be read.
        """
        shape, unit = (int(grid.shape[0]), int(grid.shape[1])), dataset.proportions.unit
        if unit == "patch":
            patches = windows(shape, dataset.patches.size, dataset.patches.stride, dataset.patches.edge)
            rows = groupby(enumerate(patches), key=lambda entry: entry[1].row)
            groups = [[(box.within(shape), i) for i, box in row] for _, row in rows]
            names = [f"{tile}-r{box.row}-c{box.col}" for box in patches]
            return cls(names, [(box.row, box.col) for box in patches], groups)
        tile_blocks = [[(box, 0)] for box in blocks(shape, BLOCK, BLOCK)]
        if unit == "tile":
            return cls([tile], [(None, None)], tile_blocks)
        names, shapes = polygon_shapes(dataset, grid)
        return cls(names, [(None, None)] * len(names), tile_blocks if names else [], shapes)

    def rasterise(self, unit: UnitIndex, grid: GeoBox, window: Window) -> tuple[Counts, Counts]:
        """Rasterised zones of a window: its units, and which of these each pixel (y, x) belongs to, -1 for none."""
        if self.shapes is None:
            return np.array([unit]), np.zeros((window.height, window.width), np.int64)
        zones = raster.burn(self.shapes, window_grid(grid, window), all_touched=False, fill=0, dtype=np.uint32).astype(
            np.int64
        )
        numbers, index = np.unique(np.append(zones, 0), return_inverse=True)
        return numbers[1:] - 1, index[:-1].reshape(zones.shape) - 1


def units(dataset: Dataset, classes: int, maps: Mapping[str, Raster], labels: Mapping[str, Raster]) -> list[Unit]:
    """Zonal histograms of a dataset's maps, tile by tile; where tiles overlap, each of them counts.

    Args:
        dataset: says what a unit is.
        classes: how many the legend has.
        maps: tile -> its class raster.
        labels: tile -> its ground truth, of tiles that have one.

    Raises:
        GridError: a map does not lie on its labels' grid.
        LabelError: the file of polygons cannot be read, or tiles have no CRS to lay them on.
    """
    named: dict[str, Unit] = {}
    for tile in sorted(maps):
        for unit in tile_units(dataset, classes, tile, maps[tile], labels.get(tile)):
            named[unit.name] = named[unit.name] + unit if unit.name in named else unit
    return list(named.values())


def tile_units(dataset: Dataset, classes: int, tile: str, mapped: Raster, truth: Raster | None) -> Iterator[Unit]:
    """Zonal histograms of one tile.

    Raises:
        GridError: the map does not lie on its labels' grid.
    """
    if truth is not None and truth.grid != mapped.grid:
        fix = "materialise `ground_truth` and the map again"
        raise GridError(Problem(str(mapped.path), "another grid than its labels'", f"the grid of {truth.path}", fix))
    layout = Layout.of_tile(dataset, tile, mapped.grid)
    sums = [np.zeros((len(layout.names), size), np.int64) for size in (classes + 1, classes + 1, len(ROLES) + 1)]

    def count(group: Sequence[tuple[Window, UnitIndex]]) -> list[Histograms]:
        counted = []
        for (window, unit), values in zip(group, read_group(dataset, tile, group, mapped, truth), strict=True):
            numbers, index = layout.rasterise(unit, mapped.grid, window)
            sizes = [total.shape[1] for total in sums][: len(values)]
            pixels = zip(values, sizes, strict=True)
            counted.append([(numbers, zonal_histogram(index, len(numbers), part, size)) for part, size in pixels])
        return counted

    def add(_: object, counted: list[Histograms]) -> None:
        for histograms in counted:
            for total, (numbers, counts) in zip(sums, histograms, strict=False):
                total[numbers] += counts

    compute.run(count, layout.groups, done=add, label=f"proportions of {tile}")
    classes_mapped, classes_labelled, role = sums
    for i, name in enumerate(layout.names):
        counts = (classes_mapped[i], classes_labelled[i], role[i, : len(ROLES)])
        yield Unit(name, (tile,), *layout.corners[i], *counts)


def read_group(
    dataset: Dataset, tile: str, group: Sequence[tuple[Window, UnitIndex]], mapped: Raster, truth: Raster | None
) -> Iterator[list[NDArray[np.uint8]]]:
    """Classes of each window on the map and, where there are labels, these and their roles; each (y, x)."""
    with raster.reader(mapped, nodata="none") as pixels:
        values = [[pixels.read(window)[0]] for window, _ in group]
    if truth is not None:
        with raster.reader(truth, nodata="none") as pixels:
            for (window, _), read in zip(group, values, strict=True):
                label = pixels.read(window)[0]
                read += [label, np.where(label == IGNORE, IGNORE, roles(dataset.splits, tile, mapped.grid, window))]
    yield from values


def zonal_histogram(index: Counts, units: int, values: NDArray[np.uint8], size: int) -> Counts:
    """Zonal histogram (unit, value); values that are not below `size` - 1, as 255, count in the last column.

    Args:
        index: (y, x) unit of each pixel, -1 for none.
        units: how many there are.
        values: (y, x).
        size: columns.
    """
    inside_units = index >= 0
    joint = index[inside_units] * size + np.minimum(values, size - 1)[inside_units]
    return np.bincount(joint, minlength=units * size).reshape(units, size)


def polygon_shapes(dataset: Dataset, grid: GeoBox) -> tuple[list[str], list[tuple[Any, int]]]:
    """Polygons on a grid: their names, each once, and their geometries with the number of their name, from 1."""
    settings = dataset.proportions
    where = f"{file_label('datasets', dataset.name)}: proportions.polygons"
    path = inside(dataset.folder, str(settings.polygons), where)
    features = polygons.read(path, settings.layer, settings.id, grid, name=settings.id)
    number = {str(name): i for i, name in enumerate(dict.fromkeys(features.name), start=1)}
    shapes = zip(features.geometry, features.name, strict=True)
    return list(number), [(shape, number[str(name)]) for shape, name in shapes]
