"""Settings of a search: which recipe is varied, over which choices, and how the next trial is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from landcover_orch.config.experiments.experiment import KEY, Experiment, Metric
from landcover_orch.config.experiments.matrix import changed
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.config.experiments.protocol import Protocol
from landcover_orch.config.experiments.settings import Settings
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import ConfigError, Problem

Choices = dict[str, Any]
"""A trial's value at each dotted path of the space."""

FIXED = ("name", "description", "metric", "protocol", "prediction", "seed")
"""What no search varies: names, what trials are compared by, what no validation score depends on, and luck."""

CORNERS = 500
"""Combinations of the other axes' ends that a value is tried with before it counts as wrong."""


def _listed(value: object) -> object:
    return {"choices": value} if isinstance(value, list) else value


class Axis(Settings):
    """What one setting is varied over: a list of choices, or a range of whole or real numbers."""

    choices: tuple[Any, ...] = Field(default=(), description="values; a list alone says the same")
    low: int | float | None = Field(default=None, description="smallest value; whole numbers where both ends are whole")
    high: int | float | None = Field(default=None, description="largest value, itself possible")
    log: bool = Field(default=False, description="drawn evenly over the logarithm")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices and a range: give one of them")
            if any(value in self.choices[:i] for i, value in enumerate(self.choices)):
                raise ValueError(f"choices {list(self.choices)} hold a value twice")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("neither choices nor a range: give a list, or `low` and a larger `high`")
        elif self.log and self.low <= 0:
            raise ValueError(f"no logarithm of {self.low}: raise `low` above 0")
        return self

    @property
    def whole(self) -> bool:
        """Whether values of the range are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """All choices, or the two ends of the range."""
        return self.choices or (self.low, self.high)


class Pruning(Settings):
    """Stops a trial whose best score so far lies below the median of earlier ones at the same epoch.

    Where trials are repeated, the first repetition decides.
    """

    startup: int = Field(default=5, ge=0, description="complete trials before any is stopped")
    warmup: int = Field(default=0, ge=0, description="epochs that every trial is given")


class Search(Settings):
    """A search: one file of configs/searches."""

    name: str = Field(pattern=KEY, description="the file's name without .yaml; a partition in Dagster")
    description: str = Field(default="", description="one sentence for people")
    experiment: str = Field(description="the recipe that is varied")
    changes: dict[str, Any] = Field(default_factory=dict, description="dotted path -> what all trials have different")
    space: dict[str, Annotated[Axis, BeforeValidator(_listed)]] = Field(
        min_length=1, description="dotted path in the recipe -> list of choices, or {low, high, log}"
    )
    sampler: Literal["grid", "tpe", "random"] = Field(
        default="grid", description="grid: every combination; tpe: where good trials lie denser; random: anywhere"
    )
    trials: int | None = Field(default=None, ge=1, description="how many are drawn; a grid has as many as combinations")
    startup: int = Field(default=10, ge=1, description="trials drawn at random before tpe looks at any")
    seed: int = Field(default=0, ge=0, description="of the draws; the recipe's own seed is that of its trainings")
    pruning: Pruning | None = Field(default=None, description="stops poor trials early; empty: each runs to its end")
    repetitions: Literal["own"] | Protocol = Field(
        default="own", description="a trial's score is the mean over these; own: the recipe's protocol"
    )

    @model_validator(mode="after")
    def _says_how_many(self) -> Self:
        ranges = [path for path, axis in self.space.items() if not axis.choices]
        fixed = sorted({path.partition(".")[0] for path in self.space} & {*FIXED})
        conflicts = {
            f"a grid has no `trials`, and no ranges ({', '.join(ranges)}): list values, or take tpe or random": (
                self.sampler == "grid" and bool(self.trials or ranges)
            ),
            f"{self.sampler} needs `trials`": self.sampler != "grid" and self.trials is None,
            f"{', '.join(fixed)}: no search varies that": bool(fixed),
        }
        if any(conflicts.values()):
            raise ValueError("; ".join(text for text, met in conflicts.items() if met))
        return self

    @property
    def number(self) -> int:
        """How many trials there are."""
        return self.trials or len(list(combinations(self)))

    def metric(self, base: Experiment) -> Metric:
        """What trials are compared by: the validation metric that chooses each one's checkpoint."""
        metric: Metric = self.changes.get("metric", base.metric)
        return metric


def combinations(search: Search) -> Iterator[Choices]:
    """Every combination of the axes' choices or ends, the last axis fastest."""
    return _product({path: axis.ends for path, axis in search.space.items()})


def _product(ends: Mapping[str, tuple[Any, ...]]) -> Iterator[Choices]:
    return (dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values()))


def variant(search: Search, base: Experiment, choices: Choices) -> Experiment:
    """The recipe of the search with a trial's choices; its name, and all that is not said, stay the recipe's.

    Raises:
        ConfigError: the choices do not go together.
    """
    where = f"configs/searches/{search.name}.yaml: space"
    plain, problems = base.said(), list[Problem]()
    for values in (search.changes, choices):
        unsaid = {path.partition(".")[0] for path in values if "." in path} - {*plain}
        parts = {key: part.said() for key in unsaid if isinstance(part := getattr(base, key, None), Settings)}
        plain, problems = changed({**plain, **parts}, values, where)
        if problems:
            raise ConfigError(*problems)
    return parse(plain, Experiment, where)


def problems(search: Search, base: Experiment) -> list[Problem]:
    """What is wrong with the space of a search: a grid's combinations, else values that go with none of the others."""
    if isinstance(base.model, Ensemble):
        where, fix = f"configs/searches/{search.name}.yaml: experiment", "vary one of its members"
        return [Problem(where, f"{base.name}, an ensemble", "a recipe that is trained", fix)]
    tried = [[choices] for choices in combinations(search)] if search.sampler == "grid" else _around_values(search)
    return list(dict.fromkeys(problem for group in tried for problem in _refusal(search, base, group)))


def _around_values(search: Search) -> list[Iterator[Choices]]:
    """For each end of each axis, combinations that hold it."""
    ends = {path: axis.ends for path, axis in search.space.items()}
    return [itertools.islice(_product({**ends, path: (value,)}), CORNERS) for path in ends for value in ends[path]]


def _refusal(search: Search, base: Experiment, group: Iterator[Choices] | list[Choices]) -> tuple[Problem, ...]:
    """What is wrong with the first of some combinations; nothing where one of them is a recipe."""
    first: tuple[Problem, ...] = ()
    for choices in group:
        try:
            variant(search, base, choices)
        except ConfigError as error:
            first = first or error.problems
        else:
            return ()
    return first
