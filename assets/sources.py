"""Source files: external assets, their observations, the sensor that watches for new tiles, and their check."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets import partitions
from assets.results import VERSION_TAG, facts, picture, table
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import CatalogueError, ConfigError, LandcoverError, Problem
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import EXPERIMENT, LABELS, ORTHOPHOTO
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.tile import Tile

SECONDS_A_TICK = 30.0
"""How long one tick of the sensor may read new files; what it does not get to, the next tick does."""

WATCH_INTERVAL_S = 60
PREVIEW_TILES = 30
"""More new tiles than this are observed without their pictures, which would be a quick look at each file."""

UNLABELLED = "unlabelled"
"""Data version of the labels of a tile that has none."""

Observation = tuple[dg.AssetKey, str, str]
"""Asset, partition, fingerprint."""


def definitions(dataset: Dataset) -> list[Any]:
    """The external assets of a dataset, its watch sensor, and its file check."""
    return [*source_specs(dataset), watch_sensor(dataset), files_fit_check(dataset)]


def source_specs(dataset: Dataset) -> list[dg.AssetSpec]:
    """The external assets `orthophoto`, `labels` and `experiment`."""
    tiles, experiments = partitions.tiles(dataset), partitions.experiments(dataset)
    described = {
        ORTHOPHOTO: (tiles, f"The raster as it was delivered, below {dataset.root}; never written to.", "geotiff"),
        LABELS: (tiles, "Polygons or code raster drawn over the orthophoto; never written to.", "file"),
        EXPERIMENT: (experiments, "A training: a file of configs/experiments.", "yaml"),
    }
    return [
        dg.AssetSpec(
            partitions.key(dataset, name),
            description=text,
            partitions_def=partition,
            group_name=partitions.identifier(dataset),
            kinds={kind},
            owners=["team:mapping"],
        )
        for name, (partition, text, kind) in described.items()
    ]


def observations(dataset: Dataset, tiles: Sequence[Tile], seconds: float = float("inf")) -> Iterator[Observation]:
    """Fingerprints of a dataset's files and experiments; stops after the first file that is read past `seconds`."""
    memory = config.home() / "fingerprints.sqlite"
    for name in config.experiments_of(dataset):
        yield partitions.key(dataset, EXPERIMENT), name, digest(config.with_members(name))
    deadline = time.monotonic() + seconds
    for tile in tiles:
        image, label = tile_fingerprints(tile, memory)
        yield partitions.key(dataset, ORTHOPHOTO), tile.name, image
        yield partitions.key(dataset, LABELS), tile.name, label or UNLABELLED
        if time.monotonic() > deadline:
            return


def news(instance: dg.DagsterInstance, seen: Sequence[Observation]) -> list[Observation]:
    """The observations whose fingerprint differs from the one Dagster last heard of."""
    known = {asset: observed_versions(instance, asset) for asset in {asset for asset, _, _ in seen}}
    return [entry for entry in seen if known[entry[0]].get(entry[1]) != entry[2]]


def observed_versions(instance: dg.DagsterInstance, asset: dg.AssetKey) -> dict[str, str]:
    """Partition -> data version that Dagster last observed of an asset."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        asset, dg.DagsterEventType.ASSET_OBSERVATION, tag_keys=[VERSION_TAG]
    )
    return {partition: values[VERSION_TAG] for partition, values in tags.items() if VERSION_TAG in values}


def observe(instance: dg.DagsterInstance, dataset: Dataset) -> list[str]:
    """Tells Dagster of a dataset's tiles, files and experiments now, all of them; gives the tiles' names.

    A tile whose files are gone is no partition any more; its products stay on disk.
    """
    tiles = catalogue.tiles(dataset)
    names, partition = [tile.name for tile in tiles], str(partitions.tiles(dataset).name)
    instance.add_dynamic_partitions(partition, names)
    for gone in sorted(set(instance.get_dynamic_partitions(partition)) - set(names)):
        instance.delete_dynamic_partition(partition, gone)
    changed = news(instance, list(observations(dataset, tiles)))
    for event in _events(dataset, tiles, changed):
        instance.report_runless_asset_event(event)
    return names


def _events(dataset: Dataset, tiles: Sequence[Tile], seen: Sequence[Observation]) -> list[dg.AssetObservation]:
    by_name = {tile.name: tile for tile in tiles}
    pictured = len(seen) <= PREVIEW_TILES
    return [
        dg.AssetObservation(
            asset,
            partition=partition,
            tags={VERSION_TAG: version},
            metadata=source_metadata(dataset, by_name[partition], asset.path[-1], pictured)
            if partition in by_name
            else {},
        )
        for asset, partition, version in seen
    ]


def source_metadata(dataset: Dataset, tile: Tile, asset: str, pictured: bool) -> dict[str, Any]:
    """What Dagster shows of a tile's file: path, grid, bands, year and, where asked for, its picture."""
    from landcover_orch.tiles import preview

    if asset == LABELS:
        if tile.label is None:
            return {"path": "none: mapped, but neither trained on nor scored"}
        shown = {"path": dg.MetadataValue.path(str(tile.label)), "year": tile.label_year}
        if tile.corrections and tile.corrections.path.is_file():
            shown["corrections"] = dg.MetadataValue.path(str(tile.corrections.path))
        return shown
    path = dg.MetadataValue.path(str(tile.image))
    try:
        shown = {"path": path, **facts(preview.facts(dataset, tile))}
        return {**shown, "preview": picture(preview.preview(dataset, tile))} if pictured else shown
    except LandcoverError as error:
        # a file that cannot be read is observed all the same; the check `files_fit` says what is wrong with it
        return {"path": path, "problem": str(error)}


def watch_sensor(dataset: Dataset) -> dg.SensorDefinition:
    """The sensor that turns new and changed files into partitions and observations."""

    @dg.sensor(
        name=f"{partitions.identifier(dataset)}_watch",
        description="New and changed files become tile partitions and observations.",
        minimum_interval_seconds=WATCH_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            tiles = catalogue.tiles(dataset)
        except ConfigError as error:
            return dg.SkipReason(str(error))  # nobody has said yet where the data lie: a variable in `root` is not set
        definition = partitions.tiles(dataset)
        known = set(context.instance.get_dynamic_partitions(str(definition.name)))
        changed = news(context.instance, list(observations(dataset, tiles, SECONDS_A_TICK)))
        new = sorted({partition for asset, partition, _ in changed if asset.path[-1] == ORTHOPHOTO} - known)
        gone = sorted(known - {tile.name for tile in tiles})
        if not changed and not new and not gone:
            return dg.SkipReason(f"{len(tiles)} tiles, nothing new")
        requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
        if new:
            requests.append(definition.build_add_request(new))
        if gone:
            requests.append(definition.build_delete_request(gone))
        return dg.SensorResult(asset_events=_events(dataset, tiles, changed), dynamic_partitions_requests=requests)

    return watch


def files_fit_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: orthophoto and labels can be read and fit each other."""

    @dg.asset_check(
        asset=partitions.key(dataset, ORTHOPHOTO),
        name="files_fit",
        description="Orthophoto and labels can be read, fit each other, and are what the dataset says.",
        blocking=True,
        partitions_def=partitions.tiles(dataset),
    )
    def files_fit(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.checks import dataset as checks

        chosen = set(partitions.chosen_tiles(context, dataset))
        tiles = [tile for tile in catalogue.tiles(dataset) if tile.name in chosen]
        issues = checks.check(dataset, config.load_legend(dataset.legend), tiles)
        rows = [vars(problem) for problem in issues.problems]
        shown: dict[str, Any] = {"tiles": len(tiles), "problems": table(rows)} if rows else {"tiles": len(tiles)}
        return dg.AssetCheckResult(
            passed=not rows,
            metadata={**shown, "notes": "\n".join(issues.notes)},
            description="\n".join(str(problem) for problem in issues.problems) or None,
        )

    return files_fit


def tiles_of(dataset: Dataset, names: Sequence[str]) -> dict[str, Tile]:
    """Tiles of the catalogue by their partition keys.

    Raises:
        CatalogueError: the files of some are gone; all of them are named.
    """
    tiles = {tile.name: tile for tile in catalogue.tiles(dataset)}
    fix = "restore its files, or remove the partition (the watch sensor does)"
    missing = [name for name in names if name not in tiles]
    if missing:
        raise CatalogueError(*(Problem(f"{dataset.name}: tile {name}", "no files", "a tile", fix) for name in missing))
    return {name: tiles[name] for name in names}
