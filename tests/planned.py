"""What the planner says of a dataset, for tests of the lineage."""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from assets.definitions import lineage
from assets.graph import asset_graph
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.planner import Plan, State, plan


def upstream(asset: str) -> tuple[str, ...]:
    """The assets that an asset is made of, by the lineage of a dataset, in their order."""
    specs = {spec.key.path[-1]: spec for known in lineage(config.load_dataset("demo")) for spec in known.specs}
    pending, names = [asset], set[str]()
    while pending:
        names_upstream = {dep.asset_key.path[-1] for dep in specs[pending.pop()].deps} & specs.keys()
        pending += names_upstream - names
        names |= names_upstream
    return tuple(name for name in specs if name in names)


PREPARE = upstream("model")
"""What training needs."""


def described(dagster: dg.DagsterInstance, dataset: Dataset, assets: Collection[str] | None = None) -> Plan:
    """The plan of some assets; of all by default."""
    graph = asset_graph(dataset, lineage(dataset), dagster)
    return plan([asset for asset in graph if assets is None or asset.name in assets])


def stale(
    dagster: dg.DagsterInstance, dataset: Dataset, assets: Collection[str] | None = None
) -> dict[str, list[str | None]]:
    """Asset -> partitions that are to be built, without those that wait for them."""
    partitions: dict[str, list[str | None]] = {}
    for step in described(dagster, dataset, assets).of(State.BUILD):
        partitions.setdefault(step.asset, []).append(step.partition)
    return partitions
