"""Hyperparameter search: which experiment is varied, over which choices, and how the next trial is sampled."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from landcover_orch.config.experiments.experiment import KEY, Experiment, Metric
from landcover_orch.config.experiments.matrix import changed
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.config.experiments.protocol import Protocol
from landcover_orch.config.paths import file_label
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import ConfigError, Problem
from landcover_orch.settings import Settings

Choices = dict[str, Any]
"""A trial's value at each dotted path of the space."""

FIXED = ("name", "description", "metric", "protocol", "prediction", "seed")
"""Keys that no search varies: names, what trials are compared by, what no validation score depends on, and luck."""

CORNERS = 500
"""Combinations of the other axes' ends that a value is tried with before it counts as invalid."""


def as_axis(value: object) -> object:
    """Axis of a list of choices."""
    return {"choices": value} if isinstance(value, list) else value


class Axis(Settings):
    """Search axis: a list of choices, or a range of integers or real numbers, of one setting."""

    choices: tuple[Any, ...] = Field(default=(), description="values; a list alone is the same")
    low: int | float | None = Field(default=None, description="smallest value; integers where both ends are integers")
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
    def is_integer(self) -> bool:
        """Whether values of the range are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """All choices, or the two ends of the range."""
        return self.choices or (self.low, self.high)


class Pruning(Settings):
    """Median pruning: stops a trial whose best score so far lies below the median of earlier ones at the same epoch.

    Where trials are repeated, the first repetition decides.
    """

    startup: int = Field(default=5, ge=0, description="complete trials before any is stopped")
    warmup: int = Field(default=0, ge=0, description="epochs that every trial is given")


class Search(Settings):
    """Hyperparameter search: one file of configs/searches."""

    name: str = Field(pattern=KEY, description="the file's name without .yaml; a partition in Dagster")
    description: str = Field(default="", description="one sentence for people")
    experiment: str = Field(description="the experiment that is varied")
    changes: dict[str, Any] = Field(default_factory=dict, description="dotted path -> what all trials have different")
    space: dict[str, Annotated[Axis, BeforeValidator(as_axis)]] = Field(
        min_length=1, description="dotted path in the experiment -> list of choices, or {low, high, log}"
    )
    sampler: Literal["grid", "tpe", "random"] = Field(
        default="grid", description="grid: every combination; tpe: more densely where good trials are; random: anywhere"
    )
    trials: int | None = Field(default=None, ge=1, description="how many are drawn; a grid has as many as combinations")
    startup: int = Field(default=10, ge=1, description="trials drawn at random before tpe uses any")
    seed: int = Field(default=0, ge=0, description="of the draws; the experiment's own seed is that of its trainings")
    pruning: Pruning | None = Field(default=None, description="stops poor trials early; empty: each runs to its end")
    repetitions: Literal["own"] | Protocol = Field(
        default="own", description="a trial's score is the mean over these; own: the experiment's protocol"
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
        """Number of trials."""
        return self.trials or len(list(combinations(self)))

    def metric(self, base: Experiment) -> Metric:
        """Objective: the validation metric that chooses each one's checkpoint."""
        metric: Metric = self.changes.get("metric", base.metric)
        return metric


def combinations(search: Search) -> Iterator[Choices]:
    """Grid: every combination of the axes' choices or ends, the last axis fastest."""
    return _product({path: axis.ends for path, axis in search.space.items()})


def _product(ends: Mapping[str, tuple[Any, ...]]) -> Iterator[Choices]:
    return (dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values()))


def variant(search: Search, base: Experiment, choices: Choices) -> Experiment:
    """Experiment of a trial: the search's with the trial's choices; its name, and all that is not set, stay.

    Raises:
        ConfigError: the choices do not go together.
    """
    where = f"{file_label('searches', search.name)}: space"
    plain, problems = base.explicit_values(), list[Problem]()
    for values in (search.changes, choices):
        unset = {path.partition(".")[0] for path in values if "." in path} - {*plain}
        parts = {key: part.explicit_values() for key in unset if isinstance(part := getattr(base, key, None), Settings)}
        plain, problems = changed({**plain, **parts}, values, where)
        if problems:
            raise ConfigError(*problems)
    return parse(plain, Experiment, where)


def problems(search: Search, base: Experiment) -> list[Problem]:
    """Problems of the search space: a grid's combinations, else values that go with none of the others."""
    if isinstance(base.model, Ensemble):
        where, fix = f"{file_label('searches', search.name)}: experiment", "vary one of its members"
        return [Problem(where, f"{base.name}, an ensemble", "an experiment that is trained", fix)]
    groups: list[Iterable[Choices]]
    if search.sampler == "grid":
        groups = [[choices] for choices in combinations(search)]
    else:  # for each end of each axis, combinations that hold it
        ends = {path: axis.ends for path, axis in search.space.items()}
        corners = [_product({**ends, path: (value,)}) for path in ends for value in ends[path]]
        groups = [itertools.islice(product, CORNERS) for product in corners]
    return list(dict.fromkeys(problem for group in groups for problem in first_problems(search, base, group)))


def first_problems(search: Search, base: Experiment, group: Iterable[Choices]) -> tuple[Problem, ...]:
    """Problems of the first of some combinations; none where one of them is valid."""
    first: tuple[Problem, ...] = ()
    for choices in group:
        try:
            variant(search, base, choices)
        except ConfigError as error:
            first = first or error.problems
        else:
            return ()
    return first
