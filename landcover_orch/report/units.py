"""What class proportions are counted over: each patch, tile or polygon, and the pixels of every class in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import compute, raster
from landcover_orch.config import Dataset, inside
from landcover_orch.errors import GridError, Problem
from landcover_orch.grid import Window, blocks, crop, windows
from landcover_orch.ground_truth import polygons
from landcover_orch.patches.splits import ROLES, roles
from landcover_orch.raster import Raster

BLOCK = 2048
"""Side of the blocks that are read at a time, in pixels: a multiple of the rasters' own."""

VALUES = 256
NOWHERE = -1

Counts = NDArray[np.int64]
Members = tuple[Window, NDArray[np.int64] | int]
"""A window, and to which unit each of its pixels (y, x) belongs, NOWHERE for none; or the one unit of them all."""


@dataclass(frozen=True)
class Unit:
    """A piece of ground and its pixels, each array by value of the class raster (256,).

    `mapped` counts the map's pixels, 255 where it has no class; `labelled` those of the ground truth; `roles` its
    labelled pixels by role (see `patches.splits`). `tiles` are those it lies on; `row` and `col` a patch's place.
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


def units(dataset: Dataset, maps: Mapping[str, Raster], labels: Mapping[str, Raster]) -> list[Unit]:
    """The units of a dataset's maps, tile by tile; ground where tiles overlap counts in each of them.

    Args:
        dataset: says what a unit is.
        maps: tile -> its class raster.
        labels: tile -> its ground truth, of tiles that have one.

    Raises:
        GridError: a map does not lie on its labels' grid.
        LabelError: the file of polygons cannot be read, or tiles have no CRS to lay them on.
    """
    found: dict[str, Unit] = {}
    for tile in sorted(maps):
        for unit in _of_tile(dataset, tile, maps[tile], labels.get(tile)):
            found[unit.name] = found[unit.name] + unit if unit.name in found else unit
    return list(found.values())


def _of_tile(dataset: Dataset, tile: str, found: Raster, truth: Raster | None) -> Iterator[Unit]:
    if truth is not None and truth.grid != found.grid:
        fix = "materialise `ground_truth` and the map again"
        raise GridError(Problem(str(found.path), "another grid than its labels'", f"the grid of {truth.path}", fix))
    names, places, members = _layout(dataset, tile, found.grid)

    def count(part: Members) -> list[tuple[NDArray[np.int64], Counts]]:
        window, whose = part
        with raster.reader(found, nodata="none") as source:
            pixels = [_tally(whose, source.read(window)[0], VALUES)]
        if truth is not None:
            with raster.reader(truth, nodata="none") as source:
                label = source.read(window)[0]
            role = np.where(label == VALUES - 1, len(ROLES), roles(dataset.splits, tile, found.grid, window))
            pixels += [_tally(whose, label, VALUES), _tally(whose, role, len(ROLES) + 1)]
        return pixels

    sums = [np.zeros((len(names), size), np.int64) for size in (VALUES, VALUES, len(ROLES) + 1)]
    compute.run(count, members, done=lambda _, pixels: _add(sums, pixels), label=f"proportions of {tile}")
    mapped, labelled, role = sums
    for i, name in enumerate(names):
        yield Unit(name, (tile,), *places[i], mapped[i], labelled[i], role[i, : len(ROLES)])


def _add(sums: list[Counts], pixels: list[tuple[NDArray[np.int64], Counts]]) -> None:
    for total, (whose, counts) in zip(sums, pixels, strict=False):
        total[whose] += counts


def _tally(whose: NDArray[np.int64] | int, values: NDArray[Any], size: int) -> tuple[NDArray[np.int64], Counts]:
    """The units that a window holds, and the pixels of each value (unit, value) in each of them."""
    if isinstance(whose, int):
        return np.array([whose]), np.bincount(values.reshape(-1), minlength=size)[None]
    held = whose != NOWHERE
    there, place = np.unique(whose[held], return_inverse=True)
    joint = np.bincount(place * size + values[held], minlength=len(there) * size)
    return there, joint.reshape(len(there), size)


def _layout(
    dataset: Dataset, tile: str, grid: GeoBox
) -> tuple[list[str], list[tuple[int | None, int | None]], list[Members]]:
    """Names of a tile's units, the row and column of those that have one, and which pixels are whose."""
    shape, unit = (int(grid.shape[0]), int(grid.shape[1])), dataset.proportions.unit
    if unit == "patch":
        cut = windows(shape, dataset.patches.size, dataset.patches.stride, dataset.patches.edge)
        names = [f"{tile}-r{box.row}-c{box.col}" for box in cut]
        parts: list[Members] = [(box.within(shape), i) for i, box in enumerate(cut)]
        return names, [(box.row, box.col) for box in cut], parts
    whole = blocks(shape, BLOCK, BLOCK)
    if unit == "tile":
        return [tile], [(None, None)], [(box, 0) for box in whole]
    names, shapes = _polygons(dataset, grid)
    burnt = [(box, _burn(shapes, crop(grid, box))) for box in whole]
    return names, [(None, None)] * len(names), [part for part in burnt if (part[1] != NOWHERE).any()]


def _polygons(dataset: Dataset, grid: GeoBox) -> tuple[list[str], list[tuple[Any, int]]]:
    """Names of the polygons that meet a grid, each once, and their geometries with the number of their name."""
    settings = dataset.proportions
    place = f"configs/datasets/{dataset.name}.yaml: proportions.polygons"
    path = inside(dataset.folder, str(settings.polygons), place)
    found = polygons.read(path, settings.layer, settings.id, grid, name=settings.id)
    names = list(dict.fromkeys(str(name) for name in found.name))
    number = {name: i for i, name in enumerate(names)}
    return names, [(shape, number[str(name)]) for shape, name in zip(found.geometry, found.name, strict=True)]


def _burn(shapes: list[tuple[Any, int]], grid: GeoBox) -> NDArray[np.int64]:
    """The polygon (y, x) at each pixel's centre, the later of two that overlap."""
    burnt = raster.burn([(shape, i + 1) for shape, i in shapes], grid, all_touched=False, fill=0, dtype=np.uint32)
    return burnt.astype(np.int64) - 1
