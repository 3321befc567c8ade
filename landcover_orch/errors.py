"""One error tree: every error says what was found where, what was expected, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it is, what was found there, what was expected, and the remedy."""

    where: str
    found: str
    expected: str
    fix: str

    def __str__(self) -> str:
        end = "" if self.fix.endswith("?") else "."
        return f"{self.where}: {self.found}; expected {self.expected}. Fix: {self.fix}{end}"


class LandcoverError(Exception):
    """Root of the tree; holds every problem that one look found, so that a person mends them in one go."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return "\n".join([f"{len(self.problems)} problems:", *(f"- {problem}" for problem in self.problems)])


class ConfigError(LandcoverError, ValueError):
    """A file of configs/ does not say what it must."""


class MissingConfigError(ConfigError):
    """No configuration has what is named: there is no such file, or it has no such combination or repetition."""


class GridError(LandcoverError, ValueError):
    """Windows or grids that do not fit each other."""


class RasterError(LandcoverError, OSError):
    """A raster that cannot be read, or is not what its dataset says."""


class LabelError(LandcoverError, ValueError):
    """Labels that cannot become classes."""


class UnknownCodeError(LabelError):
    """A source code that the legend does not know."""


class CatalogueError(LandcoverError, ValueError):
    """The tiles of a dataset do not pass their checks."""


class LeakError(LandcoverError, ValueError):
    """Training data meets validation or test data on the ground."""


class PublishError(LandcoverError, RuntimeError):
    """A product that cannot be published."""


class BusyError(PublishError):
    """Another process is building the same product."""


class InputChangedError(PublishError):
    """Files were replaced while a product was made of them."""


class IncompleteError(PublishError):
    """A product without a valid manifest, or whose files differ from it."""


class TrainingError(LandcoverError, ValueError):
    """A training that cannot begin with what it was given."""


class RecipeError(TrainingError):
    """A training that cannot go on: by its recipe the loss is no number any more, or memory is too small for it."""


class CodeError(LandcoverError, ImportError):
    """Code of a person's own that is switched off, cannot be imported, or does not build what it must."""


class PromotionError(LandcoverError, ValueError):
    """No model can become champion, or the one that was named cannot."""


class ContractError(LandcoverError, ValueError):
    """A raster that does not fit what a model was trained on."""


class TrackingError(LandcoverError, ConnectionError):
    """MLflow did not take or give what was asked."""


def pluralise(count: int, singular: str, plural: str | None = None) -> str:
    """Count with its noun: '1 problem', '2 problems', '1,200 patches'.

    Args:
        count: how many.
        singular: the noun, with its verb where it has one, as 'tile is'.
        plural: the same for none and several, where it is not the noun with an ending.
    """
    if plural is None:
        plural = f"{singular}es" if singular.endswith(("s", "x", "ch", "sh")) else f"{singular}s"
    return f"{count:,} {singular if count == 1 else plural}"


def did_you_mean(word: str, known: list[str]) -> str | None:
    """The question that offers the closest known word; None where none is close."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{close[0]}'?" if close else None


def one_of(word: str, known: Sequence[str], most: int = 5) -> str:
    """What an unknown word was expected to be: 'one of a, b and 12 more', the closest known words first."""
    close = difflib.get_close_matches(word, known, n=most)
    names = [*close, *(name for name in known if name not in close)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"one of {', '.join(names[:most])}{more}" if names else "none: there are none yet"
