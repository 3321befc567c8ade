"""Label rasters that tell each pixel's covers in components: a raster of covers, one of percentages, a table of values.

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
from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import Window, crs_name
from landcover_orch.labels import composites, rasters
from landcover_orch.labels.codes import Coding, Stray, Strip, as_code, unknown_codes
from landcover_orch.labels.composites import Decision, Parts
from landcover_orch.legend import Legend
from landcover_orch.raster import Raster, Reader, inspect, reader
from landcover_orch.tiles.imagery import placed
from landcover_orch.tiles.tile import Component, Tile

GEOTIFF = (".tif", ".tiff")

TOLERANCE = 1.0
"""Percent by which rounded percentages of a pixel may miss 100."""

COUNTED = 2**20
"""Whole numbers below this are told apart by counting them."""

LISTED = 20
"""Faulty combinations that one error names."""


def require_place(dataset: Dataset, tile: Tile, label: Path, image: Raster) -> None:
    """Raises LabelError where the components of a tile do not lie pixel by pixel on its orthophoto's grid."""
    place = open_raster(label)
    rasters.require_grid(placed(dataset, place, image), image.grid)
    wrong = misfits(tile, place)
    if wrong:
        raise LabelError(*wrong)


Covers = tuple[tuple[str, float], ...]
"""Covers of a pixel and the percentage of each, those of 0 % left out."""


class Met(NamedTuple):
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
    """The components of one tile, and what was met in them so far: pixels by the sum of their percentages."""

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
        return tuple(_told(covers) for covers in self._known)

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
        for window, which, met in self._read(windows):
            numbers = np.empty(len(met), np.uint16)
            for i in sorted(range(len(met)), key=lambda i: met[i].first):
                numbers[i] = self._number(met[i])
            yield numbers[which].reshape(window.height, window.width)
        self._require_sound()

    def numbered(self, windows: Sequence[Window]) -> Iterator[NDArray[np.uint32]]:
        """The number of each pixel's combination (y, x) in windows that `strips` has read; 0 where it has no cover.

        Where nobody drew polygons, all pixels of one combination are one: what is declared of them is the same.
        """
        for window, which, met in self._read(windows):
            numbers = [self._known[found.covers].number if found.covers else 0 for found in met]
            yield np.array(numbers, np.uint32)[which].reshape(window.height, window.width)

    def _read(self, windows: Sequence[Window]) -> Iterator[tuple[Window, NDArray[np.intp], list[Met]]]:
        """Of each window the combinations that are met in it, and which of them each pixel has."""
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
                values, which, first, counts = _combinations(_bands(pairs, window))
                met = []
                for row, at, count in zip(values, first.tolist(), counts.tolist(), strict=True):
                    position = f"row {window.row + at // window.width}, col {window.col + at % window.width}"
                    met.append(Met(self._covers(row, pairs, tables, position, count), at, position, count))
                yield window, which, met

    def _reader(self, stack: ExitStack, path: Path, names: Container[float] | None) -> Reader:
        """An open raster, whose nodata is a value like any other where it is among `names`, or those of the legend."""
        found = open_raster(path)
        named = as_code(found.nodata) in self.legend.codes if names is None else found.nodata in names
        return stack.enter_context(reader(found, nodata="none" if named else "file"))

    def _covers(
        self,
        row: Sequence[float],
        pairs: Sequence[Any],
        tables: Sequence[dict[float, str] | None],
        position: str,
        count: int,
    ) -> Covers:
        left = list(row)
        found = []
        for (_, percent), names in zip(pairs, tables, strict=True):
            value = left.pop(0)
            cover = (as_code(value) or "") if names is None or np.isnan(value) else names.get(value)
            if cover is None:
                _note(self._faults, f"value {value:g} that its table lacks", position, count)
                cover = ""
            share = left.pop(0) if percent else 100.0 * bool(cover)
            if share or not np.isfinite(share):
                found.append((cover, share))
        return tuple(found)

    def _number(self, met: Met) -> int:
        """The code number of a combination; that of no label where there is none, or a fault, which is noted."""
        total = sum(share for _, share in met.covers)
        self.sums[total] = self.sums.get(total, 0) + met.pixels
        if not met.covers:
            return self.coding.unlabelled
        if met.covers not in self._known:
            if not self._sound(met, total):
                return self.coding.unlabelled
            decision = composites.decide(_merged(met.covers, total), self.legend)
            code = self.coding.codes.index(decision.code)
            self._known[met.covers] = Combination(len(self._known) + 1, decision, code)
        return self._known[met.covers].code

    def _sound(self, met: Met, total: float) -> bool:
        """Whether a combination can be decided on; if not, why not is noted."""
        named = all(cover for cover, _ in met.covers)
        if not named or not abs(total - 100) <= TOLERANCE or any(share < 0 for _, share in met.covers):
            _note(self._faults, f"{_told(met.covers)}: {total:g} % in all", met.position, met.pixels)
            return False
        strange = composites.unknown((cover for cover, _ in met.covers), self.legend)
        for cover in dict.fromkeys(strange):
            _note(self._strays, cover, met.position, met.pixels)
        return not strange

    def _require_sound(self) -> None:
        where = str(self.files[0].code)
        if self._strays:
            raise unknown_codes(where, "pixels", self._strays.values(), self.legend)
        worst = sorted(self._faults.values(), key=lambda fault: -fault.count)[:LISTED]
        if worst:
            fix = "correct the rasters, or the order of `labels.components`"
            expected = "covers of the tables that sum to 100 %, or none"
            raise LabelError(
                *(Problem(where, f"{f.code} in {f.count} pixels, first at {f.first}", expected, fix) for f in worst)
            )


def _told(covers: Covers) -> str:
    return ", ".join(f"{share:g} % {cover or '(blank)'}" for cover, share in covers)


def _note(met: dict[str, Stray], what: str, position: str, count: int) -> None:
    known = met.get(what, Stray(what, 0, position))
    met[what] = Stray(what, known.count + count, known.first)


def _bands(pairs: Sequence[Any], window: Window) -> list[NDArray[Any]]:
    """The covers and, where there are any, the percentages of each component (pixel); NaN where a file has no data.

    Where neither has data the percentage is 0; where a cover has, a percentage from 0 to 100 counts even if the file
    calls it nodata.
    """
    bands = []
    for code, percent in pairs:
        covers, bare = _values(code, window)
        bands.append(np.where(bare, np.nan, covers) if bare.any() else covers)
        if percent:
            shares, untold = _values(percent, window)
            untold &= bare | ~((shares >= 0) & (shares <= 100))
            bands.append(np.where(untold, np.where(bare, 0, np.nan), shares) if untold.any() else shares)
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
    """A number for each pixel, in the order of the values, and how many there are; whole numbers need no sorting."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.intp)
    if whole.size and int(whole.min()) >= 0 and int(whole.max()) < COUNTED and np.array_equal(whole, values):
        present = np.bincount(whole) > 0
        return (np.cumsum(present) - 1)[whole], int(present.sum())
    different, number = np.unique(values, return_inverse=True)
    return number, different.size


def _merged(covers: Covers, total: float) -> Parts:
    merged: dict[str, float] = {}
    for cover, percent in covers:
        merged[cover] = merged.get(cover, 0.0) + percent / total
    return tuple(merged.items())


def open_raster(path: Path) -> Raster:
    """What a component's raster says of itself: GeoTIFF by its ending, else ENVI.

    Raises:
        RasterError: it is neither, or cut short.
    """
    return inspect(path, "GTiff" if path.suffix.lower() in GEOTIFF else "ENVI")


def misfits(tile: Tile, place: Raster) -> list[Problem]:
    """The components of a tile that are not one band on the grid of the raster that says where they lie.

    A component may say nothing of its place, but then it must have that raster's shape.
    """
    paths = [path for part in tile.components for path in (part.code, part.percent) if path]
    expected = f"one band of {place.shape[0]} x {place.shape[1]} px on the grid of {place.path.name}"
    fix = "correct `labels.components` or `tiles.label`"
    return [
        Problem(
            str(path), f"{found.count} bands of {found.shape[0]} x {found.shape[1]} px{_where(found)}", expected, fix
        )
        for path in paths
        if not _fits(found := open_raster(path), place)
    ]


def _fits(found: Raster, place: Raster) -> bool:
    return found.count == 1 and found.shape == place.shape and (found.crs is None or found.grid == place.grid)


def _where(found: Raster) -> str:
    return (
        ""
        if found.crs is None
        else f" from {found.grid.affine.c:.1f}, {found.grid.affine.f:.1f} in {crs_name(found.grid)}"
    )


def table(path: Path | None) -> dict[float, str] | None:
    """Value -> cover of a text file with lines 'cover,value'; the cover may be blank. None without a file.

    Raises:
        LabelError: no text of UTF-8, lines that are no such pair, or a value that stands there twice; all of them.
    """
    if path is None:
        return None
    found: dict[float, str] = {}
    problems = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        cover, mark, value = line.rpartition(",")
        if not line.strip():
            continue
        if not mark or not _is_number(value) or float(value) in found:
            fix = "correct the line"
            problems.append(Problem(f"{path}:{number}", repr(line), "'cover,value', each value once", fix))
            continue
        found[float(value)] = cover.strip()
    if problems:
        raise LabelError(*problems)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(Problem(str(path), str(error), "a text in UTF-8", "convert it, or correct the key")) from error


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
