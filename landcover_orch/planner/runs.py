"""Next runs: steps that may be built now, and what of their stage follows them, grouped as runs take them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from landcover_orch.planner.durations import total
from landcover_orch.planner.graph import Asset, Partition
from landcover_orch.planner.plan import Plan, State, Step
from landcover_orch.store.canonical import digest

REASONS_SHOWN = 6
"""Most different reasons that a run states."""


@dataclass(frozen=True)
class Run:
    """Assets of one stage over the same partitions, to be built by one run."""

    stage: str
    assets: tuple[str, ...]
    partitions: tuple[Partition, ...]
    steps: tuple[Step, ...]
    """Those that may be built at once, and those that follow them within the run."""

    @property
    def key(self) -> str:
        """Digest of what is built: the same steps by the same recipes have the same."""
        return digest([self.stage, [(*step.key, step.fingerprint) for step in self.steps]])

    @property
    def reasons(self) -> list[str]:
        """Why it is run, a line a reason, with the partitions that it holds for."""
        by_reason: dict[tuple[str, str], list[str]] = {}
        for step in self.steps:
            if step.state is State.BUILD:
                by_reason.setdefault((step.asset, step.reason), []).append(step.partition or "")
        lines = [f"{asset}{_listed(names)}: {reason}" for (asset, reason), names in by_reason.items()]
        more = len(lines) - REASONS_SHOWN
        return lines[:REASONS_SHOWN] + ([f"and {more} more"] if more > 0 else [])

    @property
    def seconds(self) -> float | None:
        """Rough cost: what past builds of its steps took together, as far as that is known."""
        return total(step.seconds for step in self.steps)

    def __str__(self) -> str:
        return f"{', '.join(self.assets)}{_listed([name or '' for name in self.partitions])}"


def _listed(names: Sequence[str]) -> str:
    if not any(names):
        return ""
    return f" {', '.join(names)}" if len(names) <= 6 else f" {names[0]} ... {names[-1]}, {len(names)} in all"


def next_runs(described: Plan, stages: Collection[str] | None = None) -> list[Run]:
    """The runs that may start now, none of which waits for another one.

    Within a run an asset follows those of its stage that it is made of; what lies in a later stage waits for the next
    plan, and does not run where its inputs come out the same.

    Args:
        described: the plan.
        stages: those that runs may be of; None for all.
    """
    included: dict[tuple[str, Partition], Step] = {}
    for asset in described.assets:
        if stages is not None and asset.stage not in stages:
            continue
        for partition in asset.partitions:
            step = described.steps[asset.name, partition]
            if step.state is State.BUILD or (
                step.state is State.WAITING and _follows(described, asset, step, included)
            ):
                included[step.key] = step
    return [
        run
        for stage in dict.fromkeys(a.stage for a in described.assets)
        for run in _grouped(described, stage, included)
    ]


def _follows(described: Plan, asset: Asset, step: Step, included: Collection[tuple[str, Partition]]) -> bool:
    """Whether all that a step waits for is built by the same run before it."""
    return all(
        upstream.key in included and upstream.stage == step.stage and upstream.partition == step.partition
        for _, upstream, _ in described.upstream(asset, step.partition)
        if upstream.state in (State.BUILD, State.WAITING)
    )


def _grouped(described: Plan, stage: str, included: dict[tuple[str, Partition], Step]) -> Iterator[Run]:
    """The runs of a stage: partitions that need the same assets together, as many as a run takes."""
    assets = [asset for asset in described.assets if asset.stage == stage]
    needs: dict[tuple[str, ...], list[Partition]] = {}
    for partition in dict.fromkeys(name for asset in assets for name in asset.partitions):
        needed = tuple(asset.name for asset in assets if (asset.name, partition) in included)
        if needed:
            needs.setdefault(needed, []).append(partition)
    limit = {asset.name: asset.per_run for asset in assets}
    for needed, partitions in needs.items():
        size = min(limit[name] for name in needed)
        for start in range(0, len(partitions), size):
            chosen = tuple(partitions[start : start + size])
            steps = tuple(included[name, partition] for name in needed for partition in chosen)
            yield Run(stage, needed, chosen, steps)
