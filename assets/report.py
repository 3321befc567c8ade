"""Scores: the report of each experiment, the leaderboard of all, and the champion."""

from typing import Any

import dagster as dg

from assets import model, partitions, patches, prediction
from assets.results import result
from landcover_orch import config, publish, report
from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError, TrackingError


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
        code_version=str(report.VERSION),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch import tracking
        from landcover_orch.report.build import build

        experiment = config.load_experiment(context.partition_key)
        trained = model.model(dataset, experiment.name)
        maps = prediction.predictions(dataset, experiment.name)
        manifest = patches.manifest(dataset)
        product = build(manifest, experiment, trained, maps, config.home())
        try:
            version = tracking.register(trained, manifest, config.home())
            tracking.log_report(version.run_id, product, config.home())
        except TrackingError as error:
            # the report stands without MLflow; materialising it again adds it there
            context.log.warning("not in MLflow: %s", error)
            return result(product)
        return result(product, **{"MLflow run": dg.MetadataValue.url(version.run_url)})

    return asset


def reports(dataset: Dataset) -> dict[str, publish.Product]:
    """The reports there are, by experiment: those made of the present manifest and the present model."""
    folder, digest = config.home() / dataset.name / "report", patches.manifest(dataset).digest
    found = {}
    for name in dataset.recipes:
        try:
            product, trained = publish.current(folder, name), model.model(dataset, name)
        except IncompleteError:
            continue
        told = product.json("report.json")
        if (told["data_digest"], told["model"]) == (digest, trained.fingerprint):
            found[name] = product
    return found


def _counted_once(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=partitions.key(dataset, "report"),
        name="counted_once",
        description="The pooled matrix counts every labelled test pixel exactly once.",
        blocking=True,
        partitions_def=partitions.experiments(dataset),
    )
    def counted_once(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        names = partitions.chosen_experiments(context, dataset)
        expected = sum(sum(tile.class_pixels["test"]) for tile in patches.manifest(dataset).tiles)
        folder = config.home() / dataset.name / "report"
        counted = {name: publish.current(folder, name).json("summary.json")["pixels"] for name in names}
        return dg.AssetCheckResult(
            passed=all(count == expected for count in counted.values()),
            metadata={"labelled test pixels": expected, "counted": dg.MetadataValue.json(counted)},
        )

    return counted_once


def _leaderboard(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "leaderboard"),
        description="Every experiment of the dataset and the floors below it in one table, on the same test tiles.",
        deps=[partitions.key(dataset, name) for name in ("dataset_manifest", "report")],
        group_name=partitions.identifier(dataset),
        kinds={"html"},
        owners=["team:mapping"],
        code_version=str(report.VERSION),
    )
    def asset() -> dg.MaterializeResult[Any]:
        from landcover_orch.report.leaderboard import build

        found = reports(dataset)
        models = {name: model.model(dataset, name) for name in found}
        return result(build(patches.manifest(dataset), found, models, config.home(), dataset.floors))

    return asset


def champion(dataset: Dataset) -> Any:
    """The standing champion of a dataset."""
    from landcover_orch.report import champion as election

    return election.load(dataset.name, config.home())


def _champion(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "champion"),
        description="The model with the best mean IoU on the present test tiles; alias `champion` in MLflow.",
        deps=[partitions.key(dataset, "report")],
        group_name=partitions.identifier(dataset),
        kinds={"mlflow"},
        owners=["team:mapping"],
        code_version=str(report.VERSION),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch import tracking
        from landcover_orch.report import champion as election

        home, manifest = config.home(), patches.manifest(dataset)
        candidates = [
            election.candidate(manifest, model.model(dataset, name), product, home)
            for name, product in reports(dataset).items()
        ]
        seated = standing(dataset)
        present = election.on_present_tiles(seated, manifest, home) if seated else None
        chosen = election.elect(present, candidates)
        product = election.build(dataset.name, chosen, home)
        tracking.promote(dataset.name, chosen.product(home), product.json("summary.json"), context.run.run_id, home)
        return result(product)

    return asset


def standing(dataset: Dataset) -> Any:
    """The standing champion of a dataset; None where nobody was elected yet."""
    try:
        return champion(dataset)
    except IncompleteError:
        return None
