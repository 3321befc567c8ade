"""Class proportions of the champion's maps: a table, and what the Sentinel-2 challenge takes."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets import partitions, patches
from assets.results import result
from landcover_orch import config, publish, report
from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `proportions` of a dataset."""
    return [_proportions(dataset)]


def _proportions(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "proportions"),
        description=f"Class proportions of each {dataset.proportions.unit} by the champion's maps, beside those of the "
        "labels: CSV and Parquet, their divergence, and submission.csv.",
        deps=[partitions.key(dataset, name) for name in ("dataset_manifest", "champion", "land_cover_map")],
        group_name=partitions.identifier(dataset),
        kinds={"parquet", "csv"},
        owners=["team:mapping"],
        code_version=f"{report.VERSION}-{config.digest(dataset.proportions)}",
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch.report.proportions import build

        tiles = partitions.tiles(dataset).get_partition_keys(dynamic_partitions_store=context.instance)
        found = maps(dataset, tiles)
        missing = sorted(set(tiles) - set(found))
        if missing:
            context.log.warning("no map by the champion of %d tiles: %s", len(missing), ", ".join(missing[:10]))
        product = build(patches.manifest(dataset), dataset, found, config.home())
        return result(product, **{"tiles": len(found), "tiles without a map": len(missing)})

    return asset


def maps(dataset: Dataset, tiles: Sequence[str]) -> dict[str, publish.Product]:
    """The maps by the standing champion of those tiles that have one."""
    from assets.report import champion

    folder, model = config.home() / dataset.name / "land_cover_map", champion(dataset).fingerprint
    found = {}
    for tile in tiles:
        try:
            product = publish.current(folder, tile)
        except IncompleteError:
            continue
        if product.recipe["inputs"]["model"] == model:
            found[tile] = product
    return found
