"""Source files: external assets, their observations, and their check."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets import events, partitions
from assets.results import VERSION_TAG, embedded_picture, facts, table
from landcover_orch import config, custom
from landcover_orch.config import Dataset
from landcover_orch.errors import CatalogueError, LandcoverError, Problem, pluralise
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.store.canonical import digest
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import EXPERIMENT, LABELS, ORTHOPHOTO
from landcover_orch.tiles import catalogue as catalogues
from landcover_orch.tiles.tile import Tile

PREVIEW_TILES = 30
"""More new tiles than this are observed without their pictures, which would be a quick look at each file."""

UNLABELLED = "unlabelled"
"""Data version of the labels of a tile that has none."""

Observation = tuple[dg.AssetKey, str, str]
"""Asset, partition, fingerprint."""


def definitions(dataset: Dataset) -> list[Any]:
    """The external assets of a dataset, and its file check."""
    return [*source_specs(dataset), files_fit_check(dataset)]


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
    """Fingerprints of a dataset's files and experiments; stops after the first file that is read past `seconds`.

    What cannot be read has none: the build that needs it says why.
    """
    memory = config.home() / MEMORY
    for name in config.experiments_of(dataset):
        with suppress(LandcoverError):
            members = config.with_members(name)
            code = custom.inputs(custom.packages([member.model_dump() for member in members]))
            yield partitions.key(dataset, EXPERIMENT), name, digest([*members, code] if code else members)
    deadline = time.monotonic() + seconds
    for tile in tiles:
        try:
            image, label = tile_fingerprints(tile, memory)
        except LandcoverError:
            continue
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


@dataclass(frozen=True)
class Observed:
    """What a look at the files showed: the tiles, those that are new, changed or gone, those that wait, and why."""

    tiles: tuple[str, ...]
    new: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    waiting: tuple[str, ...]
    unread: int
    """Tiles at the end of the list whose files the look had no time for."""

    def __str__(self) -> str:
        parts = [
            pluralise(len(names), f"{word} tile") + (f" ({', '.join(names)})" if len(names) <= 5 else "")
            for names, word in ((self.new, "new"), (self.changed, "changed"), (self.gone, "removed"))
            if names
        ]
        return ", ".join(parts)


def observe(instance: dg.DagsterInstance, dataset: Dataset, seconds: float = float("inf")) -> Observed:
    """Tells Dagster of a dataset's tiles, files and experiments now; a file with a fault does not hide the others.

    A tile whose files are gone is no partition any more; its products stay on disk.

    Args:
        instance: Dagster's.
        dataset: whose files are looked at.
        seconds: how long new files may be read; what is not got to, the next look reads.

    Raises:
        ConfigError: a variable of `root` is not set.
        CatalogueError: what is wrong with the dataset as a whole.
    """
    catalogue = catalogues.survey(dataset)
    names, partition = [tile.name for tile in catalogue.tiles], str(partitions.tiles(dataset).name)
    known = set(instance.get_dynamic_partitions(partition))
    new, gone = sorted({*names} - known), sorted(known - {*names})
    if new:
        instance.add_dynamic_partitions(partition, new)
    for name in gone:
        instance.delete_dynamic_partition(partition, name)
    seen = list(observations(dataset, catalogue.tiles, seconds))
    changed = news(instance, seen)
    events.report(instance, _events(dataset, catalogue.tiles, changed))
    touched = {name for key, name, _ in changed if key.path[-1] != EXPERIMENT}
    last = next((i for i, name in enumerate(reversed(names)) if name in {seen_name for _, seen_name, _ in seen}), 0)
    return Observed(
        tiles=tuple(names),
        new=tuple(new),
        changed=tuple(sorted(touched - {*new})),
        gone=tuple(gone),
        waiting=tuple(map(str, catalogue.problems)),
        unread=last if seconds < float("inf") else 0,
    )


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
        return {**shown, "preview": embedded_picture(preview.preview(dataset, tile))} if pictured else shown
    except LandcoverError as error:
        # a file that cannot be read is observed all the same; the check `files_fit` says what is wrong with it
        return {"path": path, "problem": str(error)}


def files_fit_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: orthophoto and labels can be read and fit each other; ground truth refuses a tile that fails it."""

    @dg.asset_check(
        asset=partitions.key(dataset, ORTHOPHOTO),
        name="files_fit",
        description="Orthophoto and labels can be read, fit each other, and are what the dataset says.",
    )
    def files_fit(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.checks import dataset as checks

        chosen = set(partitions.chosen_tiles(context, dataset))
        tiles = [tile for tile in catalogues.survey(dataset).tiles if tile.name in chosen]
        issues = checks.check(dataset, config.load_legend(dataset.legend), tiles)
        rows = [vars(problem) for problem in issues.problems]
        shown: dict[str, Any] = {"tiles": len(tiles), "problems": table(rows)} if rows else {"tiles": len(tiles)}
        return dg.AssetCheckResult(
            passed=not rows,
            metadata={**shown, "notes": "\n".join(issues.notes)},
            description="\n".join(str(problem) for problem in issues.problems) or None,
        )

    return files_fit


def tiles_by_name(dataset: Dataset) -> Mapping[str, Tile]:
    """The tiles of a dataset by name; one whose files are not all there is an error that says so.

    Raises:
        CatalogueError: what is wrong with the dataset as a whole.
    """
    catalogue = catalogues.survey(dataset)
    return TilesByName({tile.name: tile for tile in catalogue.tiles}, dataset.name, catalogue.waiting)


class TilesByName(dict[str, Tile]):
    """Tiles by name.

    Raises:
        CatalogueError: at a name without complete files.
    """

    def __init__(self, tiles: Mapping[str, Tile], dataset: str, waiting: Mapping[str, Sequence[Problem]]) -> None:
        super().__init__(tiles)
        self._dataset, self._waiting = dataset, waiting

    def __missing__(self, name: str) -> Tile:
        if name in self._waiting:
            raise CatalogueError(*self._waiting[name])
        fix = "restore its files, or remove the partition (the watch sensor does)"
        raise CatalogueError(Problem(f"{self._dataset}: tile {name}", "no files", "a tile", fix))
