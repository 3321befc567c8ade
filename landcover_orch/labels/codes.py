"""Label encoding: source codes as small numbers, one strip format for polygons, code rasters and coloured rasters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landcover_orch.errors import LabelError, Problem, UnknownCodeError, pluralise
from landcover_orch.legend import ANY, IGNORE, Legend

MAX_CODE = 65_535
"""The largest integer code of a label raster that the look-up table holds."""
UNKNOWN = 256
"""Entry of a look-up table where the source value is no known code; no class, and not ignore."""

Strip = NDArray[np.uint16]
"""Code numbers (y, x): the place of each pixel's code in `Coding.codes`, or `Coding.unlabelled`."""

NULL = "NULL"
"""How an absent attribute is named in errors."""

_SIOSE = re.compile(r"\d[A-Z]{3}[a-z]*[_)]")
"""A member of a composite, with what follows it."""

LISTED = 20
"""Unknown codes that one error names, most frequent first."""


How = Literal["simple", "largest", "predefined", "dominant", "dissolved", "mixed", "ignored", "soft"]

Parts = tuple[tuple[str, float], ...]
"""Covers of a polygon, or their classes, and the fraction of each; they sum to 1."""


@dataclass(frozen=True)
class Decision:
    """How a polygon was decided, its class (or 'ignore'), and the fractions by class; none where they are unknown."""

    how: How
    name: str
    fractions: Parts = ()

    @property
    def code(self) -> str:
        """The decision in one word, as tables and the coding name it."""
        return f"{self.how}: {self.name}"


@dataclass(frozen=True)
class Coding:
    """Label encoding: the numbers that stand for a legend's source codes, and the class of each.

    Where polygons may hold several covers the codes are `decisions`, as many and in that order, else there are none.
    """

    codes: tuple[str, ...]
    classes: NDArray[np.uint16]
    decisions: tuple[Decision, ...] = ()

    @property
    def unlabelled(self) -> int:
        """Number of a pixel that no code was given to."""
        return len(self.codes)

    @property
    def unknown(self) -> int:
        """Number of a pixel whose code the legend lacks; it never leaves the reading of labels."""
        return len(self.codes) + 1

    def number(self, code: str) -> int:
        """Number of the entry that a code falls under (see `entry`), `unknown` where the legend lacks it."""
        match = entry(code, self.codes)
        return self.unknown if match is None else self.codes.index(match)


def coding(legend: Legend, unlabelled: str) -> Coding:
    """Numbers for the legend's codes; `unlabelled` is the class, or 'ignore', of pixels without a label."""
    ids = legend.class_of_code
    return Coding(tuple(ids), np.array([*ids.values(), legend.id_of(unlabelled)], np.uint16))


def as_code(value: object) -> str | None:
    """An attribute as code: 255, '255' and 255.0 are all '255'; None where there is no value."""
    if value is None or value != value:  # NaN is how a missing number arrives
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip() or None


def escaped(code: str) -> str:
    """A code with escapes, as quotes of YAML read them, where it looks like another one.

    So do codes with invisible characters, and those with letters of several alphabets.
    """
    alphabets = {unicodedata.name(letter, "").partition(" ")[0] for letter in code if letter.isalpha()}
    is_plain = code.isprintable() and len(alphabets) <= 1
    return code if is_plain else code.encode("unicode_escape").decode()


@dataclass(frozen=True)
class Stray:
    """An unknown code: how many pixels or polygons have it, and where the first one is."""

    code: str
    count: int
    first: str

    def problem(self, where: str, unit: str, legend: Legend) -> Problem:
        """The problem of a file: its unknown code, the codes that the legend has, and what mends it."""
        known = sorted(legend.codes)
        shown = f"{known[:LISTED]}{' and more' if len(known) > LISTED else ''}"
        named = "no code (NULL)" if self.code == NULL else f"unknown code '{escaped(self.code)}'"
        found = f"{named} in {pluralise(self.count, unit)}, first at {self.first}"
        fix = f'add "{escaped(self.code)}" to `codes` of configs/legends/{legend.name}.yaml: a class name, or ignore'
        if self.code == NULL:
            fix = "give those polygons a code, or delete them"
        elif _SIOSE.search(self.code):
            fix = "set `labels.content: siose`, for such are SIOSE's labels of several covers"
        return Problem(where, found, f"a code of legend {legend.name!r}: {shown}", fix)


def unknown_codes(where: str, unit: str, strays: Iterable[Stray], legend: Legend) -> UnknownCodeError:
    """The error that names every unknown code of a file, with counts and first positions."""
    ranked = sorted(strays, key=lambda stray: (-stray.count, stray.code))
    problems = [stray.problem(where, unit, legend) for stray in ranked[:LISTED]]
    if len(ranked) > LISTED:
        found = f"{pluralise(len(ranked) - LISTED, 'more unknown code')}"
        problems.append(Problem(where, found, "codes of the legend", "add them to the legend's `codes`"))
    return UnknownCodeError(*problems)


def look_up(values: NDArray[np.integer], table: NDArray[np.uint16], outside: int) -> Strip:
    """`table[value]` for every pixel, `outside` where the value lies beyond 0 to 65,535; nothing wraps.

    The table has an entry for each of the 65,536 unsigned 16-bit values, so that those need no test. Blocks that fit
    the cache make it three times as fast as one look-up of the whole array.
    """
    flat, strip = np.ascontiguousarray(values).reshape(-1), np.empty(values.size, np.uint16)
    longer = np.append(table, np.uint16(outside))
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK]
        if part.dtype.itemsize > 4:  # at most 4 unsigned bytes; what is negative, or does not fit, lies beyond 65,535
            part = part.clip(max(-1, np.iinfo(part.dtype).min), MAX_CODE + 1)
        if part.dtype.kind != "u":
            part = part.astype(np.int32, copy=False).view(np.uint32)
        np.take(longer, part, out=strip[start : start + BLOCK], mode="clip")  # what lies beyond takes the last entry
    return strip.reshape(values.shape)


def tally(values: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """How often each value from 0 to `size` - 1 occurs; by blocks, for `bincount` widens to 8 bytes a pixel."""
    flat, counts = values.reshape(-1), np.zeros(size, np.int64)
    for start in range(0, flat.size, BLOCK):
        counts += np.bincount(flat[start : start + BLOCK], minlength=size)
    return counts


BLOCK = 2**16
"""Pixels looked up or counted at a time."""


def to_classes(strip: Strip, coding: Coding) -> NDArray[np.uint8]:
    """Class ids (y, x) of a strip of code numbers, 255 where ignored.

    Raises:
        ValueError: the strip still holds unknown codes.
    """
    table = np.full(MAX_CODE + 1, UNREACHED, np.uint16)
    table[: coding.classes.size] = coding.classes
    classes = look_up(strip, table, UNREACHED)
    if classes.size and int(classes.max()) > IGNORE:
        raise ValueError("a strip with unknown codes reached the classes")
    return classes.astype(np.uint8)


UNREACHED = 65_535


def entry(code: str, known: Container[str]) -> str | None:
    """What a source code falls under among the known ones: itself, else the longest beginning; None if neither.

    Of ("312", "31*", "*"), "312" falls under itself, "311" under "31*", and all else under "*".
    """
    beginnings = (code[:end] + ANY for end in range(len(code), -1, -1))
    return next((key for key in (code, *beginnings) if key in known), None)


def lookup_table(codes: Mapping[int, int], unknown: int = UNKNOWN) -> NDArray[np.uint16]:
    """Table from an unsigned 16-bit source value to a class id, with `unknown` where the value is no known code.

    The entry 256 cannot be mistaken for a class or for ignore (255), so an unknown code shows in
    the result, and the full-size table leaves no index that could wrap.

    Raises:
        LabelError: a code does not fit 0 to 65,535.
    """
    invalid = sorted(code for code in codes if not 0 <= code <= MAX_CODE)
    if invalid:
        raise LabelError(
            Problem(
                "legend",
                f"codes {invalid}",
                f"whole numbers from 0 to {MAX_CODE}",
                "shift the codes of the raster and the legend",
            )
        )
    table = np.full(MAX_CODE + 1, unknown, np.uint16)
    for code, value in codes.items():
        table[code] = value
    return table
