"""Relabelled ground truth: one class raster a tile, and the check that no area was lost on the way."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import sources
from assets.results import Event, table, tile_results
from landcover_orch import config, ground_truth
from landcover_orch.config import Dataset
from landcover_orch.errors import pluralise
from landcover_orch.planner import Build, Built
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import GROUND_TRUTH, LABELS, ORTHOPHOTO, SUMMARY
from landcover_orch.store.publish import current, failure_recorded


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `ground_truth` of a dataset and its checks; decisions are checked where labels hold composites."""
    composite = dataset.labels.composite or dataset.labels.kind == "components"
    return [
        ground_truth_asset(dataset),
        areas_agree_check(dataset),
        *([composites_decided_check(dataset)] if composite else []),
    ]


def ground_truth_builder(dataset: Dataset) -> Build:
    """What builds the ground truth of a tile."""
    from landcover_orch.ground_truth.build import build

    legend, tiles = config.load_legend(dataset.legend), sources.tiles_by_name(dataset)
    return lambda name: build(dataset, legend, tiles[str(name)], config.home())


def checked_builder(dataset: Dataset) -> Build:
    """The same behind the check of the tile's files, whose problems are recorded as what the build failed of."""
    from landcover_orch.checks import dataset as checks
    from landcover_orch.ground_truth.build import recipe

    home, folder = config.home(), config.home() / dataset.name / GROUND_TRUTH
    legend, tiles, build = (
        config.load_legend(dataset.legend),
        sources.tiles_by_name(dataset),
        ground_truth_builder(dataset),
    )

    def checked(name: str | None) -> Built:
        tile = tiles[str(name)]
        folder.mkdir(parents=True, exist_ok=True)
        with failure_recorded(folder, tile.name, recipe(dataset, legend, tile, home)):
            checks.check(dataset, legend, [tile]).raise_problems()
        return build(tile.name)

    return checked


def ground_truth_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `ground_truth`: source codes relabelled to classes on the orthophoto's grid."""
    legend = config.load_legend(dataset.legend)
    key = partitions.key(dataset, GROUND_TRUTH)

    @dg.asset(
        key=key,
        description="Source codes relabelled to classes on the orthophoto's grid; 255 = ignore. "
        f"{pluralise(len(legend.codes), 'code')}, {pluralise(len(legend.classes), 'class')}: "
        f"{', '.join(legend.names)}.",
        deps=[partitions.key(dataset, ORTHOPHOTO), partitions.key(dataset, LABELS)],
        partitions_def=partitions.tiles(dataset),
        backfill_policy=partitions.TILE_BACKFILL,
        group_name=partitions.identifier(dataset),
        kinds={"rasterio", "geotiff"},
        owners=["team:mapping"],
        code_version=f"{ground_truth.VERSION}-{digest([legend, dataset.labels, dataset.imagery])}",
        output_required=False,
        metadata=planned(ground_truth_builder),
        tags={STAGE: "prepare"},
    )
    def asset(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from tile_results(context, lambda: checked_builder(dataset), key)

    return asset


def areas_agree_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: areas by source code in labels and class raster."""

    @dg.asset_check(
        asset=partitions.key(dataset, GROUND_TRUTH),
        name="areas_agree",
        description="Each source code covers the same area in the labels and in the class raster.",
        blocking=True,
    )
    def areas_agree(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.ground_truth.areas import area_problems

        summaries = _summaries(context, dataset)
        problems = [problem for summary in summaries.values() for problem in area_problems(summary)]
        rows = [{"tile": name, **row} for name, summary in summaries.items() for row in summary["codes"]]
        return dg.AssetCheckResult(
            passed=not problems,
            metadata={"tiles": len(summaries), "codes": table(rows)} if rows else {"tiles": len(summaries)},
            description="\n".join(map(str, problems)) or None,
        )

    return areas_agree


def composites_decided_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: the rule for composites leaves labelled pixels on every tile."""

    @dg.asset_check(
        asset=partitions.key(dataset, GROUND_TRUTH),
        name="composites_decided",
        description="The legend's rule for polygons with several covers leaves labelled ground on every tile.",
        blocking=True,
    )
    def composites_decided(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.ground_truth.areas import decision_problems

        summaries = _summaries(context, dataset)
        problems = [problem for summary in summaries.values() for problem in decision_problems(summary)]
        rows = [{"tile": name, **row} for name, summary in summaries.items() for row in summary["decisions"]]
        return dg.AssetCheckResult(
            passed=not problems,
            metadata={"tiles": len(summaries), "decisions": table(rows)} if rows else {"tiles": len(summaries)},
            description="\n".join(map(str, problems)) or None,
        )

    return composites_decided


def _summaries(context: dg.AssetCheckExecutionContext, dataset: Dataset) -> dict[str, Any]:
    """The summaries of the tiles that a check is about, by tile."""
    folder = config.home() / dataset.name / GROUND_TRUTH
    names = partitions.chosen_tiles(context, dataset)
    return {name: current(folder, name).json(SUMMARY) for name in names}
