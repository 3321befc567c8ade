"""Maps: the evaluation tiles by each experiment, and any tile by the champion."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import model, partitions, patches, raw
from assets.results import Event, picture, table, tile_results
from landcover_orch import config, prediction, publish
from landcover_orch.config import Dataset


def definitions(dataset: Dataset) -> list[Any]:
    """The assets `prediction` and `land_cover_map` of a dataset, and the check of the maps."""
    return [_prediction(dataset), _covers_the_tile(dataset), _land_cover_map(dataset)]


def _prediction(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "prediction"),
        description="Class and confidence maps of the evaluation tiles: streamed, blended windows.",
        deps=[partitions.key(dataset, name) for name in ("dataset_manifest", "model", "experiment")],
        partitions_def=partitions.experiments(dataset),
        group_name=partitions.identifier(dataset),
        kinds={"torch", "geotiff"},
        owners=["team:mapping"],
        code_version=str(prediction.VERSION),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch.prediction.build import build
        from landcover_orch.report.evaluate import tiles_to_predict

        experiment = config.load_experiment(context.partition_key)
        trained, described = model.model(dataset, experiment.name), patches.manifest(dataset)
        products = {}
        for entry in tiles_to_predict(described):
            products[entry.name] = build(described, entry, trained, experiment, config.home())
            context.log.info("tile %s predicted", entry.name)
        shown: dict[str, Any] = {
            f"tile {name}": dg.MetadataValue.path(str(product.path)) for name, product in products.items()
        }
        if experiment.prediction.smoothing:
            shown["smoothing, energies in nats"] = table(
                [{"tile": name, **product.json("smoothing.json")} for name, product in products.items()]
            )
        first = next(iter(products.values()))
        return dg.MaterializeResult(
            metadata={"tiles": len(products), "preview": picture(first.file("preview.png").read_bytes()), **shown},
            data_version=dg.DataVersion(config.digest({name: p.fingerprint for name, p in products.items()})),
        )

    return asset


def predictions(dataset: Dataset, experiment: str) -> dict[str, publish.Product]:
    """The maps of an experiment that were last published, by tile."""
    from landcover_orch.report.evaluate import tiles_to_predict

    folder = config.home() / dataset.name / "prediction" / experiment
    described = patches.manifest(dataset)
    return {entry.name: publish.current(folder, entry.name) for entry in tiles_to_predict(described)}


def _covers_the_tile(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=partitions.key(dataset, "prediction"),
        name="covers_the_tile",
        description="Every pixel that holds data has a class, and no other.",
        blocking=True,
        partitions_def=partitions.experiments(dataset),
    )
    def covers_the_tile(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.prediction.gaps import gaps

        described = patches.manifest(dataset)
        entries = {entry.name: entry for entry in described.tiles}
        rows = []
        for name in partitions.chosen_experiments(context, dataset):
            for tile, product in predictions(dataset, name).items():
                missing, extra = gaps(described, entries[tile], product.file("class.tif"))
                rows.append(
                    {"experiment": name, "tile": tile, "data without class": missing, "class without data": extra}
                )
        return dg.AssetCheckResult(
            passed=not any(row["data without class"] or row["class without data"] for row in rows),
            metadata={"maps": table(rows)} if rows else {},
        )

    return covers_the_tile


def _land_cover_map(dataset: Dataset) -> dg.AssetsDefinition:
    key = partitions.key(dataset, "land_cover_map")

    @dg.asset(
        key=key,
        description="The champion's map of any tile.",
        deps=[partitions.key(dataset, "orthophoto"), partitions.key(dataset, "champion")],
        partitions_def=partitions.tiles(dataset),
        backfill_policy=partitions.TILE_BACKFILL,
        group_name=partitions.identifier(dataset),
        kinds={"torch", "geotiff"},
        owners=["team:mapping"],
        code_version=str(prediction.VERSION),
    )
    def asset(context: dg.AssetExecutionContext) -> Iterator[Event]:
        from assets.report import champion
        from landcover_orch.prediction.build import build_map

        standing = champion(dataset)
        trained, experiment = standing.product(config.home()), config.load_experiment(standing.experiment)
        tiles = raw.tiles_of(dataset, context.partition_keys)
        yield from tile_results(
            context,
            lambda name: build_map(dataset, tiles[name], trained, experiment, config.home()),
            key,
        )

    return asset
