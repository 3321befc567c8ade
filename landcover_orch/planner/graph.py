"""Asset graph as plain data: assets, their dependencies and partitions, and the function that builds each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from landcover_orch.store.publish import Product

Partition = str | None
"""Name of a partition; None of an asset that has none."""

Built = Product | Mapping[tuple[str, ...], Product]
"""The product of a partition, or its products by name."""

Build = Callable[[Partition], Built]
"""Builds a partition through `store.publish`: under `store.publish.dry_run` it says what it would build."""


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


def in_order(assets: Sequence[Asset]) -> list[Asset]:
    """Topological order: each asset after those that it is made of."""
    by_name = {asset.name: asset for asset in assets}
    graph = {a.name: [d.asset for d in a.dependencies if d.asset in by_name] for a in assets}
    return [by_name[name] for name in TopologicalSorter(graph).static_order()]
