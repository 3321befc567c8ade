"""Scores: the report of each experiment, the leaderboard of all, and the champion."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from assets import partitions, patches
from assets.results import result
from landcover_orch import config, evaluation
from landcover_orch.config import Dataset
from landcover_orch.errors import TrackingError
from landcover_orch.store import publish
from landcover_orch.store.products import (
    CHAMPION,
    DATASET_MANIFEST,
    EXPERIMENT,
    LEADERBOARD,
    MODEL,
    PREDICTION,
    REPORT,
    REPORT_JSON,
    SUMMARY,
)


def definitions(dataset: Dataset) -> list[Any]:
    """The assets `report`, `leaderboard` and `champion` of a dataset, and the check of the matrix."""
    return [report_asset(dataset), counted_once_check(dataset), leaderboard_asset(dataset), champion_asset(dataset)]


def report_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `report`: confusion matrix, metrics and figures of an experiment."""

    @dg.asset(
        key=partitions.key(dataset, REPORT),
        description="Confusion matrix a tile and pooled, metrics, figures, costs: one HTML page, also in MLflow.",
        deps=[partitions.key(dataset, name) for name in (DATASET_MANIFEST, MODEL, PREDICTION, EXPERIMENT)],
        partitions_def=partitions.experiments(dataset),
        group_name=partitions.identifier(dataset),
        kinds={"matplotlib", "html"},
        owners=["team:mapping"],
        code_version=str(evaluation.VERSION),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch import tracking
        from landcover_orch.evaluation.build import build
        from landcover_orch.evaluation.repetition import current_repetitions
        from landcover_orch.training.protocol import current_choice

        home, manifest = config.home(), patches.manifest(dataset)
        experiment = config.load_experiment(context.partition_key)
        repetitions = current_repetitions(dataset.name, experiment.name, home)
        chosen, trained = current_choice(home, dataset.name, experiment.name)
        product = build(manifest, experiment, repetitions, chosen, home)
        manifest_of_chosen = next(repetition.manifest for repetition in repetitions if repetition.name == chosen)
        try:
            version = tracking.register(trained, manifest_of_chosen, home)
            tracking.log_report(version.run_id, product, home)
        except TrackingError as error:
            # the report stands without MLflow; materialising it again adds it there
            context.log.warning("not in MLflow: %s", error)
            return result(product)
        return result(product, **{"MLflow run": dg.MetadataValue.url(version.run_url)})

    return asset


def counted_once_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: every test pixel counts exactly once."""

    @dg.asset_check(
        asset=partitions.key(dataset, REPORT),
        name="counted_once",
        description="Each repetition's matrix counts every labelled test pixel exactly once, and all folds of a seed "
        "together every labelled pixel outside the test split.",
        blocking=True,
        partitions_def=partitions.experiments(dataset),
    )
    def counted_once(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        names, folder = partitions.chosen_experiments(context, dataset), config.home() / dataset.name / REPORT
        pixels = [tile.class_pixels for tile in patches.manifest(dataset).tiles]
        tested = sum(sum(tile["test"]) for tile in pixels)
        not_test = sum(sum(tile["train"]) + sum(tile["validation"]) for tile in pixels)
        contents = {name: publish.current(folder, name).json(REPORT_JSON) for name in names}
        counted = _pixels(scored for content in contents.values() for scored in content["repetitions"])
        out_of_fold = [content["out_of_fold"]["seeds"] for content in contents.values() if content["out_of_fold"]]
        counted_out_of_fold = _pixels(scored for seeds in out_of_fold for scored in seeds)
        return dg.AssetCheckResult(
            passed={*counted.values()} <= {tested or not_test} and {*counted_out_of_fold.values()} <= {not_test},
            metadata={
                "labelled test pixels": tested,
                "labelled pixels outside the test split": not_test,
                "counted": dg.MetadataValue.json(counted),
                "counted out of fold": dg.MetadataValue.json(counted_out_of_fold),
            },
        )

    return counted_once


def _pixels(scores: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Name -> counted pixels of each repetition, or seed, of a report."""
    return {score["name"]: score["metrics"]["pixels"] for score in scores}


def leaderboard_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `leaderboard`: every experiment in one table."""

    @dg.asset(
        key=partitions.key(dataset, LEADERBOARD),
        description="Every experiment of the dataset and the baselines below it in one table, on the same test tiles.",
        deps=[partitions.key(dataset, name) for name in (DATASET_MANIFEST, REPORT)],
        group_name=partitions.identifier(dataset),
        kinds={"html", "mlflow"},
        owners=["team:mapping"],
        code_version=str(evaluation.VERSION),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch import tracking
        from landcover_orch.evaluation.build import current_reports
        from landcover_orch.evaluation.leaderboard import build
        from landcover_orch.training.protocol import current_models

        home = config.home()
        reports = current_reports(dataset, home)
        models = {name: current_models(home, dataset.name, name) for name in reports}
        baselines = [name for file in dataset.baselines for name in config.experiment_names(file)]
        product = build(patches.manifest(dataset), reports, models, home, baselines)
        try:
            url = tracking.log_leaderboard(dataset.name, product, config.home())
        except TrackingError as error:
            context.log.warning("not in MLflow: %s", error)
            return result(product)
        return result(product, **{"MLflow run": dg.MetadataValue.url(url)})

    return asset


def champion_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `champion`: the elected model, alias `champion` in MLflow."""

    @dg.asset(
        key=partitions.key(dataset, CHAMPION),
        description="The model with the best mean IoU on the present test tiles; alias `champion` in MLflow.",
        deps=[partitions.key(dataset, REPORT)],
        group_name=partitions.identifier(dataset),
        kinds={"mlflow"},
        owners=["team:mapping"],
        code_version=str(evaluation.VERSION),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch import tracking
        from landcover_orch.evaluation import champion as election
        from landcover_orch.evaluation.build import current_reports
        from landcover_orch.training.protocol import current_choice

        home, manifest = config.home(), patches.manifest(dataset)
        candidates = [
            election.candidate(manifest, current_choice(home, dataset.name, name)[1], product, home)
            for name, product in current_reports(dataset, home).items()
        ]
        seated = election.find(dataset.name, home)
        present = election.rescored(seated, manifest, home) if seated else None
        chosen = election.elect(present, candidates)
        product = election.build(dataset.name, chosen, home)
        tracking.promote(dataset.name, chosen.product(home), product.json(SUMMARY), context.run.run_id, home)
        return result(product)

    return asset
