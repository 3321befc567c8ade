"""What of a dataset is missing or stale: the question behind every job and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContext

Partition = str | None
Needed = dict[dg.AssetKey, list[Partition]]


class _Loading(LoadingContext):
    """What the resolver loads records through: one look, nothing kept."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance, self._loaders = instance, {}  # type: ignore[var-annotated]

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict:  # type: ignore[type-arg]
        return self._loaders


def partitions_of(instance: dg.DagsterInstance, graph: AssetGraph, key: dg.AssetKey) -> Sequence[Partition]:
    """The partitions of an asset; [None] where it has none."""
    definition = graph.get(key).partitions_def
    return definition.get_partition_keys(dynamic_partitions_store=instance) if definition else [None]


def unsynced(instance: dg.DagsterInstance, graph: AssetGraph, keys: Iterable[dg.AssetKey]) -> Needed:
    """The partitions of each asset that are missing, or older than their code, inputs or recipe."""
    resolver = CachingStaleStatusResolver(instance, graph, _Loading(instance))
    needed = {
        key: [p for p in partitions_of(instance, graph, key) if resolver.get_status(key, p) != StaleStatus.FRESH]
        for key in keys
    }
    return {key: partitions for key, partitions in needed.items() if partitions}


def with_downstream(
    instance: dg.DagsterInstance, graph: AssetGraph, needed: Needed, within: Sequence[dg.AssetKey]
) -> Needed:
    """`needed`, and of the assets in `within` (in topological order) all that is made of it."""
    closed = dict(needed)
    for key in within:
        partitions = set(closed.get(key, []))
        for parent in graph.get(key).parent_keys & closed.keys():
            same = graph.get(parent).partitions_def == graph.get(key).partitions_def
            partitions |= set(closed[parent] if same else partitions_of(instance, graph, key))
        if partitions:
            closed[key] = [p for p in partitions_of(instance, graph, key) if p in partitions]
    return closed
