"""Class proportions of the champion's maps: a table, and what the Sentinel-2 challenge takes."""

from typing import Any

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import patches
from assets.results import result, sentences
from landcover_orch import config, evaluation
from landcover_orch.config import Dataset
from landcover_orch.planner import Build
from landcover_orch.store import products
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import CHAMPION, DATASET_MANIFEST, LAND_COVER_MAP, PROPORTIONS
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `proportions` of a dataset."""
    return [proportions_asset(dataset)]


def champions_maps(dataset: Dataset) -> tuple[dict[str, Product], list[str]]:
    """Tile -> the champion's map of it, and the tiles that have none."""
    from landcover_orch.evaluation import champion

    home, tiles = config.home(), [tile.name for tile in catalogue.survey(dataset).tiles]
    maps = products.current_maps(home, dataset.name, tiles, champion.load(dataset.name, home).fingerprint)
    return maps, sorted(set(tiles) - set(maps))


def proportions_builder(dataset: Dataset) -> Build:
    """What counts the class proportions of the champion's maps."""
    from landcover_orch.evaluation.proportions.build import build

    return lambda _: build(patches.manifest(dataset), dataset, champions_maps(dataset)[0], config.home())


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
        metadata=planned(proportions_builder),
        tags={STAGE: "summarise"},
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with sentences():
            maps, missing = champions_maps(dataset)
            if missing:
                context.log.warning("no map by the champion of %d tiles: %s", len(missing), ", ".join(missing[:10]))
            product = proportions_builder(dataset)(None)
            return result(product, **{"tiles": len(maps), "tiles without a map": len(missing)})

    return asset
