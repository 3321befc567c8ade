"""Legend: classes, their ids and colours, and the mapping from source codes to classes. No IO."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from itertools import combinations
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from landcover_orch.errors import Problem, did_you_mean
from landcover_orch.settings import Settings

IGNORE = 255
"""Value of a class raster where nothing is trained and nothing scored."""

IGNORE_NAME = "ignore"
COLOUR = r"^#[0-9a-fA-F]{6}$"


def _as_code(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Code = Annotated[str, BeforeValidator(_as_code)]
"""A source label, always compared as text: the integer 255 of a raster is the code "255"."""


class LandClass(Settings):
    """One class: what is trained, drawn and scored."""

    id: int = Field(ge=0, lt=IGNORE, description="value in class rasters; ids run 0, 1, 2, ... without gaps")
    name: str = Field(min_length=1, description="what people read")
    colour: str = Field(pattern=COLOUR, description="fill colour as #rrggbb")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green, blue, 0-255."""
        return parse_colour(self.colour)


Rule = Literal["dominant", "dissolve", "ignore", "soft"]

MEMBERS = "members"
"""What a predefined composite means where its members count by their own codes."""

ANY = "*"
"""Ends a code that stands for all codes which begin like it: a level of a hierarchy."""


class Composites(Settings):
    """What becomes of a polygon with several covers, each with its fraction of the polygon."""

    rule: Rule = Field(
        default="dissolve",
        description="dominant: the class of one cover with `min_fraction`; dissolve: the class whose covers have "
        "`min_fraction` together; ignore: none; soft: none, but the shares are kept for training and evaluation",
    )
    min_fraction: float = Field(
        default=0.75, gt=0.5, le=1, description="least share of the whole polygon; above one half, so that one wins"
    )
    predefined: dict[Code, str] = Field(
        default_factory=dict,
        description="what a composite with a name of its own means, as SIOSE's DHS: a class, 'ignore', or 'members'; "
        "not named here: its members where the label tells them, else its entry in `codes`",
    )
    keep_fractions: bool = Field(
        default=False, description="write polygons.tif and composition.parquet under any rule, not under soft alone"
    )

    @property
    def fractions_kept(self) -> bool:
        """Whether the ground truth holds polygons and their class fractions beside the class raster."""
        return self.keep_fractions or self.rule == "soft"


MAX_BORDER = 64
"""The widest band along a border, in pixels."""

Pixels = Annotated[int, Field(ge=0, le=MAX_BORDER)]


class Pair(Settings):
    """Two classes with a width of their own, as forest and shrub, whose border nobody sees from above."""

    between: tuple[str, str] = Field(description="names of the two classes")
    width: float = Field(ge=0, description="on either side of their border; 0: none")


class Border(Settings):
    """Widths of the ignored band along borders between classes."""

    width: float = Field(default=0, ge=0, description="on either side of a border of any other two classes")
    pairs: tuple[Pair, ...] = Field(default=(), description="classes whose border has another width")
    unit: Literal["pixels", "metres"] = Field(default="pixels", description="of widths; metres make whole pixels, up")

    def problems(self, names: Container[str]) -> list[str]:
        """The problems of the pairs, given the names of classes."""
        pairs = [frozenset(pair.between) for pair in self.pairs]
        unknown = {name for pair in self.pairs for name in pair.between if name not in names}
        return [
            *(f"border.pairs names {name!r}, which is no class" for name in sorted(unknown)),
            *(f"border.pairs has a class beside itself: {sorted(pair)}" for pair in pairs if len(pair) == 1),
            *(f"border.pairs names {sorted(pair)} twice" for pair in {*pairs} if pairs.count(pair) > 1),
        ]


class Legend(Settings):
    """Classes and the mapping from source codes to them, with the rules of drawing polygons."""

    name: str = Field(description="the file's name without .yaml")
    description: str = Field(default="", description="what the classes are for")
    classes: tuple[LandClass, ...] = Field(min_length=1, description="the classes, in order of their ids")
    codes: dict[Code, str] = Field(
        description="source code -> class name, or 'ignore'; '31*' stands for every code that begins with 31 and has "
        "no longer entry; for colour-coded rasters the code is '#rrggbb'"
    )
    colour_tolerance: int = Field(
        default=0,
        ge=0,
        le=127,
        description="of colour-coded rasters: how far each channel may lie from a code's, where files were re-encoded",
    )
    composites: Composites = Field(default=Composites(), description="what becomes of polygons with several covers")
    burn_order: tuple[Code, ...] = Field(
        default=(),
        description="codes from first to last burnt (later covers earlier); empty: the file's order",
    )
    all_touched: bool = Field(default=False, description="burn every pixel a polygon touches, not just centres")
    border: Pixels | Border = Field(
        default=0,
        description="on either side of a border between classes that becomes ignore: pixels, or widths a pair",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Legend:
        problems = [*self.class_problems(), *self.code_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def class_problems(self) -> list[str]:
        """The problems of ids and names of the classes."""
        ids, names = [c.id for c in self.classes], [c.name for c in self.classes]
        problems = []
        if ids != list(range(len(ids))):
            problems.append(f"class ids are {ids}, expected 0 to {len(ids) - 1} in order")
        if len(set(names)) < len(names) or IGNORE_NAME in names:
            problems.append(f"class names must differ, and none may be '{IGNORE_NAME}'")
        return problems

    def code_problems(self) -> list[str]:
        """The problems of source codes, and of what else names classes or codes."""
        names = {*self.names, IGNORE_NAME}
        problems = [
            f"code {code!r} maps to {name!r}, which is no class of {sorted(names)}"
            for code, name in self.codes.items()
            if name not in names
        ]
        problems += [
            f"composites.predefined {code!r} maps to {name!r}, which is no class, 'ignore' or 'members'"
            for code, name in self.composites.predefined.items()
            if name not in {*names, MEMBERS}
        ]
        problems += [
            f"burn_order names {code!r}, which `codes` lacks" for code in self.burn_order if code not in self.codes
        ]
        problems += self.border.problems(self.names) if isinstance(self.border, Border) else []
        if self.colour_tolerance:
            problems += self.colour_problems()
        if self.burn_order and set(self.burn_order) != set(self.codes):
            problems.append(f"burn_order leaves out {sorted(set(self.codes) - set(self.burn_order))}")
        return problems

    def colour_problems(self) -> list[str]:
        """Pairs of colours that are nearer than the tolerance can distinguish."""
        colours = {code: parse_colour(code) for code in self.codes if re.fullmatch(COLOUR, code)}
        return [
            f"colours {code} and {other} are nearer than twice colour_tolerance {self.colour_tolerance}"
            for code, other in combinations(colours, 2)
            if max(abs(a - b) for a, b in zip(colours[code], colours[other], strict=True)) <= 2 * self.colour_tolerance
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in order of their ids."""
        return tuple(c.name for c in self.classes)

    def id_of(self, name: str) -> int:
        """Id of a class by name, 255 for 'ignore'."""
        return IGNORE if name == IGNORE_NAME else self.names.index(name)

    @property
    def class_of_code(self) -> dict[str, int]:
        """Source code -> class id, 255 where the legend ignores the code."""
        return {code: self.id_of(name) for code, name in self.codes.items()}

    @property
    def palette(self) -> dict[int, tuple[int, int, int]]:
        """Class id -> red, green, blue; the ignored value is black."""
        return {**{c.id: c.rgb for c in self.classes}, IGNORE: (0, 0, 0)}


def parse_colour(text: str) -> tuple[int, int, int]:
    """Red, green, blue, 0-255, of a colour written #rrggbb."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def left_out_problems(without: Sequence[str], names: list[str], where: str, used: str) -> list[Problem]:
    """What is wrong with a list of classes to leave out: names that are none, or no class that is left.

    Args:
        without: the classes left out.
        names: those there are, in the order in which a message lists them.
        where: the key that lists them.
        used: what becomes of the others, 'learnt' or 'predicted'.
    """
    problems = [
        Problem(where, repr(name), f"a class of {names}", did_you_mean(name, names) or "take it out")
        for name in without
        if name not in names
    ]
    if not problems and set(names) <= set(without):
        return [Problem(where, "every class of the legend", f"some class that is {used}", "take out those that are")]
    return problems
