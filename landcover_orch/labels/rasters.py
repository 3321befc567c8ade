"""Label rasters to strips of code numbers: one band of integer codes, or colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import Window, crs_name, offset
from landcover_orch.labels.codes import Coding, Stray, Strip, as_code, look_up, unknown_codes
from landcover_orch.legend import ANY, MAX_CODE, Legend, lookup_table, parse_colour
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
        found = f"{raster.count} bands of {raster.dtype}"
        fix = "convert it with gdal_translate -ot UInt16, or set `labels.kind`"
        raise LabelError(Problem(str(raster.path), found, "one band of integer codes", fix))
    table = lookup_table(_integers(legend, coding), coding.unknown)
    named = as_code(raster.nodata) in coding.codes
    strays = _Strays(raster, legend)
    with reader(raster, nodata="none" if named else "file") as source:
        for window in windows:
            data = source.read(window)
            strip = look_up(data[0], table, coding.unknown)
            strip[~source.valid(window, data)] = coding.unlabelled
            yield strays.taken(strip, data[0], window, coding)
    strays.require_none()


def colour_strips(raster: Raster, windows: Sequence[Window], legend: Legend, coding: Coding) -> Iterator[Strip]:
    """Code numbers (y, x) of each window of a colour-coded raster, whose codes are '#rrggbb'.

    A colour is a code's where no channel lies further from it than the legend's `colour_tolerance`.

    Raises:
        LabelError: not three bands of uint8, or codes of the legend that are no colours.
        UnknownCodeError: after the last window, every colour that the legend lacks.
    """
    if raster.count != 3 or raster.dtype != "uint8":
        found = f"{raster.count} bands of {raster.dtype}"
        raise LabelError(Problem(str(raster.path), found, "red, green and blue as uint8", "correct `labels.kind`"))
    table = _colour_table(legend, coding)
    strays = _Strays(raster, legend)
    with reader(raster) as source:
        for window in windows:
            data = source.read(window)
            red, green, blue = data.astype(np.int32)
            values = red << 16 | green << 8 | blue
            strip = table[values]
            strip[~source.valid(window, data)] = coding.unlabelled
            yield strays.taken(strip, values, window, coding)
    strays.require_none()


Numbers = TypeVar("Numbers", np.uint16, np.uint32)
"""Codes, or polygons."""

Read = Callable[[Sequence[Window]], Iterator[NDArray[Numbers]]]
"""Gives the numbers (y, x) of windows that lie inside the tile."""


def moved(
    read: Read[Numbers], windows: Sequence[Window], shape: tuple[int, int], shift: tuple[int, int], fill: Numbers
) -> Iterator[NDArray[Numbers]]:
    """Numbers of each window of labels moved by `shift` pixels (right, down); `fill` where they leave it bare."""
    right, down = shift
    wanted = [Window(window.row - down, window.col - right, window.height, window.width) for window in windows]
    held = [window.within(shape) for window in wanted]
    found = read([window for window in held if window.height and window.width])
    for outer, inner in zip(wanted, held, strict=True):
        strip = np.full((outer.height, outer.width), fill)
        if inner.height and inner.width:
            place = Window(inner.row - outer.row, inner.col - outer.col, inner.height, inner.width)
            strip[place.slices] = next(found)
        yield strip
    next(found, None)  # past the last window unknown codes are told


def require_grid(raster: Raster, grid: GeoBox) -> None:
    """Raises LabelError where a label raster is not on its orthophoto's grid; rasters are never silently warped."""
    if raster.crs != (None if grid.crs is None else str(grid.crs)) and raster.grid.crs != grid.crs:
        name = crs_name(grid)
        fix = f"reproject the labels once (gdalwarp -t_srs {name} -r near), or correct `tiles.label`"
        raise LabelError(Problem(str(raster.path), f"CRS {raster.crs}", f"{name}, as its orthophoto", fix))
    off = offset(grid, raster.grid)
    if raster.shape != tuple(grid.shape) or off > TOLERANCE:
        found = f"{raster.shape[0]} x {raster.shape[1]} px, corners up to {off:.2f} px off"
        expected = f"the orthophoto's grid of {grid.shape[0]} x {grid.shape[1]} px"
        fix = "resample the labels once onto the orthophoto's grid (gdalwarp -te ... -tr ... -r near)"
        raise LabelError(Problem(str(raster.path), found, expected, fix))


class _Strays:
    """Unknown values met so far: how many pixels, and the first position."""

    def __init__(self, raster: Raster, legend: Legend) -> None:
        self._raster, self._legend = raster, legend
        self._found: dict[str, Stray] = {}

    def taken(self, strip: Strip, values: NDArray[Any], window: Window, coding: Coding) -> Strip:
        """The strip with unknown pixels noted, and unlabelled for the rest of the reading."""
        if strip.size and int(strip.max()) == coding.unknown:
            unknown = strip == coding.unknown
            self._note(values, unknown, window)
            strip[unknown] = coding.unlabelled
        return strip

    def _note(self, values: NDArray[Any], unknown: NDArray[np.bool_], window: Window) -> None:
        rows, cols = np.nonzero(unknown)
        found = np.unique(values[rows, cols], return_index=True, return_counts=True)
        for value, first, count in zip(*found, strict=True):
            code = self._code(int(value))
            position = f"row {window.row + rows[first]}, col {window.col + cols[first]}"
            known = self._found.get(code, Stray(code, 0, position))
            self._found[code] = Stray(code, known.count + int(count), known.first)

    def _code(self, value: int) -> str:
        return str(value) if self._raster.count == 1 else f"#{value:06x}"

    def require_none(self) -> None:
        """Raises UnknownCodeError where any was met."""
        if self._found:
            raise unknown_codes(str(self._raster.path), "pixels", self._found.values(), self._legend)


def _integers(legend: Legend, coding: Coding) -> dict[int, int]:
    """Number of each integer code; beginnings, as '31*', stand for all 16-bit values that fall under them."""
    beginnings = [code for code in coding.codes if code.endswith(ANY)]
    exact = [code for code in coding.codes if not code.endswith(ANY)]
    wrong = [code for code in exact if not code.removeprefix("-").isdecimal()]
    wrong += [code for code in beginnings if code != ANY and not code.removesuffix(ANY).isdecimal()]
    if wrong:
        raise LabelError(_codes_problem(legend, wrong, "whole numbers, as the label raster holds"))
    spread = {value: coding.number(str(value)) for value in range(MAX_CODE + 1)} if beginnings else {}
    return {**spread, **{int(code): coding.number(code) for code in exact}}


def _colour_table(legend: Legend, coding: Coding) -> NDArray[np.uint16]:
    codes = [code.lower() for code in coding.codes]
    wrong = [code for code in codes if len(code) != 7 or code[0] != "#" or set(code[1:]) - set("0123456789abcdef")]
    if wrong:
        raise LabelError(_codes_problem(legend, wrong, "colours as '#rrggbb'"))
    table = np.full((256, 256, 256), coding.unknown, np.uint16)
    reach = legend.colour_tolerance
    for number, code in enumerate(codes):
        red, green, blue = (slice(max(value - reach, 0), value + reach + 1) for value in parse_colour(code))
        table[red, green, blue] = number
    return table.reshape(-1)


def _codes_problem(legend: Legend, wrong: list[str], expected: str) -> Problem:
    where = f"configs/legends/{legend.name}.yaml: codes"
    return Problem(where, f"{wrong}", expected, "correct the codes, or `labels.kind` of the dataset")
