"""Change candidates: polygons that the champion's map shows as another class; where images are newer than labels."""

from typing import Any, cast

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import prediction
from assets.results import check_result, result, sentences, table
from landcover_orch import config, review
from landcover_orch.config import Dataset
from landcover_orch.errors import Problem
from landcover_orch.planner import Build
from landcover_orch.store import publish
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import CHAMPION, DATASET_MANIFEST, LABEL_CHANGES, LAND_COVER_MAP, SUMMARY


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `label_changes` and its check, of a dataset some of whose orthophotos are newer than their labels."""
    return [label_changes_asset(dataset), map_plausible_check(dataset)] if dataset.outdated else []


def reviewed_folds(dataset: Dataset) -> list[str]:
    """The experiment whose out-of-fold maps count beside the champion's, where one is named."""
    return [dataset.label_review] if dataset.label_review in config.experiments_of(dataset) else []


def label_changes_builder(dataset: Dataset) -> Build:
    """What lists the change candidates of a dataset."""
    from landcover_orch.evaluation.repetition import current_repetitions
    from landcover_orch.review.label_changes import by_champion

    home = config.home()

    def build(_: str | None) -> publish.Product:
        names = reviewed_folds(dataset)
        out_of_fold = [repetition for name in names for repetition in current_repetitions(dataset.name, name, home)]
        return by_champion(dataset.name, home, out_of_fold)

    return build


def label_changes_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `label_changes`: change candidates of a dataset."""
    folds = reviewed_folds(dataset)

    @dg.asset(
        key=partitions.key(dataset, LABEL_CHANGES),
        description="Polygons of older labels that the champion's map of a newer orthophoto shows as another class, "
        "the largest and surest first: CSV, GeoPackage and a page of pictures.",
        deps=[
            *(partitions.key(dataset, name) for name in (DATASET_MANIFEST, CHAMPION, LAND_COVER_MAP)),
            *(prediction.of_experiment(dataset, name) for name in folds),
        ],
        group_name=partitions.identifier(dataset),
        kinds={"geopackage", "html"},
        owners=["team:mapping"],
        code_version=f"{review.VERSION}-{digest([dataset.years, folds])}",
        metadata=planned(label_changes_builder),
        tags={STAGE: "summarise"},
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with sentences():
            product = cast("publish.Product", label_changes_builder(dataset)(None))
        for line in product.json(SUMMARY)["tiles_left_out"]:
            context.log.warning("tile %s left out: %s", line["tile"], line["why"])
        return result(product)

    return asset


def map_plausible_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: change candidates cover no more of the labelled area than is plausible."""

    @dg.asset_check(
        asset=partitions.key(dataset, LABEL_CHANGES),
        name="map_plausible",
        description=f"At most {dataset.limits.max_changed:.0%} of the labelled area lies in change candidates; of "
        "more, the map is wrong rather than the ground another one.",
    )
    def map_plausible() -> dg.AssetCheckResult:
        summary = publish.current(config.home() / dataset.name / LABEL_CHANGES, LABEL_CHANGES).json(SUMMARY)
        fraction = float(summary["listed_fraction_of_area"])
        limit = dataset.limits.max_changed
        fix = "look at the map before its candidates; where the ground has changed that much, raise the limit"
        expected = f"at most {limit:.0%} (`limits.max_changed`)"
        return check_result(
            fraction <= limit,
            Problem(f"{dataset.name}: label changes", f"{fraction:.1%} of the labelled area", expected, fix),
            {
                "candidates' share of area": fraction,
                "candidates": summary["listed"],
                "tiles": table(summary["tiles"]),
                **({"the first": table(summary["worst"])} if summary["worst"] else {}),
            },
        )

    return map_plausible
