"""Maps: the evaluation tiles by each experiment, and any tile by the champion."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import patches, sources
from assets.results import Event, check_result, picture, sentences, table, tile_results
from landcover_orch import config, prediction
from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.planner import Build
from landcover_orch.store import publish
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import (
    CHAMPION,
    CLASS_MAP,
    DATASET_MANIFEST,
    EXPERIMENT,
    LAND_COVER_MAP,
    MODEL,
    ORTHOPHOTO,
    PREDICTION,
    PREVIEW,
    SUMMARY,
)


def definitions(dataset: Dataset) -> list[Any]:
    """The assets `prediction` and `land_cover_map` of a dataset, and the checks of the maps."""
    checks = [covers_the_tile_check(dataset), drift_check(dataset)]
    return [prediction_asset(dataset), land_cover_map_asset(dataset), *checks]


Maps = Mapping[tuple[str, ...], publish.Product]
"""Repetition and tile -> map."""


def prediction_builder(dataset: Dataset, on_map: Callable[[str, str], None] = lambda tile, by: None) -> Build:
    """What predicts the evaluation tiles by an experiment: `Maps`."""
    from landcover_orch.evaluation.evaluate import tiles_to_predict
    from landcover_orch.evaluation.repetition import trained_repetitions
    from landcover_orch.prediction.build import build

    described, home = patches.manifest(dataset), config.home()

    def maps(name: str | None) -> Maps:
        products: dict[tuple[str, ...], publish.Product] = {}
        for experiment, manifest, trained in trained_repetitions(dataset.name, str(name), home):
            for entry in tiles_to_predict(described, manifest):
                products[experiment.name, entry.name] = build(described, entry, trained, experiment, home)
                on_map(entry.name, experiment.name)
        if not products:
            where, fix = f"dataset {dataset.name}", "set `splits.test`, or give the experiment `protocol.folds`"
            raise IncompleteError(Problem(where, "no labelled test pixel", "ground to score on", fix))
        return products

    return maps


def land_cover_map_builder(dataset: Dataset) -> Build:
    """What maps a tile by the champion."""
    from landcover_orch.evaluation import champion
    from landcover_orch.prediction.build import build_map
    from landcover_orch.prediction.settings import experiment_of

    home, tiles = config.home(), sources.tiles_by_name(dataset)
    trained = champion.load(dataset.name, home).product(home)
    experiment = experiment_of(trained)
    return lambda name: build_map(dataset, tiles[str(name)], trained, experiment, home)


def prediction_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `prediction`: maps of the evaluation tiles by an experiment."""

    @dg.asset(
        key=partitions.key(dataset, PREDICTION),
        description="Class and confidence maps of the evaluation tiles by each repetition: streamed, blended windows; "
        "of a fold also the tiles in which its ground lies.",
        deps=[partitions.key(dataset, name) for name in (DATASET_MANIFEST, MODEL, EXPERIMENT)],
        partitions_def=partitions.experiments(dataset),
        group_name=partitions.identifier(dataset),
        kinds={"torch", "geotiff"},
        owners=["team:mapping"],
        code_version=str(prediction.VERSION),
        metadata=planned(prediction_builder),
        tags={STAGE: "evaluate"},
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with sentences():
            build = prediction_builder(dataset, lambda tile, by: context.log.info("tile %s predicted by %s", tile, by))
            return prediction_result(cast("Maps", build(context.partition_key)))

    return asset


def prediction_result(products: Maps) -> dg.MaterializeResult[Any]:
    """The materialisation of an experiment's maps: paths, preview, smoothing energies and years."""
    shown: dict[str, Any] = {
        f"tile {tile} by {name}": dg.MetadataValue.path(str(product.path)) for (name, tile), product in products.items()
    }
    smoothed = [
        {"repetition": name, "tile": tile, **product.json("smoothing.json")}
        for (name, tile), product in products.items()
        if "smoothing.json" in product.files
    ]
    if smoothed:
        shown["smoothing, energies in nats"] = table(smoothed)
    years = {tile: year for (_, tile), product in products.items() if (year := product.json(SUMMARY).get("year"))}
    if years:
        shown["years shown"] = table([{"tile": tile, "year": year} for tile, year in sorted(years.items())])
    first = next(iter(products.values()))
    return dg.MaterializeResult(
        metadata={"maps": len(products), "preview": picture(first, PREVIEW), **shown},
        data_version=dg.DataVersion(publish.version_of(products)),
    )


def of_experiment(dataset: Dataset, experiment: str) -> dg.AssetDep:
    """What an asset of all tiles depends on that reads the maps of one experiment."""
    mapping = dg.SpecificPartitionsPartitionMapping([experiment])
    return dg.AssetDep(partitions.key(dataset, PREDICTION), partition_mapping=mapping)


def covers_the_tile_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: maps have a class where, and only where, the image has data."""

    @dg.asset_check(
        asset=partitions.key(dataset, PREDICTION),
        name="covers_the_tile",
        description="Every pixel that holds data has a class, and no other.",
        blocking=True,
    )
    def covers_the_tile(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.evaluation.repetition import current_repetitions
        from landcover_orch.prediction.gaps import gaps

        described = patches.manifest(dataset)
        entries = {entry.name: entry for entry in described.tiles}
        rows = []
        for name in partitions.chosen_experiments(context, dataset):
            maps = [
                (repeated_map.name, *found)
                for repeated_map in current_repetitions(dataset.name, name, config.home())
                for found in repeated_map.maps.items()
            ]
            for repetition, tile, product in maps:
                missing, extra = gaps(described, entries[tile], product.file(CLASS_MAP))
                counted = {"data without class": missing, "class without data": extra}
                rows.append({"repetition": repetition, "tile": tile, **counted})
        wrong = [row for row in rows if differs(row)]
        found = f"pixels without a class, or with one and no data: {', '.join(str(row['tile']) for row in wrong[:5])}"
        fix = f"landcover materialise {dataset.name} --force prediction"
        problem = Problem(f"{dataset.name}: maps", found, "a class where there are data, and nowhere else", fix)
        shown = {"maps": table(rows, differs)} if rows else {}
        return check_result(not wrong, problem, shown, dg.AssetCheckSeverity.ERROR)

    return covers_the_tile


def differs(row: Mapping[str, Any]) -> bool:
    """Whether a map has pixels without a class that hold data, or the other way round."""
    return bool(row["data without class"] or row["class without data"])


def land_cover_map_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `land_cover_map`: any tile mapped by the champion."""
    key = partitions.key(dataset, LAND_COVER_MAP)

    @dg.asset(
        key=key,
        description="The champion's map of any tile, with the year that it shows.",
        deps=[partitions.key(dataset, ORTHOPHOTO), partitions.key(dataset, CHAMPION)],
        partitions_def=partitions.tiles(dataset),
        backfill_policy=partitions.TILE_BACKFILL,
        group_name=partitions.identifier(dataset),
        kinds={"torch", "geotiff"},
        owners=["team:mapping"],
        code_version=f"{prediction.VERSION}-{digest([dataset.years, dataset.imagery])}",
        output_required=False,
        metadata=planned(land_cover_map_builder),
        tags={STAGE: "map"},
    )
    def asset(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from tile_results(
            context, lambda: land_cover_map_builder(dataset), key, lambda name: metadata(drifts(dataset, [name])[0])
        )

    return asset


def metadata(drift: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a tile's distance beside its map, a number that Dagster plots from map to map."""
    return {"drift": drift["largest"], "outside what was trained on": drift["outside"]}


def drifts(dataset: Dataset, names: Sequence[str]) -> list[dict[str, Any]]:
    """How far each of some tiles lies from the train pixels of the champion, band by band."""
    from landcover_orch.evaluation import champion
    from landcover_orch.patches import drift_watch

    home, tiles = config.home(), sources.tiles_by_name(dataset)
    trained = drift_watch.trained_on(dataset.name, champion.load(dataset.name, home).data_digest, home)
    return [drift_watch.build(dataset, tiles[name], trained, home).json(SUMMARY) for name in names]


def drift_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: radiometric drift of a mapped tile against its model's train pixels."""

    @dg.asset_check(
        asset=partitions.key(dataset, LAND_COVER_MAP),
        name="radiometry_like_training",
        description="No band of the mapped tile lies further from what its model was trained on than "
        "`limits.max_drift`.",
    )
    def radiometry_like_training(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return patches.drift_result(dataset, drifts(dataset, partitions.chosen_tiles(context, dataset)))

    return radiometry_like_training
