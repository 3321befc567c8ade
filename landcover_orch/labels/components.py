"""Component rasters: each pixel's covers in a raster of covers, one of percentages and a table of values for each.

Values differ between the tables of one data set: each raster is read by its own. A blank cover is none.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError, Problem, pluralise
from landcover_orch.grid import Window, crs_name
from landcover_orch.labels import composites, rasters
from landcover_orch.labels.codes import Coding, Decision, Stray, Strip, as_code, unknown_codes
from landcover_orch.legend import Legend
from landcover_orch.raster import Raster, Reader, inspect, reader
from landcover_orch.tiles.imagery import placed
from landcover_orch.tiles.tile import Component, Tile

GEOTIFF = (".tif", ".tiff")

TOLERANCE = 1.0
"""Percent by which rounded percentages of a pixel may miss 100."""

MAX_COUNTED = 2**20
"""Integers below this are distinguished by counting them, which needs no sorting."""

LISTED = 20
"""Faulty combinations that one error names."""


def require_alignment(dataset: Dataset, tile: Tile, label: Path, image: Raster) -> None:
    """Raises LabelError where the components of a tile do not lie pixel by pixel on its orthophoto's grid."""
    reference = open_raster(label)
    rasters.require_grid(placed(dataset, reference, image), image.grid)
    problems = misfits(tile, reference)
    if problems:
        raise LabelError(*problems)


Covers = tuple[tuple[str, float], ...]
"""Covers of a pixel and the percentage of each, those of 0 % left out."""


class Occurrence(NamedTuple):
    """A combination of covers in a window: its first pixel, counted row by row, where that is, and how many have it."""

    covers: Covers
    first: int
    position: str
    pixels: int


class Combination(NamedTuple):
    """Covers that some pixels share: their number (1, 2, ... in the order of the first pixels), and the decision."""

    number: int
    decision: Decision
    code: int


@dataclass
class Components:
    """The component rasters of one tile; `sums` counts the pixels read so far by the sum of their percentages."""

    files: Sequence[Component]
    legend: Legend
    coding: Coding
    sums: dict[float, int] = field(default_factory=dict)
    _known: dict[Covers, Combination] = field(default_factory=dict)
    _faults: dict[str, Stray] = field(default_factory=dict)
    _strays: dict[str, Stray] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """What each combination is called, in the order of their numbers: its covers."""
        return tuple(_listed(covers) for covers in self._known)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decision on each combination, in the order of their numbers."""
        return tuple(known.decision for known in self._known.values())

    def strips(self, windows: Sequence[Window]) -> Iterator[Strip]:
        """Code numbers (y, x) of each window: the decision on each pixel, as `composites.coding` numbers it.

        Raises:
            LabelError: after the last window, every combination whose percentages sum to neither 0 nor 100, or that
                has a value its table lacks.
            UnknownCodeError: after the last window, every cover that the legend lacks.
        """
        for window, which, occurrences in self._read(windows):
            numbers = np.empty(len(occurrences), np.uint16)
            for i in sorted(range(len(occurrences)), key=lambda i: occurrences[i].first):
                numbers[i] = self.number(occurrences[i])
            yield numbers[which].reshape(window.height, window.width)
        self.require_valid()

    def numbered(self, windows: Sequence[Window]) -> Iterator[NDArray[np.uint32]]:
        """The number of each pixel's combination (y, x) in windows that `strips` has read; 0 where it has no cover.

        Where nobody drew polygons, all pixels of one combination are one: what is declared of them is the same.
        """
        for window, which, occurrences in self._read(windows):
            numbers = [self._known[entry.covers].number if entry.covers else 0 for entry in occurrences]
            yield np.array(numbers, np.uint32)[which].reshape(window.height, window.width)

    def _read(self, windows: Sequence[Window]) -> Iterator[tuple[Window, NDArray[np.intp], list[Occurrence]]]:
        """Of each window the combinations that occur in it, and which of them each pixel has."""
        tables = [table(component.table) for component in self.files]
        with ExitStack() as stack:
            pairs = [
                (
                    self._reader(stack, component.code, names),
                    component.percent and self._reader(stack, component.percent, ()),
                )
                for component, names in zip(self.files, tables, strict=True)
            ]
            for window in windows:
                values, which, first, counts = _combinations(read_bands(pairs, window))
                occurrences = []
                for row, at, count in zip(values, first.tolist(), counts.tolist(), strict=True):
                    position = f"row {window.row + at // window.width}, col {window.col + at % window.width}"
                    covers = self.covers(row, pairs, tables, position, count)
                    occurrences.append(Occurrence(covers, at, position, count))
                yield window, which, occurrences

    def _reader(self, stack: ExitStack, path: Path, names: Container[float] | None) -> Reader:
        """An open raster, whose nodata is a value like any other where it is among `names`, or those of the legend."""
        raster = open_raster(path)
        named = as_code(raster.nodata) in self.legend.codes if names is None else raster.nodata in names
        return stack.enter_context(reader(raster, nodata="none" if named else "file"))

    def covers(
        self,
        row: Sequence[float],
        pairs: Sequence[Any],
        tables: Sequence[dict[float, str] | None],
        position: str,
        count: int,
    ) -> Covers:
        """The covers that a combination of values stands for; values that their table lacks are noted."""
        left = list(row)
        covers = []
        for (_, percent), names in zip(pairs, tables, strict=True):
            value = left.pop(0)
            cover = (as_code(value) or "") if names is None or np.isnan(value) else names.get(value)
            if cover is None:
                _note(self._faults, f"value {value:g} that its table lacks", position, count)
                cover = ""
            percentage = left.pop(0) if percent else 100.0 * bool(cover)
            if percentage or not np.isfinite(percentage):
                covers.append((cover, percentage))
        return tuple(covers)

    def number(self, occurrence: Occurrence) -> int:
        """The code number of a combination; that of no label where there is none, or a fault, which is noted."""
        covers, total = occurrence.covers, sum(percentage for _, percentage in occurrence.covers)
        self.sums[total] = self.sums.get(total, 0) + occurrence.pixels
        if not covers:
            return self.coding.unlabelled
        if covers not in self._known:
            if not self.decidable(occurrence, total):
                return self.coding.unlabelled
            merged: dict[str, float] = {}
            for cover, percentage in covers:
                merged[cover] = merged.get(cover, 0.0) + percentage / total
            decision = composites.decide(tuple(merged.items()), self.legend)
            code = self.coding.codes.index(decision.code)
            self._known[covers] = Combination(len(self._known) + 1, decision, code)
        return self._known[covers].code

    def decidable(self, occurrence: Occurrence, total: float) -> bool:
        """Whether a combination can be decided on; if not, why not is noted."""
        covers, position, pixels = occurrence.covers, occurrence.position, occurrence.pixels
        named = all(cover for cover, _ in covers)
        if not named or not abs(total - 100) <= TOLERANCE or any(percentage < 0 for _, percentage in covers):
            _note(self._faults, f"{_listed(covers)}: {total:g} % in all", position, pixels)
            return False
        unknown = composites.unknown((cover for cover, _ in covers), self.legend)
        for cover in dict.fromkeys(unknown):
            _note(self._strays, cover, position, pixels)
        return not unknown

    def require_valid(self) -> None:
        """Raises UnknownCodeError or LabelError where covers or faults were noted."""
        where = str(self.files[0].code)
        if self._strays:
            raise unknown_codes(where, "pixel", self._strays.values(), self.legend)
        worst = sorted(self._faults.values(), key=lambda fault: -fault.count)[:LISTED]
        if worst:
            fix = "correct the rasters, or the order of `labels.components`"
            expected = "covers of the tables that sum to 100 %, or none"
            raise LabelError(
                *(
                    Problem(where, f"{f.code} in {pluralise(f.count, 'pixel')}, first at {f.first}", expected, fix)
                    for f in worst
                )
            )


def _listed(covers: Covers) -> str:
    return ", ".join(f"{percentage:g} % {cover or '(blank)'}" for cover, percentage in covers)


def _note(strays: dict[str, Stray], what: str, position: str, count: int) -> None:
    known = strays.get(what, Stray(what, 0, position))
    strays[what] = Stray(what, known.count + count, known.first)


def read_bands(pairs: Sequence[Any], window: Window) -> list[NDArray[Any]]:
    """The covers and, where there are any, the percentages of each component (pixel); NaN where a file has no data.

    Where neither has data the percentage is 0; where a cover has, a percentage from 0 to 100 counts even if the file
    calls it nodata.
    """
    bands = []
    for code, percent in pairs:
        covers, bare = _values(code, window)
        bands.append(np.where(bare, np.nan, covers) if bare.any() else covers)
        if percent:
            percentages, unknown = _values(percent, window)
            unknown &= bare | ~((percentages >= 0) & (percentages <= 100))
            bands.append(np.where(unknown, np.where(bare, 0, np.nan), percentages) if unknown.any() else percentages)
    return bands


def _values(source: Reader, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of a window (pixel), and where they are no data."""
    data = source.read(window)
    return data[0].reshape(-1), ~source.valid(window, data).reshape(-1)


def _combinations(
    bands: Sequence[NDArray[Any]],
) -> tuple[list[tuple[float, ...]], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The different combinations of values, the number of each pixel's, and of each the first pixel and the count."""
    which = np.zeros(bands[0].size, np.intp)
    for band in bands:
        of_band, values = _numbered(band)
        which, _ = _numbered(which * values + of_band)
    first = np.empty(int(which.max(initial=-1)) + 1, np.intp)
    first[which[::-1]] = np.arange(which.size - 1, -1, -1)  # the last that is written stays: the first pixel
    counts = np.bincount(which, minlength=first.size)
    return [tuple(float(band[i]) for band in bands) for i in first], which, first, counts


def _numbered(values: NDArray[Any]) -> tuple[NDArray[np.intp], int]:
    """A number for each pixel, in the order of the values, and how many there are; integers need no sorting."""
    with np.errstate(invalid="ignore"):
        integers = values.astype(np.intp)
    small = integers.size and int(integers.min()) >= 0 and int(integers.max()) < MAX_COUNTED
    if small and np.array_equal(integers, values):
        present = np.bincount(integers) > 0
        return (np.cumsum(present) - 1)[integers], int(present.sum())
    different, number = np.unique(values, return_inverse=True)
    return number, different.size


def open_raster(path: Path) -> Raster:
    """The metadata of a component's raster: GeoTIFF by its ending, else ENVI.

    Raises:
        RasterError: it is neither, or cut short.
    """
    return inspect(path, "GTiff" if path.suffix.lower() in GEOTIFF else "ENVI")


def misfits(tile: Tile, reference: Raster) -> list[Problem]:
    """The components of a tile that are not one band on the grid of the raster that says where they lie.

    A component may be without a CRS, but then it must have that raster's shape.
    """
    expected = f"one band of {reference.shape[0]} x {reference.shape[1]} px on the grid of {reference.path.name}"
    fix = "correct `labels.components` or `tiles.label`"
    problems = []
    for path in (path for part in tile.components for path in (part.code, part.percent) if path):
        raster = open_raster(path)
        grid = raster.grid
        if raster.count == 1 and raster.shape == reference.shape and (raster.crs is None or grid == reference.grid):
            continue
        origin = "" if raster.crs is None else f" from {grid.affine.c:.1f}, {grid.affine.f:.1f} in {crs_name(grid)}"
        actual = f"{pluralise(raster.count, 'band')} of {raster.shape[0]} x {raster.shape[1]} px{origin}"
        problems.append(Problem(str(path), actual, expected, fix))
    return problems


def table(path: Path | None) -> dict[float, str] | None:
    """Value -> cover of a text file with lines 'cover,value'; the cover may be blank. None without a file.

    Raises:
        LabelError: no text of UTF-8, lines that are no such pair, or a value that stands there twice; all of them.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(Problem(str(path), str(error), "a text in UTF-8", "convert it, or correct the key")) from error
    covers: dict[float, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), start=1):
        cover, mark, value = line.rpartition(",")
        if not line.strip():
            continue
        if not mark or not is_finite_number(value) or float(value) in covers:
            fix = "correct the line"
            problems.append(Problem(f"{path}:{number}", repr(line), "'cover,value', each value once", fix))
            continue
        covers[float(value)] = cover.strip()
    if problems:
        raise LabelError(*problems)
    return covers


def is_finite_number(text: str) -> bool:
    """Whether a text is a number, and neither NaN nor infinite."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
