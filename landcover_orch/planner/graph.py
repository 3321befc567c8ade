"""Asset graph as plain data: assets, their dependencies and partitions, and the function that builds each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from landcover_orch.errors import ConfigError, Problem
from landcover_orch.store.publish import Product

Partition = str | None
"""Name of a partition; None of an asset that has none."""

Built = Product | Mapping[tuple[str, ...], Product]
"""The product of a partition, or its products by name."""

Build = Callable[[Partition], Built]
"""Builds a partition through `store.publish`: under `store.publish.dry_run` it says what it would build."""


REPLACE = "give one of these assets another tag `STAGE`, or none"


@dataclass(frozen=True)
class Dependency:
    """What an asset reads of another one: the same partition where both are partitioned in one way, else all."""

    asset: str
    partitions: tuple[str, ...] | None = None
    """Those that are read, where they are neither the same nor all."""

    optional: bool = False
    """Whether it is made without it where that failed."""


@dataclass(frozen=True)
class Asset:
    """An asset of the lineage."""

    name: str
    stage: str
    """Assets of one stage and one partition run together."""

    dependencies: tuple[Dependency, ...]
    partitions: tuple[Partition, ...]
    partitioning: str | None
    """Name of the partitions definition; None where there is none."""

    builder: Callable[[], Build]
    """Prepares what all partitions share, and gives the function that builds one."""

    stands: Callable[[], bool] = lambda: False
    """Whether it has a product that is good to go on with while a new one waits for a training that is not due."""

    per_run: int = 1
    """Most partitions that one run takes."""

    products: Path | None = None
    """Folder of its products, beside which lies what their builds took."""

    def reads(self, upstream: Asset, dependency: Dependency, partition: Partition) -> tuple[Partition, ...]:
        """The partitions of an upstream asset that a partition of this one is made of."""
        if dependency.partitions is not None:
            return tuple(name for name in upstream.partitions if name in dependency.partitions)
        if self.partitioning is not None and upstream.partitioning == self.partitioning:
            return (partition,) if partition in upstream.partitions else ()
        return upstream.partitions

    def needs_each(self, upstream: Asset, dependency: Dependency) -> bool:
        """Whether one failed partition stops it; of all partitions it takes what is there."""
        single = upstream.partitioning is None or upstream.partitioning == self.partitioning
        return not dependency.optional and (single or dependency.partitions is not None)


class Placement(NamedTuple):
    """Where an asset stands in the lineage: its stage, its partitions definition by name, what it is made of."""

    stage: str
    partitioning: str | None
    dependencies: tuple[str, ...]


def stage_order(assets: Mapping[str, Placement]) -> list[str]:
    """Topological order of stages, by the assets' dependencies.

    Args:
        assets: name -> its placement; what is no asset here is no dependency.

    Raises:
        ConfigError: a stage whose assets have unlike partitions, or that waits for another one that waits for it: its
            runs would build some of its assets again and again.
    """
    members: dict[str, list[str]] = {}
    for name, asset in assets.items():
        members.setdefault(asset.stage, []).append(name)
    graph = {
        stage: {assets[d].stage for name in names for d in assets[name].dependencies if d in assets} - {stage}
        for stage, names in members.items()
    }
    problems = [
        Problem(f"stage {stage}", f"unlike partitions of {', '.join(names)}", "assets of the same partitions", REPLACE)
        for stage, names in members.items()
        if len({assets[name].partitioning for name in names}) > 1
    ]
    if problems:
        raise ConfigError(*problems)
    try:
        return [*TopologicalSorter(graph).static_order()]
    except CycleError as error:
        circle = error.args[1]
        names = ", ".join(name for stage in dict.fromkeys(circle) for name in members[stage])
        problem = Problem(f"stages of {names}", " -> ".join(circle), "stages that wait for earlier ones alone", REPLACE)
        raise ConfigError(problem) from None


def in_order(assets: Sequence[Asset]) -> list[Asset]:
    """Topological order: each asset after those that it is made of."""
    by_name = {asset.name: asset for asset in assets}
    graph = {a.name: [d.asset for d in a.dependencies if d.asset in by_name] for a in assets}
    return [by_name[name] for name in TopologicalSorter(graph).static_order()]
