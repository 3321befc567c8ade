"""Scores: the report of each experiment, the leaderboard of all, and the champion."""

from typing import Any

import dagster as dg

from assets import partitions, patches
from assets.results import result
from landcover_orch import config, evaluation
from landcover_orch.config import Dataset
from landcover_orch.errors import TrackingError
from landcover_orch.store import publish


def definitions(dataset: Dataset) -> list[Any]:
    """The assets `report`, `leaderboard` and `champion` of a dataset, and the check of the matrix."""
    return [_report(dataset), _counted_once(dataset), _leaderboard(dataset), _champion(dataset)]


def _report(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "report"),
        description="Confusion matrix a tile and pooled, metrics, figures, costs: one HTML page, also in MLflow.",
        deps=[partitions.key(dataset, name) for name in ("dataset_manifest", "model", "prediction", "experiment")],
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
        own = next(one.manifest for one in repetitions if one.name == chosen)
        try:
            version = tracking.register(trained, own, home)
            tracking.log_report(version.run_id, product, home)
        except TrackingError as error:
            # the report stands without MLflow; materialising it again adds it there
            context.log.warning("not in MLflow: %s", error)
            return result(product)
        return result(product, **{"MLflow run": dg.MetadataValue.url(version.run_url)})

    return asset


def _counted_once(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=partitions.key(dataset, "report"),
        name="counted_once",
        description="Each repetition's matrix counts every labelled test pixel exactly once, and all folds of a seed "
        "together every labelled pixel beside the test side.",
        blocking=True,
        partitions_def=partitions.experiments(dataset),
    )
    def counted_once(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        names, folder = partitions.chosen_experiments(context, dataset), config.home() / dataset.name / "report"
        pixels = [tile.class_pixels for tile in patches.manifest(dataset).tiles]
        tested = sum(sum(tile["test"]) for tile in pixels)
        beside = sum(sum(tile["train"]) + sum(tile["validation"]) for tile in pixels)
        told = {name: publish.current(folder, name).json("report.json") for name in names}
        counted = {one["name"]: one["metrics"]["pixels"] for content in told.values() for one in content["repetitions"]}
        folded = [content["out_of_fold"]["seeds"] for content in told.values() if content["out_of_fold"]]
        dealt = {one["name"]: one["metrics"]["pixels"] for seeds in folded for one in seeds}
        return dg.AssetCheckResult(
            passed={*counted.values()} <= {tested or beside} and {*dealt.values()} <= {beside},
            metadata={
                "labelled test pixels": tested,
                "labelled pixels beside the test side": beside,
                "counted": dg.MetadataValue.json(counted),
                "counted out of fold": dg.MetadataValue.json(dealt),
            },
        )

    return counted_once


def _leaderboard(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "leaderboard"),
        description="Every experiment of the dataset and the baselines below it in one table, on the same test tiles.",
        deps=[partitions.key(dataset, name) for name in ("dataset_manifest", "report")],
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


def _champion(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "champion"),
        description="The model with the best mean IoU on the present test tiles; alias `champion` in MLflow.",
        deps=[partitions.key(dataset, "report")],
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
        present = election.on_present_tiles(seated, manifest, home) if seated else None
        chosen = election.elect(present, candidates)
        product = election.build(dataset.name, chosen, home)
        tracking.promote(dataset.name, chosen.product(home), product.json("summary.json"), context.run.run_id, home)
        return result(product)

    return asset
