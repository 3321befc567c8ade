"""Class proportions of the champion's maps: a table, and what the Sentinel-2 challenge takes."""

from typing import Any

import dagster as dg

from assets import partitions, patches
from assets.results import result
from landcover_orch import config, evaluation
from landcover_orch.config import Dataset
from landcover_orch.store import products
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import CHAMPION, DATASET_MANIFEST, LAND_COVER_MAP, PROPORTIONS


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `proportions` of a dataset."""
    return [proportions_asset(dataset)]


def proportions_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `proportions`: class proportions of the champion's maps."""

    @dg.asset(
        key=partitions.key(dataset, PROPORTIONS),
        description=f"Class proportions of each {dataset.proportions.unit} by the champion's maps, beside those of the "
        "labels: CSV and Parquet, their divergence, and submission.csv.",
        deps=[partitions.key(dataset, name) for name in (DATASET_MANIFEST, CHAMPION, LAND_COVER_MAP)],
        group_name=partitions.identifier(dataset),
        kinds={"parquet", "csv"},
        owners=["team:mapping"],
        code_version=f"{evaluation.VERSION}-{digest(dataset.proportions)}",
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch.evaluation import champion
        from landcover_orch.evaluation.proportions.build import build

        home = config.home()
        tiles = partitions.tiles(dataset).get_partition_keys(dynamic_partitions_store=context.instance)
        maps = products.current_maps(home, dataset.name, tiles, champion.load(dataset.name, home).fingerprint)
        missing = sorted(set(tiles) - set(maps))
        if missing:
            context.log.warning("no map by the champion of %d tiles: %s", len(missing), ", ".join(missing[:10]))
        product = build(patches.manifest(dataset), dataset, maps, home)
        return result(product, **{"tiles": len(maps), "tiles without a map": len(missing)})

    return asset
