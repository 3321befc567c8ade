"""SIOSE parser: labels as trees, and the fraction of the polygon that each cover takes.

FDC                           one cover
CHLsc                         one cover with an attribute
76PAV_24EDF                   covers in a row (SIOSE AR)
A(60CNFpl_40MTR)              a composite: head, then members with their percentages
UDS(50EDFva_30ZAU_20VAP)      a predefined composite; alone, its members are unknown
A(70FDC_30R(60PST_40MTR))     a member may be a composite itself
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple, NoReturn

from landcover_orch.errors import LabelError, Problem, did_you_mean
from landcover_orch.labels.siose_covers import ARRANGEMENTS, PREDEFINED, SIMPLE

MAX_DEPTH = 20
LISTED = 20
"""Faulty labels that one error names."""

NAMELESS = "?"
"""A polygon without a name: its error makes no suggestion, which would take most of the time of the search."""

SHOWN = 60
"""Letters of a faulty label that its error shows."""

_MEMBER = re.compile(r"(\d*)([A-Z]*)((?:[a-z]{2})*)(\(?)")
"""Percentage, head, attributes, what opens a composite; each may be missing, so that it always matches."""

_match: Callable[[str, int], re.Match[str]] = _MEMBER.match  # type: ignore[assignment]

_PERCENT = {f"{i:0{digits}d}": i for i in range(1, 101) for digits in (1, 2, 3)}
_KNOWN = frozenset({*SIMPLE, *PREDEFINED})
_HEADS = frozenset({*ARRANGEMENTS, *PREDEFINED})


class Cover(NamedTuple):
    """A simple cover with its attributes, or a predefined composite whose members are unknown."""

    label: str
    attributes: tuple[str, ...] = ()


class Composite(NamedTuple):
    """Members and the percentage of each; `head` is a letter, a predefined label, or empty for covers in a row."""

    head: str
    members: tuple[tuple[int, Tree], ...]
    attributes: tuple[str, ...] = ()


Tree = Cover | Composite

Fractions = tuple[tuple[Cover, float], ...]
"""Covers of a polygon and the fraction of each, in the order of the label; they sum to 1."""


class SioseError(LabelError):
    """A label that is not SIOSE's."""


@lru_cache(maxsize=20_000)
def parse(label: str, polygon: str = NAMELESS) -> Tree:
    """The tree of a label.

    Raises:
        SioseError: names polygon, label, position and what was expected there.
    """
    return _Parser(label, polygon).parse()


class _Parser:
    """Recursive descent: reads one label from left to right."""

    def __init__(self, label: str, polygon: str) -> None:
        self.label, self.polygon, self.at = label, polygon, 0

    def parse(self) -> Tree:
        """The tree of the label, from its first to its last letter."""
        row = self.label[:1].isdigit()
        tree = Composite("", self.members(0)) if row else self.part(_match(self.label, 0), 0)
        if self.at < len(self.label):
            odd = self.label[self.at].islower()
            self._fail("attributes of two lower-case letters each" if odd else "the end")
        return tree

    def part(self, match: re.Match[str], depth: int) -> Tree:
        """A cover, or a composite with its members."""
        head, letters, opening = match.group(2, 3, 4)
        if opening and head in _HEADS:
            return self.composite(head, letters, match.end(), depth)
        if head in _HEADS and head not in _KNOWN:
            self.at = match.end(3)
            self._fail(f"'(' after {head}")
        if head not in _KNOWN:
            self.at = match.start(2)
            word = head[:SHOWN] or self.label[self.at : self.at + 3].upper()
            fix = None if self.polygon == NAMELESS else did_you_mean(word, [*SIMPLE, *PREDEFINED])
            self._fail("a cover (three capitals) or a composite's head", fix)
        self.at = match.end(3)
        return _cover(head, letters)

    def composite(self, head: str, letters: str, begin: int, depth: int) -> Composite:
        """A composite, from the letter after its opening bracket to the closing one."""
        if depth >= MAX_DEPTH:
            self.at = begin - 1
            self._fail(f"at most {MAX_DEPTH} levels of composites")
        self.at = begin
        members = self.members(depth + 1)
        if self.label[self.at : self.at + 1] != ")":
            self._fail("')'")
        self.at += 1
        return Composite(head, members, _pairs(letters))

    def members(self, depth: int) -> tuple[tuple[int, Tree], ...]:
        """Members that '_' parts, and the percentage of each."""
        begin, total, members, follows = self.at, 0, [], "_"
        while follows == "_":
            match = _match(self.label, self.at)
            percent = _PERCENT.get(match[1]) or self._fail("a percentage from 1 to 100")
            members.append((percent, self.part(match, depth)))
            total += percent
            follows = self.label[self.at : self.at + 1]
            self.at += follows == "_"
        if follows not in ("", ")"):
            ending = "')'" if depth else "the end"
            self._fail(f"'_' and a further member, or {ending}")
        if total != 100:
            self.at = begin
            self._fail(f"members that sum to 100, not {total}")
        return tuple(members)

    def _fail(self, expected: str, fix: str | None = None) -> NoReturn:
        label = self.label if len(self.label) <= SHOWN else f"{self.label[:SHOWN]}..."
        found = f"{label!r}, character {self.at + 1} ({self.label[self.at : self.at + 12]!r})"
        if self.label.isdecimal():
            fix = "correct `labels.attribute`, or set `labels.content` to code or largest: numbers are no SIOSE labels"
        raise SioseError(Problem(f"polygon {self.polygon}", found, expected, fix or "correct the label at its source"))


@lru_cache(maxsize=10_000)
def _cover(label: str, letters: str) -> Cover:
    return Cover(label, _pairs(letters))


@lru_cache(maxsize=10_000)
def _pairs(letters: str) -> tuple[str, ...]:
    return tuple(letters[i : i + 2] for i in range(0, len(letters), 2))


def write(tree: Tree) -> str:
    """The label of a tree: `parse(write(tree)) == tree`."""
    attributes = "".join(tree.attributes)
    if isinstance(tree, Cover):
        return tree.label + attributes
    members = "_".join(f"{percent}{write(part)}" for percent, part in tree.members)
    return f"{tree.head}{attributes}({members})" if tree.head else members


def fractions(tree: Tree) -> Fractions:
    """The fraction of the polygon that each cover takes: the product of percentages on the way to it.

    A cover that stands twice with the same attributes counts once, with the sum. A predefined composite gives its
    members where the label names them, else itself.
    """
    by_cover: dict[Cover, float] = {}

    def collect(tree: Tree, fraction: float) -> None:
        if isinstance(tree, Cover):
            by_cover[tree] = by_cover.get(tree, 0.0) + fraction
            return
        for percent, part in tree.members:
            collect(part, fraction * percent / 100)

    collect(tree, 1.0)
    return tuple(by_cover.items())


def parse_all(labels: Iterable[tuple[str, str]]) -> list[Tree]:
    """The trees of (polygon, label) pairs, in their order; several polygons may bear one name.

    Raises:
        SioseError: every label that is invalid (the first twenty by name), in one error.
    """
    trees: list[Tree] = []
    invalid: list[tuple[str, str]] = []
    for polygon, label in labels:
        try:
            trees.append(parse(label))  # without the polygon's name: thousands of polygons bear the same label
        except SioseError:
            invalid.append((label, polygon))
    problems: list[Problem] = []
    for label, polygon in invalid[:LISTED]:
        try:
            parse(label, polygon)
        except SioseError as error:
            problems.extend(error.problems)
    if len(invalid) > LISTED:
        problems.append(Problem("labels", f"{len(invalid) - LISTED} more wrong ones", "none", "mend those named first"))
    if problems:
        raise SioseError(*problems)
    return trees
