"""Plan: the state of each partition of each asset, by what its build would publish now against what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from landcover_orch.errors import LandcoverError, Problem
from landcover_orch.planner.durations import estimate, past_durations
from landcover_orch.planner.graph import Asset, Build, Partition, in_order
from landcover_orch.store import publish
from landcover_orch.store.publish import NotCurrentError


class State(StrEnum):
    """State of a step."""

    CURRENT = "current"
    """Its product is whole, and of the recipe that a build would have now."""

    BUILD = "build"
    """Missing, stale, damaged, or asked for; all that it is made of is there."""

    WAITING = "waiting"
    """Something that it is made of is to be built first."""

    NOT_DUE = "not due"
    """It would be built anew, or waits for something, that is not due yet."""

    FAILED = "failed"
    """The last build of the same recipe ended with an error about its inputs."""

    BLOCKED = "blocked"
    """Something that it is made of failed, or it cannot be made of what is there."""


@dataclass(frozen=True)
class Step:
    """A partition of an asset, its state, and why."""

    asset: str
    partition: Partition
    stage: str
    state: State
    reason: str = ""
    fingerprint: str | None = None
    """Of the recipe that a build would have now, where that is known; of what is current its data version."""

    cause: publish.State | None = None
    """Why it is built: missing, stale, damaged, or requested."""

    product: Path | None = None
    """Where what is to be built will lie: of several products, the first that is not current."""

    problems: tuple[Problem, ...] = ()
    """What failed, of a step that failed or is blocked."""

    seconds: float | None = None
    """Rough cost of a build: what past ones of the asset took."""

    @property
    def key(self) -> tuple[str, Partition]:
        """Asset and partition."""
        return self.asset, self.partition

    @property
    def name(self) -> str:
        """Asset and partition in words."""
        return self.asset if self.partition is None else f"{self.asset} {self.partition}"

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}" if self.reason else self.name


Held = Callable[[Step], str | None]
"""Why a step that would be built is not due; None where it is."""


@dataclass(frozen=True)
class Plan:
    """The steps of a dataset, in topological order of their assets."""

    assets: tuple[Asset, ...]
    steps: Mapping[tuple[str, Partition], Step] = field(repr=False)

    def of(self, *states: State) -> list[Step]:
        """Steps in one of some states."""
        return [step for step in self.steps.values() if step.state in states]

    @property
    def up_to_date(self) -> bool:
        """Whether everything is current."""
        return all(step.state is State.CURRENT for step in self.steps.values())

    def upstream(self, asset: Asset, partition: Partition) -> Iterator[tuple[Asset, Step, bool]]:
        """Upstream asset, step, and whether that step must not have failed, of all that a partition is made of."""
        by_name = {known.name: known for known in self.assets}
        for dependency in asset.dependencies:
            if (upstream := by_name.get(dependency.asset)) is not None:
                each = asset.needs_each(upstream, dependency)
                for name in asset.reads(upstream, dependency, partition):
                    yield upstream, self.steps[upstream.name, name], each


def plan(
    assets: Sequence[Asset],
    held: Held = lambda step: None,
    examined: dict[tuple[str, Partition], Step] | None = None,
) -> Plan:
    """State of every step of a lineage: its build's dry run against what `current` points to, whole.

    A partition that cannot be examined is blocked with its sentence; the others are examined all the same.

    Args:
        assets: the asset graph.
        held: says why a step that would be built is not due.
        examined: steps that another plan of the same assets looked at, which are not looked at again; gets the others.
    """
    examined = {} if examined is None else examined
    steps: dict[tuple[str, Partition], Step] = {}
    described = Plan(tuple(in_order(assets)), steps)
    for asset in described.assets:
        build: Build | LandcoverError | None = None
        past: dict[str, float] | None = None
        for partition in asset.partitions:
            step = _by_upstream(described, asset, partition)
            if step is None:
                if (asset.name, partition) not in examined:
                    build = _prepared(asset) if build is None else build
                    examined[asset.name, partition] = _examined(asset, partition, build)
                step = examined[asset.name, partition]
                if step.state is State.BUILD and (why := held(step)) is not None:
                    step = _step(asset, partition, State.NOT_DUE, f"{step.reason}; {why}", step.fingerprint)
            if step.state in (State.BUILD, State.WAITING, State.NOT_DUE):
                past = past_durations(asset.products) if past is None else past
                step = replace(step, seconds=estimate(past, partition))
            steps[asset.name, partition] = step
    return described


def by_hand(described: Plan, held: Held) -> Plan:
    """The plan of what a person's `landcover materialise` builds, where each step that a rule holds says so.

    Args:
        described: the plan without a rule.
        held: the rule.
    """

    def noted(step: Step) -> Step:
        why = held(step) if step.state is State.BUILD else None
        note = f"{step.reason}; not due for the schedule ({why}); `landcover materialise` builds it now"
        return step if why is None else replace(step, reason=note)

    return Plan(described.assets, {key: noted(step) for key, step in described.steps.items()})


def _step(
    asset: Asset,
    partition: Partition,
    state: State,
    reason: str,
    fingerprint: str | None = None,
    problems: tuple[Problem, ...] = (),
) -> Step:
    return Step(asset.name, partition, asset.stage, state, reason, fingerprint, problems=problems)


def _by_upstream(described: Plan, asset: Asset, partition: Partition) -> Step | None:
    """The step where what it is made of settles its state already."""
    upstream = list(described.upstream(asset, partition))
    broken = [step for _, step, each in upstream if each and step.state in (State.FAILED, State.BLOCKED)]
    if broken:
        root = broken[0].reason if broken[0].state is State.BLOCKED else f"{broken[0].name} failed: {broken[0].reason}"
        return _step(asset, partition, State.BLOCKED, root, problems=broken[0].problems)
    waiting = [step for _, step, _ in upstream if step.state in (State.BUILD, State.WAITING)]
    if waiting:
        return _step(asset, partition, State.WAITING, f"waits for {_names(waiting)}")
    resting = _resting(upstream)
    if resting:
        return _step(asset, partition, State.NOT_DUE, f"waits for {_names(resting)}, which is not due")
    return None


def _resting(upstream: Sequence[tuple[Asset, Step, bool]]) -> list[Step]:
    """Upstream steps that are not due and keep what is made of them waiting.

    Of an asset whose partitions are read as far as they are there, they do so only where none of them is current.
    """
    going = {known.name for known, step, each in upstream if not each and step.state is State.CURRENT}
    return [
        step
        for known, step, each in upstream
        if step.state is State.NOT_DUE and not known.stands() and (each or known.name not in going)
    ]


def _names(steps: Sequence[Step]) -> str:
    return steps[0].name if len(steps) == 1 else f"{steps[0].name} and {len(steps) - 1} more"


def _prepared(asset: Asset) -> Build | LandcoverError:
    try:
        with publish.dry_run():
            return asset.builder()
    except LandcoverError as error:
        return error


def _examined(asset: Asset, partition: Partition, build: Build | LandcoverError) -> Step:
    """The step by a dry run of its build."""
    if isinstance(build, LandcoverError):
        return _step(asset, partition, State.BLOCKED, _sentence(build), problems=build.problems)
    try:
        with publish.dry_run():
            version = publish.version_of(build(partition))
    except NotCurrentError as error:
        return _to_build(asset, partition, error)
    except LandcoverError as error:
        return _step(asset, partition, State.BLOCKED, _sentence(error), problems=error.problems)
    return _step(asset, partition, State.CURRENT, "", version)


def _to_build(asset: Asset, partition: Partition, error: NotCurrentError) -> Step:
    fingerprint = error.recipe.fingerprint
    failure = publish.failure(error.folder, error.name)
    if failure is not None and failure.fingerprint == fingerprint:
        return _step(asset, partition, State.FAILED, str(failure), fingerprint, failure.problems)
    reason = error.reason if error.state in ("stale", "requested") else f"{error.state}: {error.reason}"
    product = error.folder / f"{error.name}-{fingerprint}"
    return Step(asset.name, partition, asset.stage, State.BUILD, reason, fingerprint, error.state, product)


def _sentence(error: LandcoverError) -> str:
    more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
    return f"{error.problems[0]}{more}" if error.problems else type(error).__name__
