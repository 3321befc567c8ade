"""Label review: polygons whose label speaks against what out-of-fold maps show, where an experiment is named for it."""

from typing import Any

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import patches, prediction
from assets.results import check_result, result, sentences, table
from landcover_orch import config, review
from landcover_orch.config import Dataset
from landcover_orch.errors import Problem
from landcover_orch.planner import Build
from landcover_orch.store import publish
from landcover_orch.store.products import DATASET_MANIFEST, LABEL_REVIEW, SUMMARY
from landcover_orch.tiles import catalogue


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `label_review` and its check, of a dataset whose `label_review` names one of its experiments."""
    return (
        [label_review_asset(dataset), labels_plausible_check(dataset)]
        if dataset.label_review in config.experiments_of(dataset)
        else []
    )


def label_review_builder(dataset: Dataset) -> Build:
    """What ranks the polygons that out-of-fold maps disagree with."""
    from landcover_orch.evaluation.repetition import current_repetitions
    from landcover_orch.review.build import label_review

    experiment, home = config.load_experiment(str(dataset.label_review)), config.home()

    def build(_: str | None) -> publish.Product:
        repetitions = current_repetitions(dataset.name, experiment.name, home)
        return label_review(patches.manifest(dataset), catalogue.survey(dataset).tiles, experiment, repetitions, home)

    return build


def label_review_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `label_review`: polygons that out-of-fold maps disagree with, ranked."""

    @dg.asset(
        key=partitions.key(dataset, LABEL_REVIEW),
        description=f"Polygons of the labels that the folds of {dataset.label_review} disagree with, ranked: CSV, "
        "GeoPackage and a page of pictures.",
        deps=[
            partitions.key(dataset, DATASET_MANIFEST),
            prediction.of_experiment(dataset, str(dataset.label_review)),
        ],
        group_name=partitions.identifier(dataset),
        kinds={"geopackage", "html"},
        owners=["team:mapping"],
        code_version=f"{review.VERSION}-{dataset.label_review}",
        metadata=planned(label_review_builder),
        tags={STAGE: "review"},
    )
    def asset() -> dg.MaterializeResult[Any]:
        with sentences():
            return result(label_review_builder(dataset)(None))

    return asset


def labels_plausible_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: flagged polygons cover no more of the labelled area than is plausible."""

    @dg.asset_check(
        asset=partitions.key(dataset, LABEL_REVIEW),
        name="labels_plausible",
        description=f"At most {dataset.limits.max_flagged:.0%} of the labelled area lies in polygons that confident "
        "learning flags.",
    )
    def labels_plausible() -> dg.AssetCheckResult:
        summary = publish.current(config.home() / dataset.name / LABEL_REVIEW, str(dataset.label_review)).json(SUMMARY)
        fraction = float(summary["flagged_fraction_of_area"])
        limit = dataset.limits.max_flagged
        fix = "correct the worst of the label review, or raise the limit"
        expected = f"at most {limit:.0%} (`limits.max_flagged`)"
        return check_result(
            fraction <= limit,
            Problem(f"{dataset.name}: label review", f"{fraction:.1%} of the labelled area flagged", expected, fix),
            {
                "flagged share of area": fraction,
                "flagged polygons": summary["flagged"],
                **({"the worst": table(summary["worst"])} if summary["worst"] else {}),
            },
        )

    return labels_plausible
