"""What checks write down: problems that stop a dataset, and notes that people should know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from landcover_orch.errors import CatalogueError, LandcoverError, Problem, RasterError


@dataclass(frozen=True)
class Findings:
    """Problems stop a dataset; notes are for people to know."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def raise_problems(self) -> None:
        """Raises CatalogueError with all problems, if there are any."""
        if self.problems:
            raise CatalogueError(*self.problems)


class Sheet:
    """Findings being written down."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}
        self._notes: dict[str, None] = {}

    def problem(self, where: object, found: str, expected: str, fix: str) -> None:
        """Writes one problem down."""
        self._problems[Problem(str(where), found, expected, fix)] = None

    def note(self, text: str) -> None:
        """Writes one note down."""
        self._notes[text] = None

    def attempt(self, look: Callable[[], object]) -> None:
        """Does `look`; a file that cannot be read becomes problems, and the checks go on."""
        try:
            look()
        except RasterError as error:
            self.problems_of(error)

    def problems_of(self, error: LandcoverError) -> None:
        """Writes the problems of an error down."""
        self._problems |= dict.fromkeys(error.problems)

    def findings(self) -> Findings:
        """What was written down so far."""
        return Findings(tuple(self._problems), tuple(self._notes))


def merge(findings: Iterable[Findings]) -> Findings:
    """All findings as one; what several tiles share (a fault of one label file) stands there once."""
    parts = list(findings)
    problems = dict.fromkeys(problem for part in parts for problem in part.problems)
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return Findings(tuple(problems), tuple(notes))


def some(names: Sequence[object], most: int = 12) -> str:
    """The names in a row, cut short when there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
