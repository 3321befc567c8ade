"""Label rasters that tell each pixel's covers in components: a raster of covers, one of percentages, a table of values.

Values differ between the tables of one data set: each raster is read by its own. A blank cover is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import Window
from landcover_orch.ground_truth import composites, label_rasters
from landcover_orch.ground_truth.codes import Coding, Stray, Strip, as_code, unknown_codes
from landcover_orch.ground_truth.composites import Parts
from landcover_orch.legend import Legend
from landcover_orch.raster import Raster, Reader, reader
from landcover_orch.raw.catalogue import Component, Tile
from landcover_orch.raw.components import misfits, open_raster, table
from landcover_orch.raw.imagery import placed

TOLERANCE = 1.0
"""Percent by which rounded percentages of a pixel may miss 100."""

COUNTED = 2**20
"""Whole numbers below this are told apart by counting them."""

LISTED = 20
"""Faulty combinations that one error names."""


def require_place(dataset: Dataset, tile: Tile, label: Path, image: Raster) -> None:
    """Raises LabelError where the components of a tile do not lie pixel by pixel on its orthophoto's grid."""
    place = open_raster(label)
    label_rasters.require_grid(placed(dataset, place, image), image.grid)
    wrong = misfits(tile, place)
    if wrong:
        raise LabelError(*wrong)


@dataclass
class Components:
    """The components of one tile, and what was met in them so far: pixels by the sum of their percentages."""

    files: Sequence[Component]
    legend: Legend
    coding: Coding
    sums: dict[float, int] = field(default_factory=dict)
    _known: dict[tuple[tuple[str, float], ...], int] = field(default_factory=dict)
    _faults: dict[str, Stray] = field(default_factory=dict)
    _strays: dict[str, Stray] = field(default_factory=dict)

    def strips(self, windows: Sequence[Window]) -> Iterator[Strip]:
        """Code numbers (y, x) of each window: the decision on each pixel, as `composites.coding` numbers it.

        Raises:
            LabelError: after the last window, every combination whose percentages sum to neither 0 nor 100, or that
                has a value its table lacks.
            UnknownCodeError: after the last window, every cover that the legend lacks.
        """
        tables = [table(component.table) for component in self.files]
        with ExitStack() as stack:
            pairs = [
                (_reader(stack, component.code), component.percent and _reader(stack, component.percent))
                for component in self.files
            ]
            for window in windows:
                yield self._strip(window, pairs, tables)
        self._require_sound()

    def _strip(self, window: Window, pairs: Sequence[Any], tables: Sequence[dict[float, str] | None]) -> Strip:
        bands: list[NDArray[Any]] = []
        for code, percent in pairs:
            bands.append(code.read(window)[0].reshape(-1))
            if percent:
                bands.append(percent.read(window)[0].reshape(-1))
        values, which, first, counts = _combinations(bands)
        numbers = np.empty(len(values), np.uint16)
        for i, row in enumerate(values):
            position = f"row {window.row + first[i] // window.width}, col {window.col + first[i] % window.width}"
            covers = self._covers(row, pairs, tables, position, int(counts[i]))
            numbers[i] = self._number(covers, position, int(counts[i]))
        return numbers[which].reshape(window.height, window.width)

    def _covers(
        self,
        row: Sequence[float],
        pairs: Sequence[Any],
        tables: Sequence[dict[float, str] | None],
        position: str,
        count: int,
    ) -> tuple[tuple[str, float], ...]:
        """Covers and percentages of a combination; those of 0 % left out."""
        left = list(row)
        found = []
        for (_, percent), names in zip(pairs, tables, strict=True):
            value = left.pop(0)
            cover = (as_code(value) or "") if names is None else names.get(value)
            if cover is None:
                _note(self._faults, f"value {value:g} that its table lacks", position, count)
                cover = ""
            share = left.pop(0) if percent else 100.0 * bool(cover)
            if share or not np.isfinite(share):
                found.append((cover, share))
        return tuple(found)

    def _number(self, covers: tuple[tuple[str, float], ...], position: str, count: int) -> int:
        total = sum(share for _, share in covers)
        self.sums[total] = self.sums.get(total, 0) + count
        if covers in self._known:
            return self._known[covers]
        if not covers:
            return self.coding.unlabelled
        named = all(cover for cover, _ in covers)
        if not named or not abs(total - 100) <= TOLERANCE or any(share < 0 for _, share in covers):
            told = ", ".join(f"{share:g} % {cover or '(blank)'}" for cover, share in covers)
            _note(self._faults, f"{told}: {total:g} % in all", position, count)
            return self.coding.unlabelled
        strange = composites.unknown((cover for cover, _ in covers), self.legend)
        for cover in dict.fromkeys(strange):
            _note(self._strays, cover, position, count)
        if strange:
            return self.coding.unlabelled
        self._known[covers] = self.coding.codes.index(composites.decide(_merged(covers, total), self.legend).code)
        return self._known[covers]

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


def _note(met: dict[str, Stray], what: str, position: str, count: int) -> None:
    known = met.get(what, Stray(what, 0, position))
    met[what] = Stray(what, known.count + count, known.first)


def _reader(stack: ExitStack, path: Path) -> Reader:
    return stack.enter_context(reader(open_raster(path)))


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


def _merged(covers: Sequence[tuple[str, float]], total: float) -> Parts:
    merged: dict[str, float] = {}
    for cover, percent in covers:
        merged[cover] = merged.get(cover, 0.0) + percent / total
    return tuple(merged.items())
