"""Issue log: problems that stop a dataset, and notes that people should know, collected by checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from landcover_orch.errors import CatalogueError, LandcoverError, Problem, RasterError


@dataclass(frozen=True)
class Issues:
    """Problems stop a dataset; notes are for people to know."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def raise_problems(self) -> None:
        """Raises CatalogueError with all problems, if there are any."""
        if self.problems:
            raise CatalogueError(*self.problems)


class IssueLog:
    """Issue collector: what checks write down, each problem and each note once."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}
        self._notes: dict[str, None] = {}

    def problem(self, where: object, found: str, expected: str, fix: str) -> None:
        """Writes one problem down."""
        self._problems[Problem(str(where), found, expected, fix)] = None

    def note(self, text: str) -> None:
        """Writes one note down."""
        self._notes[text] = None

    def catch(self, check: Callable[[], object]) -> None:
        """Runs a check; a file that cannot be read becomes problems, and the checks go on."""
        try:
            check()
        except RasterError as error:
            self.error(error)

    def error(self, error: LandcoverError) -> None:
        """Writes the problems of an error down."""
        self._problems |= dict.fromkeys(error.problems)

    def report(self) -> Issues:
        """What was written down so far."""
        return Issues(tuple(self._problems), tuple(self._notes))


def merge(issues: Iterable[Issues]) -> Issues:
    """All issues as one; what several tiles share (a fault of one label file) stands there once."""
    parts = list(issues)
    problems = dict.fromkeys(problem for part in parts for problem in part.problems)
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return Issues(tuple(problems), tuple(notes))


def some(names: Sequence[object], most: int = 12) -> str:
    """The names in a row, cut short when there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


LISTED = 3
"""Places that a line about equal problems or notes names."""

NUMBER = re.compile(r"\d[\d,.]*")


def summarised(problems: Iterable[Problem]) -> list[str]:
    """Problems as text: those that say the same of several files or tiles are one line with a count.

    Two say the same where they differ only in their place: its path, or the tile's name that is its stem.
    """
    equal: dict[tuple[str, ...], list[Problem]] = {}
    for problem in problems:
        path, _, key = problem.where.partition(": ")
        stem = Path(path.removeprefix("tile ").strip("'")).stem
        own_name = re.compile(rf"{re.escape(path)}|(?:(?<=[./'`\[])|(?<=tile )){re.escape(stem)}(?!\w)")
        texts = (key, problem.found, problem.expected, problem.fix)
        same = tuple(own_name.sub("*", text) for text in texts)
        equal.setdefault(same, []).append(problem)
    return [counted(str(group[0]), [problem.where for problem in group]) for group in equal.values()]


def summarised_notes(notes: Iterable[str]) -> list[str]:
    """Notes as text: those on several files that differ in their numbers alone are one line with a count."""
    equal: dict[str, list[str]] = {}
    for note in notes:
        equal.setdefault(NUMBER.sub("#", note.partition(": ")[2] or note), []).append(note)
    return [counted(group[0], [note.partition(": ")[0] for note in group]) for group in equal.values()]


def counted(first: str, places: Sequence[str]) -> str:
    """The first of equal texts, with how many there are and where."""
    if len(places) < 2:
        return first
    more = f" and {len(places) - LISTED} more" if len(places) > LISTED else ""
    return f"{first} The same {len(places)} times: also {', '.join(places[1:LISTED])}{more}"
