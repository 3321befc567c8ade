"""Trials of a search: suggested by Optuna after those before, as plain values. The only importer of Optuna.

The study is built anew before each trial from the trials that are done, and its sampler seeded with the trial's number:
what is drawn follows from the search and those trials alone, whatever was interrupted on the way.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from landcover_orch.config.experiments import Metric
from landcover_orch.config.experiments.search import Axis, Choices, Search, combinations
from landcover_orch.metrics.catalogue import smaller_is_better
from landcover_orch.store.canonical import digest
from landcover_orch.training import history
from landcover_orch.training.history import Row

optuna.logging.set_verbosity(optuna.logging.WARNING)

State = Literal["complete", "pruned", "failed"]
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.PRUNED}
"""Optuna's states: a failed trial counts as pruned, so that TPE learns to avoid it."""


@dataclass
class Repetition:
    """One training of a trial: its epochs, and the seconds each took."""

    name: str
    rows: list[Row] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Repetition:
        """The repetition that `dataclasses.asdict` wrote."""
        return cls(plain["name"], [Row(**row) for row in plain["rows"]], plain["seconds"])

    def add(self, row: Row, seconds: float) -> None:
        """One more epoch."""
        self.rows.append(row)
        self.seconds.append(seconds)

    @property
    def epochs(self) -> Iterator[tuple[Row, float]]:
        """Each epoch and its seconds."""
        return zip(self.rows, self.seconds, strict=True)


@dataclass(frozen=True)
class Trial:
    """A trial that is over; numbers count from 1.

    `value` is the mean over its repetitions of the validation metric of the epoch that each would keep, None unless the
    trial is complete; `reason` says why it is not.
    """

    number: int
    choices: Choices
    state: State
    value: float | None
    reason: str | None
    repetitions: list[Repetition]

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Trial:
        """The trial that `dataclasses.asdict` wrote."""
        return cls(**{**plain, "repetitions": [Repetition.of(repetition) for repetition in plain["repetitions"]]})

    @property
    def epochs(self) -> int:
        """Epochs of all repetitions together."""
        return sum(len(repetition.rows) for repetition in self.repetitions)

    @property
    def seconds(self) -> float:
        """Seconds of all epochs."""
        return sum(sum(repetition.seconds) for repetition in self.repetitions)

    def reached(self, metric: Metric) -> float | None:
        """The value; of a trial that was stopped that of its first repetition."""
        return self.value if self.value is not None else next(iter(each_reached(self.repetitions, metric)), None)

    def spread(self, metric: Metric) -> float | None:
        """Standard deviation (n - 1) over the repetitions of a complete trial; None of a single one."""
        known = [value for value in each_reached(self.repetitions, metric) if value is not None]
        return statistics.stdev(known) if self.value is not None and len(known) > 1 else None


def reached(rows: Sequence[Row], metric: Metric) -> float | None:
    """The metric of the epoch that is kept so far; None where it is undefined."""
    best = history.best(rows, metric)
    return best.validation_loss if metric == "loss" else best.metrics[metric]


def each_reached(repetitions: Sequence[Repetition], metric: Metric) -> list[float | None]:
    """What each repetition reached that had an epoch."""
    return [reached(repetition.rows, metric) for repetition in repetitions if repetition.rows]


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of values that are all defined; None else."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def best(trials: Sequence[Trial], metric: Metric) -> Trial | None:
    """The complete trial with the best value, of equals the first; None where none is complete."""
    sign = 1.0 if smaller_is_better(metric) else -1.0
    return min((t for t in trials if t.value is not None), key=lambda t: sign * (t.value or 0.0), default=None)


@dataclass(frozen=True)
class SuggestedTrial:
    """Trial suggested by Optuna; its number counts from 1."""

    number: int
    choices: Choices
    metric: Metric
    trial: optuna.Trial

    def should_stop(self, rows: Sequence[Row]) -> bool:
        """Pruning: reports the epochs so far to Optuna; whether it would stop the trial there."""
        self.trial.report(value_or_nan(rows, self.metric), len(rows) - 1)
        return self.trial.should_prune()


def draw(search: Search, metric: Metric, done: Sequence[Trial]) -> SuggestedTrial:
    """Asks Optuna for the trial that follows those that are done."""
    study = optuna.create_study(
        direction="minimize" if smaller_is_better(metric) else "maximize",
        sampler=build_sampler(search, len(done) + 1),
        pruner=build_pruner(search),
    )
    distributions = {path: distribution(axis) for path, axis in search.space.items()}
    study.add_trials([frozen_trial(search, metric, trial, distributions) for trial in done])
    if search.sampler == "grid":
        study.enqueue_trial(_drawn(search, list(combinations(search))[len(done)]))
    suggested = study.ask(distributions)
    axes, params = search.space, suggested.params
    choices = {path: axes[path].choices[params[path]] if axes[path].choices else params[path] for path in axes}
    return SuggestedTrial(len(done) + 1, choices, metric, suggested)


def build_sampler(search: Search, number: int) -> BaseSampler:
    """Optuna's sampler, seeded by the search and the number of the trial."""
    seed = int(digest([search.seed, number]), 16) % 2**32
    if search.sampler == "tpe":
        return TPESampler(n_startup_trials=search.startup, seed=seed)
    return RandomSampler(seed)


def build_pruner(search: Search) -> optuna.pruners.BasePruner:
    """Optuna's median pruner, or none."""
    if search.pruning is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(search.pruning.startup, search.pruning.warmup)


def distribution(axis: Axis) -> BaseDistribution:
    """Optuna's distribution of an axis; choices by their index, as Optuna takes no lists and no settings."""
    if axis.low is None or axis.high is None:
        return CategoricalDistribution(range(len(axis.choices)))
    if axis.is_integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _drawn(search: Search, choices: Choices) -> dict[str, Any]:
    """Choices as Optuna has them."""
    axes = search.space
    return {path: axes[path].choices.index(v) if axes[path].choices else v for path, v in choices.items()}


def frozen_trial(
    search: Search, metric: Metric, trial: Trial, distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    """Optuna's record of a trial that is done; intermediate values are those of its first repetition."""
    first = trial.repetitions[0].rows if trial.repetitions else []
    return optuna.trial.create_trial(
        state=STATES[trial.state],
        value=trial.value,
        params=_drawn(search, trial.choices),
        distributions=distributions,
        intermediate_values={i: value_or_nan(first[: i + 1], metric) for i in range(len(first))},
    )


def value_or_nan(rows: Sequence[Row], metric: Metric) -> float:
    """The metric reached so far, NaN where it is undefined."""
    value = reached(rows, metric)
    return float("nan") if value is None else value
