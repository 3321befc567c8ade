"""Patch stores a tile, and the dataset manifest: the first look at the data, and what training reads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import sources
from assets.results import Event, check_result, result, sentences, table, tile_results
from landcover_orch import config, patches
from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.planner import Build
from landcover_orch.store import publish
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import (
    DATASET_MANIFEST,
    GROUND_TRUTH,
    MANIFEST_NAME,
    ORTHOPHOTO,
    PATCHES,
    SUMMARY,
    current_manifest,
)
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue

if TYPE_CHECKING:
    from landcover_orch.patches.manifest import DatasetManifest


def definitions(dataset: Dataset) -> list[Any]:
    """The assets `patches` and `dataset_manifest` of a dataset, and their checks."""
    made_by = (tiles_complete_check, classes_trained_check, pixels_vary_check, drift_check)
    checks = [check(dataset) for check in made_by]
    return [patches_asset(dataset), store_is_whole_check(dataset), manifest_asset(dataset), *checks]


def patches_builder(dataset: Dataset) -> Build:
    """What builds the patch store of a tile."""
    from landcover_orch.patches.write import build

    legend, tiles = config.load_legend(dataset.legend), sources.tiles_by_name(dataset)
    return lambda name: build(dataset, legend, tiles[str(name)], config.home())


def manifest_builder(dataset: Dataset) -> Build:
    """What builds the dataset manifest."""
    from landcover_orch.patches.dataset import build

    legend, tiles = config.load_legend(dataset.legend), catalogue.survey(dataset).tiles
    return lambda _: build(dataset, legend, tiles, config.home())


def patches_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `patches`: a Zarr store a tile."""
    key = partitions.key(dataset, PATCHES)

    @dg.asset(
        key=key,
        description=f"Training arrays of {dataset.patches.size} x {dataset.patches.size} px every "
        f"{dataset.patches.stride} px: one Zarr store a tile.",
        deps=[partitions.key(dataset, ORTHOPHOTO), partitions.key(dataset, GROUND_TRUTH)],
        partitions_def=partitions.tiles(dataset),
        backfill_policy=partitions.TILE_BACKFILL,
        group_name=partitions.identifier(dataset),
        kinds={"zarr", "dask"},
        owners=["team:mapping"],
        code_version=f"{patches.VERSION}-{digest([dataset.patches, dataset.imagery])}",
        output_required=False,
        metadata=planned(patches_builder),
        tags={STAGE: "prepare"},
    )
    def asset(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from tile_results(context, lambda: patches_builder(dataset), key)

    return asset


def store_is_whole_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: checksums of the store."""

    @dg.asset_check(
        asset=partitions.key(dataset, PATCHES),
        name="store_is_whole",
        description="Every file of the store has the bytes that its manifest says.",
        blocking=True,
    )
    def store_is_whole(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        folder = config.home() / dataset.name / PATCHES
        names = partitions.chosen_tiles(context, dataset)
        problems = [problem for name in names for problem in damage(folder / name)]
        return dg.AssetCheckResult(
            passed=not problems, metadata={"tiles": len(names)}, description="\n".join(problems) or None
        )

    return store_is_whole


def damage(link: Any) -> list[str]:
    """What is wrong with the product behind a link: a sentence a file; empty where it is whole."""
    try:
        publish.load(link.resolve(), deep=True)
    except IncompleteError as error:
        return [str(problem) for problem in error.problems]
    return []


def manifest_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `dataset_manifest`: tiles, splits, statistics and class weights under one digest."""

    @dg.asset(
        key=partitions.key(dataset, DATASET_MANIFEST),
        description="The first look at the data: tiles, versions, splits, class distribution, band statistics, "
        "class weights and the leak check, under one digest.",
        deps=[partitions.key(dataset, name) for name in (GROUND_TRUTH, PATCHES)],
        group_name=partitions.identifier(dataset),
        kinds={"xarray", "html"},
        owners=["team:mapping"],
        code_version=f"{patches.MANIFEST_VERSION}-{digest([dataset.splits, dataset.limits, dataset.years])}",
        metadata=planned(manifest_builder, stands=MANIFEST_NAME),
        tags={STAGE: "manifest"},
    )
    def asset() -> dg.MaterializeResult[Any]:
        with sentences():
            return result(manifest_builder(dataset)(None))

    return asset


def tiles_complete_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: the manifest holds the current patches of every tile."""

    @dg.asset_check(
        asset=partitions.key(dataset, DATASET_MANIFEST),
        name="tiles_complete",
        description="Every tile of the configuration is in the manifest, in its current version.",
        blocking=True,
    )
    def tiles_complete() -> dg.AssetCheckResult:
        described, home = manifest(dataset), config.home()
        current_fingerprints = {
            tile.name: publish.current(home / dataset.name / PATCHES, tile.name).fingerprint
            for tile in catalogue.survey(dataset).tiles
            if tile.name not in dataset.tiles.go_on_without
        }
        held = {tile.name: tile.patches_fingerprint for tile in described.tiles}
        differences = [
            {"tile": name, "in the manifest": held.get(name), "current": current_fingerprints.get(name)}
            for name in sorted(current_fingerprints.keys() | held.keys())
            if current_fingerprints.get(name) != held.get(name)
        ]
        shown: dict[str, Any] = {"differences": table(differences)} if differences else {}
        found = f"other patches of {', '.join(str(row['tile']) for row in differences[:5])} than those on disk"
        fix = f"landcover materialise {dataset.name}"
        problem = Problem(f"{dataset.name}: dataset_manifest", found, "the current patches of every tile", fix)
        shown |= {"tiles": len(held)}
        return check_result(not differences, problem, shown, dg.AssetCheckSeverity.ERROR)

    return tiles_complete


def classes_trained_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: every class has train pixels."""

    @dg.asset_check(
        asset=partitions.key(dataset, DATASET_MANIFEST),
        name="classes_trained",
        description="Every class of the legend has pixels in the train split.",
    )
    def classes_trained() -> dg.AssetCheckResult:
        described = manifest(dataset)
        pixels = [sum(column) for column in zip(*(t.class_pixels["train"] for t in described.tiles), strict=True)]
        absent = [name for name, count in zip(described.legend.names, pixels, strict=True) if not count]
        fix = "move a tile that holds them to the train split, or take the classes out of the legend"
        problem = Problem(f"{dataset.name}: splits", f"no train pixels of {', '.join(absent)}", "some of each", fix)
        return check_result(not absent, problem, {"absent": ", ".join(absent) or "none"})

    return classes_trained


def pixels_vary_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: no band of a tile holds one value alone, and no two tiles hold the same pixels."""

    @dg.asset_check(
        asset=partitions.key(dataset, DATASET_MANIFEST),
        name="pixels_vary",
        description="Each band of each tile has more than one value, and no two tiles hold the same pixels.",
    )
    def pixels_vary() -> dg.AssetCheckResult:
        suspects = current(dataset).json(SUMMARY).get("suspects", [])
        description = "\n".join(suspects) or None
        return dg.AssetCheckResult(passed=not suspects, severity=dg.AssetCheckSeverity.WARN, description=description)

    return pixels_vary


def drift_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: radiometric drift of the tiles against the train pixels."""

    @dg.asset_check(
        asset=partitions.key(dataset, DATASET_MANIFEST),
        name="radiometry_like_training",
        description="No band of a tile lies further from the train pixels than `limits.max_drift`.",
    )
    def radiometry_like_training() -> dg.AssetCheckResult:
        return drift_result(dataset, current(dataset).json(SUMMARY)["drift"])

    return radiometry_like_training


def drift_result(dataset: Dataset, rows: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """A warning where tiles lie outside what was trained on; the distances of each band, tile by tile."""
    outside = [row["tile"] for row in rows if row["outside"]]
    metadata: dict[str, Any] = {"outside": ", ".join(outside) or "none", "limit": dataset.limits.max_drift}
    columns = ("tile", *dataset.bands, "largest", "outside", "delivered")
    rows = [{column: row[column] for column in columns if column in row} for row in rows]
    expected = f"at most {dataset.limits.max_drift} standard deviations off (`limits.max_drift`)"
    fix = "match their radiometry (`tiles.match`), train with them, or trust their maps less"
    problem = Problem(f"{dataset.name}: {', '.join(outside)}", "unlike what was trained on", expected, fix)
    shown = {"drift": table(rows, lambda row: bool(row.get("outside")))} if rows else {}
    return check_result(not outside, problem, {**metadata, **shown})


def current(dataset: Dataset) -> Product:
    """The manifest's product that was last published."""
    return current_manifest(config.home(), dataset.name)


def manifest(dataset: Dataset) -> "DatasetManifest":
    """The manifest that was last published."""
    from landcover_orch.patches import manifest as manifests

    return manifests.load_current(config.home(), dataset.name)
