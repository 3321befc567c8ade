"""Partitions: how assets are partitioned: tiles are dynamic partitions, experiments static ones."""

from __future__ import annotations

import json
from collections.abc import Sequence

import dagster as dg

from landcover_orch import config
from landcover_orch.config import Dataset

TILES_PER_RUN = 50
"""A backfill of 100 tiles is two runs, each handing its tiles to Dask."""

TILE_BACKFILL = dg.BackfillPolicy.multi_run(max_partitions_per_run=TILES_PER_RUN)


def tiles(dataset: Dataset) -> dg.DynamicPartitionsDefinition:
    """One partition a source raster; keys arrive from `observe` (the watch sensor, or the command line)."""
    return dg.DynamicPartitionsDefinition(name=f"{dataset.name}_tiles")


def experiments(dataset: Dataset) -> dg.StaticPartitionsDefinition:
    """One partition an experiment of the dataset."""
    return dg.StaticPartitionsDefinition(list(config.experiments_of(dataset)))


def key(dataset: Dataset, asset: str) -> dg.AssetKey:
    """The key of one of a dataset's assets: dataset, then asset."""
    return dg.AssetKey([dataset.name, asset])


def identifier(dataset: Dataset) -> str:
    """The dataset's name as Dagster wants groups, jobs and sensors to be called: letters, digits and underscores."""
    return config.identifier(dataset.name)


RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""Tags of a run over a range of partitions."""

TILES = "landcover/tiles"
"""Tag of a run over a range of tiles that is about some of them alone: their names as a JSON list."""


def run_tiles(step: dg.AssetExecutionContext | dg.OpExecutionContext) -> list[str]:
    """The tiles that a run is about: those of its partition range, or those of them that its tag names."""
    named = step.run.tags.get(TILES)
    chosen = None if named is None else set(json.loads(named))
    return [tile for tile in step.partition_keys if chosen is None or tile in chosen]


def chosen_tiles(context: dg.AssetCheckExecutionContext, dataset: Dataset) -> Sequence[str]:
    """The tiles a check is about: those of its run that are built; all that are known where it runs without any."""
    step = context.op_execution_context
    if step.has_partition_key or step.has_partition_key_range:
        return run_tiles(step)
    return tiles(dataset).get_partition_keys(dynamic_partitions_store=context.instance)


def chosen_experiments(context: dg.AssetCheckExecutionContext, dataset: Dataset) -> Sequence[str]:
    """The experiments a check is about: that of its run; all where it runs without any."""
    step = context.op_execution_context
    return [step.partition_key] if step.has_partition_key else list(config.experiments_of(dataset))
