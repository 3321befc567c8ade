"""Label rasters: windowed reading to strips of code numbers, from one band of integer codes or from colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.config import file_label
from landcover_orch.errors import LabelError, Problem, pluralise
from landcover_orch.grid import Window, corner_distance, crs_name
from landcover_orch.labels.codes import MAX_CODE, Coding, Stray, Strip, as_code, look_up, lookup_table, unknown_codes
from landcover_orch.legend import ANY, Legend, parse_colour
from landcover_orch.raster import Raster, reader
from landcover_orch.tiles.imagery import TOLERANCE


def strips(raster: Raster, windows: Sequence[Window], legend: Legend, coding: Coding) -> Iterator[Strip]:
    """Code numbers (y, x) of each window of a raster of integer codes.

    Nodata is unlabelled, unless the legend names its value as a code: then the legend holds.

    Raises:
        LabelError: not one band of integers, or codes of the legend that no integer raster can hold.
        UnknownCodeError: after the last window, every code that the legend lacks.
    """
    if raster.count != 1 or np.dtype(raster.dtype).kind not in "iu":
        actual = f"{pluralise(raster.count, 'band')} of {raster.dtype}"
        fix = "convert it with gdal_translate -ot UInt16, or set `labels.kind`"
        raise LabelError(Problem(str(raster.path), actual, "one band of integer codes", fix))
    table = lookup_table(integer_codes(legend, coding), coding.unknown)
    named = as_code(raster.nodata) in coding.codes
    strays = UnknownPixels(raster, legend)
    with reader(raster, nodata="none" if named else "file") as source:
        for window in windows:
            data = source.read(window)
            strip = look_up(data[0], table, coding.unknown)
            strip[~source.valid(window, data)] = coding.unlabelled
            yield strays.add(strip, data[0], window, coding)
    strays.require_none()


def colour_strips(raster: Raster, windows: Sequence[Window], legend: Legend, coding: Coding) -> Iterator[Strip]:
    """Code numbers (y, x) of each window of a colour-coded raster, whose codes are '#rrggbb'.

    A colour is a code's where no channel lies further from it than the legend's `colour_tolerance`.

    Raises:
        LabelError: not three bands of uint8, or codes of the legend that are no colours.
        UnknownCodeError: after the last window, every colour that the legend lacks.
    """
    if raster.count != 3 or raster.dtype != "uint8":
        actual = f"{pluralise(raster.count, 'band')} of {raster.dtype}"
        raise LabelError(Problem(str(raster.path), actual, "red, green and blue as uint8", "correct `labels.kind`"))
    table = colour_table(legend, coding)
    strays = UnknownPixels(raster, legend)
    with reader(raster) as source:
        for window in windows:
            data = source.read(window)
            red, green, blue = data.astype(np.int32)
            values = red << 16 | green << 8 | blue
            strip = table[values]
            strip[~source.valid(window, data)] = coding.unlabelled
            yield strays.add(strip, values, window, coding)
    strays.require_none()


Numbers = TypeVar("Numbers", np.uint16, np.uint32)
"""Codes, or polygons."""

Read = Callable[[Sequence[Window]], Iterator[NDArray[Numbers]]]
"""Gives the numbers (y, x) of windows that lie inside the tile."""


def shifted(
    read: Read[Numbers], windows: Sequence[Window], shape: tuple[int, int], shift: tuple[int, int], fill: Numbers
) -> Iterator[NDArray[Numbers]]:
    """Shift labels: numbers of each window of labels `shift` pixels away (right, down); `fill` where there are none."""
    right, down = shift
    outers = [Window(window.row - down, window.col - right, window.height, window.width) for window in windows]
    inners = [window.within(shape) for window in outers]
    numbers = read([window for window in inners if window.height and window.width])
    for outer, inner in zip(outers, inners, strict=True):
        strip = np.full((outer.height, outer.width), fill)
        if inner.height and inner.width:
            part = Window(inner.row - outer.row, inner.col - outer.col, inner.height, inner.width)
            strip[part.slices] = next(numbers)
        yield strip
    next(numbers, None)  # past the last window unknown codes raise


def require_grid(raster: Raster, grid: GeoBox) -> None:
    """Raises LabelError where a label raster is not on its orthophoto's grid; rasters are never silently warped."""
    if raster.crs != (None if grid.crs is None else str(grid.crs)) and raster.grid.crs != grid.crs:
        name = crs_name(grid)
        fix = f"reproject the labels once (gdalwarp -t_srs {name} -r near), or correct `tiles.label`"
        raise LabelError(Problem(str(raster.path), f"CRS {raster.crs}", f"{name}, as its orthophoto", fix))
    distance = corner_distance(grid, raster.grid)
    if raster.shape != tuple(grid.shape) or distance > TOLERANCE:
        actual = f"{raster.shape[0]} x {raster.shape[1]} px, corners up to {distance:.2f} px off"
        expected = f"the orthophoto's grid of {grid.shape[0]} x {grid.shape[1]} px"
        fix = "resample the labels once onto the orthophoto's grid (gdalwarp -te ... -tr ... -r near)"
        raise LabelError(Problem(str(raster.path), actual, expected, fix))


class UnknownPixels:
    """Unknown values of a label raster so far: how many pixels, and the first position."""

    def __init__(self, raster: Raster, legend: Legend) -> None:
        self._raster, self._legend = raster, legend
        self._strays: dict[str, Stray] = {}

    def add(self, strip: Strip, values: NDArray[Any], window: Window, coding: Coding) -> Strip:
        """The strip with unknown pixels noted, and unlabelled for the rest of the reading."""
        if strip.size and int(strip.max()) == coding.unknown:
            unknown = strip == coding.unknown
            rows, cols = np.nonzero(unknown)
            unique = np.unique(values[rows, cols], return_index=True, return_counts=True)
            for value, first, count in zip(*unique, strict=True):
                code = str(int(value)) if self._raster.count == 1 else f"#{int(value):06x}"
                position = f"row {window.row + rows[first]}, col {window.col + cols[first]}"
                known = self._strays.get(code, Stray(code, 0, position))
                self._strays[code] = Stray(code, known.count + int(count), known.first)
            strip[unknown] = coding.unlabelled
        return strip

    def require_none(self) -> None:
        """Raises UnknownCodeError where there are any."""
        if self._strays:
            raise unknown_codes(str(self._raster.path), "pixel", self._strays.values(), self._legend)


def integer_codes(legend: Legend, coding: Coding) -> dict[int, int]:
    """Number of each integer code; beginnings, as '31*', stand for all 16-bit values that fall under them."""
    beginnings = [code for code in coding.codes if code.endswith(ANY)]
    exact = [code for code in coding.codes if not code.endswith(ANY)]
    invalid = [code for code in exact if not code.removeprefix("-").isdecimal()]
    invalid += [code for code in beginnings if code != ANY and not code.removesuffix(ANY).isdecimal()]
    if invalid:
        raise LabelError(_codes_problem(legend, invalid, "whole numbers, as the label raster holds"))
    spread = {value: coding.number(str(value)) for value in range(MAX_CODE + 1)} if beginnings else {}
    return {**spread, **{int(code): coding.number(code) for code in exact}}


def colour_table(legend: Legend, coding: Coding) -> NDArray[np.uint16]:
    """Colour look-up table: the number of each of the 2^24 colours (`red << 16 | green << 8 | blue`)."""
    codes = [code.lower() for code in coding.codes]
    invalid = [code for code in codes if len(code) != 7 or code[0] != "#" or set(code[1:]) - set("0123456789abcdef")]
    if invalid:
        raise LabelError(_codes_problem(legend, invalid, "colours as '#rrggbb'"))
    table = np.full((256, 256, 256), coding.unknown, np.uint16)
    reach = legend.colour_tolerance
    for number, code in enumerate(codes):
        red, green, blue = (slice(max(value - reach, 0), value + reach + 1) for value in parse_colour(code))
        table[red, green, blue] = number
    return table.reshape(-1)


def _codes_problem(legend: Legend, invalid: list[str], expected: str) -> Problem:
    where = f"{file_label('legends', legend.name)}: codes"
    return Problem(where, f"{invalid}", expected, "correct the codes, or `labels.kind` of the dataset")
