"""Label quality: each tile's labels examined once they are rasterised and cut into patches, and the checks of it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import sources
from assets.results import Event, embedded_picture, facts, table, tile_results
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import Problem
from landcover_orch.ground_truth.quality import VERSION
from landcover_orch.planner import Build
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import (
    CLASS_RASTER,
    GROUND_TRUTH,
    LABEL_QUALITY,
    LABELS,
    ORTHOPHOTO,
    PATCHES,
    SUMMARY,
)
from landcover_orch.store.publish import current
from landcover_orch.tiles import catalogue

if TYPE_CHECKING:
    from landcover_orch.ground_truth.quality.build import Cut

Problems = Callable[[dict[str, Any]], list[Problem]]


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `label_quality` of a dataset and its checks."""
    return [label_quality_asset(dataset), *quality_checks(dataset)]


def label_quality_builder(dataset: Dataset) -> Build:
    """What examines the labels of a tile."""
    from landcover_orch.ground_truth.quality.build import build

    legend, tiles = config.load_legend(dataset.legend), sources.tiles_by_name(dataset)
    return lambda name: build(dataset, legend, tiles[str(name)], config.home(), cut_of(dataset, str(name)))


def label_quality_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `label_quality`: shift, topology and conserved areas of a tile's labels."""
    key = partitions.key(dataset, LABEL_QUALITY)
    inputs = (ORTHOPHOTO, LABELS, GROUND_TRUTH, PATCHES)

    @dg.asset(
        key=key,
        description="How far labels lie beside the image, how polygons cover the ground, and whether "
        "areas are those of the source.",
        deps=[partitions.key(dataset, name) for name in inputs],
        partitions_def=partitions.tiles(dataset),
        backfill_policy=partitions.TILE_BACKFILL,
        group_name=partitions.identifier(dataset),
        kinds={"shapely", "html"},
        owners=["team:mapping"],
        code_version=f"{VERSION}-{digest([dataset.imagery])}",
        output_required=False,
        metadata=planned(label_quality_builder),
        tags={STAGE: "prepare"},
    )
    def asset(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from tile_results(context, lambda: label_quality_builder(dataset), key)

    return asset


def cut_of(dataset: Dataset, tile: str) -> "Cut":
    """The patches of a tile, whose counted pixels are held against its labels."""
    from landcover_orch.ground_truth.quality.build import Cut
    from landcover_orch.patches import store
    from landcover_orch.patches.conservation import covered

    folder = config.home() / dataset.name
    patches, truth = current(folder / PATCHES, tile), current(folder / GROUND_TRUTH, tile)
    return Cut(patches.fingerprint, lambda: covered(patches.file(store.STORE), truth.file(CLASS_RASTER)))


def quality_checks(dataset: Dataset) -> list[dg.AssetChecksDefinition]:
    """The asset checks of label quality."""

    def of(name: str, description: str, problems_of: Problems, severity: dg.AssetCheckSeverity) -> Any:
        @dg.asset_check(
            asset=partitions.key(dataset, LABEL_QUALITY),
            name=name,
            description=description,
        )
        def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            return quality_result(context, dataset, problems_of, severity)

        return check

    return [
        of(
            "shift_within_limit",
            "Labels lie on the edges of the image, to within `limits.max_shift` pixels where it can be estimated.",
            lambda summary: _quality().shift_problems(dataset, summary),
            dg.AssetCheckSeverity.ERROR,
        ),
        of(
            "areas_conserved",
            "Each source code has one area in labels, class raster and patches, every pixel counted once.",
            lambda summary: _quality().conservation_problems(summary),
            dg.AssetCheckSeverity.ERROR,
        ),
        of(
            "topology",
            "Polygons meet without gaps, overlaps and slivers.",
            lambda summary: _quality().topology_problems(summary),
            dg.AssetCheckSeverity.WARN,
        ),
        common_shift_check(dataset),
    ]


def common_shift_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: the shift of all labels of a flight, estimated together."""

    @dg.asset_check(
        asset=partitions.key(dataset, LABEL_QUALITY),
        name="common_shift",
        description="Labels of tiles that are too small for an estimate of their own lie, taken together, on the edges "
        "of the image: all tiles of a year and a year of labels that are examined, whichever were now.",
    )
    def check() -> dg.AssetCheckResult:
        from landcover_orch.ground_truth.quality import common_shift

        estimates = common_shift.common(dataset, catalogue.survey(dataset).tiles, config.home())
        shown = {
            f"correlation {i}": embedded_picture(estimate.png) for i, estimate in enumerate(estimates) if estimate.png
        }
        metadata = {**facts({"common": [estimate.row for estimate in estimates]}), **shown}
        return _checked(common_shift.problems(dataset, estimates), dg.AssetCheckSeverity.ERROR, metadata)

    return check


def _quality() -> Any:
    from landcover_orch.ground_truth.quality import build as quality  # with the definitions it would load rasters

    return quality


def quality_result(
    context: dg.AssetCheckExecutionContext, dataset: Dataset, problems_of: Problems, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    """The result of a check over the chosen tiles' summaries."""
    folder = config.home() / dataset.name / LABEL_QUALITY
    summaries = [current(folder, name).json(SUMMARY) for name in partitions.chosen_tiles(context, dataset)]
    problems = [problem for summary in summaries for problem in problems_of(summary)]
    return _checked(problems, severity, {"tiles": len(summaries)})


def _checked(problems: list[Problem], severity: dg.AssetCheckSeverity, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    rows = [vars(problem) for problem in problems]
    return dg.AssetCheckResult(
        passed=not problems,
        severity=severity,
        metadata={**metadata, **({"problems": table(rows)} if rows else {})},
        description="\n".join(map(str, problems)) or None,
    )
