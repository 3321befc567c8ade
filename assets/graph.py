"""Asset graph for the planner: Dagster's definitions of a dataset as plain data, whatever assets there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg

from landcover_orch import config, planner
from landcover_orch.config import Dataset
from landcover_orch.planner import Build
from landcover_orch.store import products

BUILDER, STANDS, OPTIONAL, STAGE = (f"landcover/{name}" for name in ("builder", "stands", "optional", "stage"))
"""Metadata and tag of an asset: the function that builds it, the product that stands, what it is made without where
that failed, and the stage it runs in."""

Builder = Callable[[Dataset], Build]


def planned(builder: Builder, stands: str | None = None, optional: str | None = None) -> dict[str, Any]:
    """Metadata of an asset by which the planner knows it; its tag `STAGE` says with which others it runs.

    Args:
        builder: a function of a module; of a dataset it gives what builds a partition through `store.publish`.
        stands: name of the product that others go on with while a new one waits for a training that is not due.
        optional: an asset that it is made without where that failed.
    """
    named = {STANDS: stands, OPTIONAL: optional}
    return {BUILDER: dg.MetadataValue.python_artifact(builder), **{key: name for key, name in named.items() if name}}


def stages(assets: Iterable[dg.AssetsDefinition]) -> dict[str, list[dg.AssetKey]]:
    """Stage -> keys of its assets, of those that are planned."""
    by_stage: dict[str, list[dg.AssetKey]] = {}
    for asset in assets:
        for spec in asset.specs:
            if BUILDER in spec.metadata:
                by_stage.setdefault(spec.tags[STAGE], []).append(spec.key)
    return by_stage


def asset_graph(
    dataset: Dataset, assets: Iterable[dg.AssetsDefinition], instance: dg.DagsterInstance
) -> list[planner.Asset]:
    """The planned assets of a dataset; those that run when asked to alone are none."""
    return [
        described(dataset, asset, spec, instance)
        for asset in assets
        for spec in asset.specs
        if BUILDER in spec.metadata
    ]


def described(
    dataset: Dataset, asset: dg.AssetsDefinition, spec: dg.AssetSpec, instance: dg.DagsterInstance
) -> planner.Asset:
    """An asset as the planner knows it."""
    artifact: Any = spec.metadata[BUILDER]
    partitioning = spec.partitions_def
    keys = partitioning.get_partition_keys(dynamic_partitions_store=instance) if partitioning else [None]
    is_of_tiles = isinstance(partitioning, dg.DynamicPartitionsDefinition)
    names = [key for key in keys if not is_of_tiles or key not in dataset.tiles.go_on_without]
    policy, stands = asset.backfill_policy, spec.metadata.get(STANDS)
    name = spec.key.path[-1]
    return planner.Asset(
        name=name,
        stage=spec.tags[STAGE],
        dependencies=tuple(dependency(dep, str(spec.metadata.get(OPTIONAL))) for dep in spec.deps),
        partitions=tuple(names),
        partitioning=partition_name(partitioning),
        builder=lambda: getattr(importlib.import_module(artifact.module), artifact.name)(dataset),
        products=products.folder(config.home(), dataset.name, name),
        stands=lambda: stands is not None and products.is_published(config.home(), dataset.name, name, str(stands)),
        per_run=(policy.max_partitions_per_run or len(names) or 1) if policy else 1,
    )


def dependency(dep: dg.AssetDep, optional: str) -> planner.Dependency:
    """What an asset reads of another one; `optional` is the name of one that it is made without where that failed."""
    mapping = dep.partition_mapping
    named = tuple(mapping.partition_keys) if isinstance(mapping, dg.SpecificPartitionsPartitionMapping) else None
    name = dep.asset_key.path[-1]
    return planner.Dependency(name, named, optional=name == optional)


def partition_name(definition: dg.PartitionsDefinition[Any] | None) -> str | None:
    """One name for partitions definitions that are alike; None where there is none."""
    if definition is None:
        return None
    return str(definition.name) if isinstance(definition, dg.DynamicPartitionsDefinition) else "experiments"
