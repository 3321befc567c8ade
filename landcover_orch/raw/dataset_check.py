"""Validation of a dataset before work: configuration, legend, files and experiments, every problem in one list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from landcover_orch.config import load_dataset, load_legend, recipe_problems
from landcover_orch.errors import LandcoverError, Problem
from landcover_orch.raw import catalogue, checks

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class DatasetCheck:
    """Result of the validation of a dataset: its number of tiles, what stops it, what people should know."""

    dataset: str
    tiles: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The result as text: a line a note, a line a problem, and the counts."""
        yield from (f"note: {note}" for note in self.notes)
        yield from (f"problem: {problem}" for problem in self.problems)
        yield f"{self.dataset}: {self.tiles} tiles, {len(self.problems)} problems, {len(self.notes)} notes"


def check_dataset(name: str, *, deep: bool = False) -> DatasetCheck:
    """Validates a dataset by name; a file that cannot be loaded is a problem like the others, and the rest is read.

    Args:
        name: of a file in configs/datasets.
        deep: reads every block of every raster; else large rasters are held against their list of blocks alone.
    """
    problems: dict[Problem, None] = {}
    dataset = _load(problems, partial(load_dataset, name))
    if dataset is None:
        return DatasetCheck(name, problems=tuple(problems))
    legend = _load(problems, partial(load_legend, dataset.legend))
    tiles = _load(problems, partial(catalogue.tiles, dataset))
    findings = None
    if legend is not None and tiles is not None:
        findings = _load(problems, partial(checks.check, dataset, legend, tiles, deep=deep))
    if findings is not None:
        problems |= dict.fromkeys(findings.problems)
    problems |= dict.fromkeys(recipe_problems(dataset))
    return DatasetCheck(name, len(tiles or ()), tuple(problems), findings.notes if findings else ())


def _load(problems: dict[Problem, None], load: Callable[[], Loaded]) -> Loaded | None:
    """What `load` returns; None where it fails, with what is wrong added to `problems`."""
    try:
        return load()
    except LandcoverError as error:
        problems |= dict.fromkeys(error.problems)
        return None
