"""Asset graph for the planner: Dagster's definitions of a dataset as plain data, whatever assets there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from landcover_orch import config, planner
from landcover_orch.config import Dataset
from landcover_orch.planner import Build
from landcover_orch.planner.graph import Placement, stage_order
from landcover_orch.store import products

BUILDER, STANDS, OPTIONAL, STAGE = (f"landcover/{name}" for name in ("builder", "stands", "optional", "stage"))
"""Metadata and tag of an asset: the function that builds it, the product that stands, what it is made without where
that failed, and the stage that it runs in, where that is not its own."""

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


def planned_specs(assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetSpec]:
    """Specifications of the assets that are planned; those that run when asked to alone are none."""
    return [spec for asset in assets for spec in asset.specs if BUILDER in spec.metadata]


def stage_of(spec: dg.AssetSpec) -> str:
    """The stage that an asset runs in: its tag `STAGE`; without one it is a stage of its own, which has its name."""
    return spec.tags.get(STAGE, spec.key.path[-1])


def stages(assets: Iterable[dg.AssetsDefinition]) -> dict[str, list[dg.AssetKey]]:
    """Stage -> keys of its planned assets, each stage after those that it waits for.

    Raises:
        ConfigError: a stage that no run can build at once (see `planner.graph.stage_order`).
    """
    specs = planned_specs(assets)
    order = stage_order({spec.key.path[-1]: placement(spec) for spec in specs})
    return {stage: [spec.key for spec in specs if stage_of(spec) == stage] for stage in order}


def placement(spec: dg.AssetSpec) -> Placement:
    """Where an asset stands in the lineage."""
    upstream = tuple(dep.asset_key.path[-1] for dep in spec.deps)
    return Placement(stage_of(spec), partition_name(spec.partitions_def), upstream)


def in_order(items: Sequence[Any]) -> list[Any]:
    """Topological order of assets and their checks: each after the assets that it is made of, or is about."""
    specs = {key: spec for item in items for key, spec in specs_of(item).items()}
    graph = {key: [dep.asset_key for dep in spec.deps if dep.asset_key in specs] for key, spec in specs.items()}
    position = {key: i for i, key in enumerate(TopologicalSorter(graph).static_order())}
    return sorted(items, key=lambda item: position[subject(item)])


def specs_of(item: Any) -> dict[dg.AssetKey, dg.AssetSpec]:
    """Specifications of the assets that a definition holds, by key; none of a check."""
    if isinstance(item, dg.AssetSpec):
        return {item.key: item}
    return {} if isinstance(item, dg.AssetChecksDefinition) else {spec.key: spec for spec in item.specs}


def subject(item: Any) -> dg.AssetKey:
    """The asset that a definition is, or checks."""
    if isinstance(item, dg.AssetChecksDefinition):
        return next(iter(item.check_specs)).asset_key
    return next(iter(specs_of(item)))


def asset_graph(
    dataset: Dataset, assets: Iterable[dg.AssetsDefinition], instance: dg.DagsterInstance
) -> list[planner.Asset]:
    """The planned assets of a dataset; those that run when asked to alone are none."""
    return [described(dataset, asset, spec, instance) for asset in assets for spec in planned_specs([asset])]


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
        stage=stage_of(spec),
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
