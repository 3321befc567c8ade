"""Issue log: problems that stop a dataset, and notes that people should know, collected by checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

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
