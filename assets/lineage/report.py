"""Scores: the report of each experiment, the leaderboard of all, and the champion."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import dagster as dg

from assets import partitions
from assets.graph import STAGE, planned
from assets.lineage import patches
from assets.results import check_result, mlflow_page, result, sentences
from landcover_orch import config, evaluation
from landcover_orch.config import Dataset
from landcover_orch.errors import Problem, TrackingError
from landcover_orch.planner import Build
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
)


def definitions(dataset: Dataset) -> list[Any]:
    """The assets `report`, `leaderboard` and `champion` of a dataset, and their checks."""
    checks = [counted_once_check(dataset), champion_decided_check(dataset)]
    return [report_asset(dataset), leaderboard_asset(dataset), champion_asset(dataset), *checks]


def report_builder(dataset: Dataset) -> Build:
    """What scores an experiment."""
    from landcover_orch.evaluation.build import build
    from landcover_orch.evaluation.repetition import current_repetitions
    from landcover_orch.training.protocol import current_choice

    home, manifest = config.home(), patches.manifest(dataset)

    def score(name: str | None) -> publish.Product:
        experiment = config.load_experiment(str(name))
        repetitions = current_repetitions(dataset.name, experiment.name, home)
        return build(manifest, experiment, repetitions, current_choice(home, dataset.name, experiment.name)[0], home)

    return score


def leaderboard_builder(dataset: Dataset) -> Build:
    """What ranks the experiments of a dataset; those that failed stand below."""
    from landcover_orch.evaluation.build import current_reports
    from landcover_orch.evaluation.decisions import present_decision
    from landcover_orch.evaluation.leaderboard import build
    from landcover_orch.training.protocol import current_models, failures

    home = config.home()

    def rank(_: str | None) -> publish.Product:
        reports = current_reports(dataset, home)
        models = {name: current_models(home, dataset.name, name) for name in reports}
        baselines = [name for file in dataset.baselines for name in config.experiment_names(file)]
        manifest = patches.manifest(dataset)
        failed = {name: why for name, why in failures(manifest, dataset, home).items() if name not in reports}
        decision = present_decision(dataset.name, home)
        return build(manifest, reports, models, home, baselines, failed, decision, competition=dataset.competition)

    return rank


def champion_builder(dataset: Dataset) -> Build:
    """What elects the champion of a dataset."""
    from landcover_orch.evaluation import champion

    return lambda _: champion.build(dataset, config.home())


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
        metadata=planned(report_builder),
        tags={STAGE: "evaluate"},
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch import tracking
        from landcover_orch.evaluation.repetition import trained_repetitions
        from landcover_orch.training.protocol import current_choice

        home, name = config.home(), context.partition_key
        with sentences():
            product = cast("publish.Product", report_builder(dataset)(name))
            chosen, trained = current_choice(home, dataset.name, name)
            manifests = {e.name: manifest for e, manifest, _ in trained_repetitions(dataset.name, name, home)}
        try:
            version = tracking.register(trained, manifests[chosen], home)
            tracking.log_report(version.run_id, product, home)
        except TrackingError as error:
            # the report stands without MLflow; materialising it again adds it there
            context.log.warning("not in MLflow: %s", error)
            return result(product)
        return result(product, **{"MLflow run": mlflow_page(version.run_url)})

    return asset


def counted_once_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Blocking asset check: every test pixel counts exactly once."""

    @dg.asset_check(
        asset=partitions.key(dataset, REPORT),
        name="counted_once",
        description="Each repetition's matrix counts every labelled test pixel exactly once, and all folds of a seed "
        "together every labelled pixel outside the test split.",
        blocking=True,
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
        expected = f"{tested or not_test} pixels each, out of fold {not_test}"
        fix = f"landcover materialise {dataset.name} --force report, and report it as a fault of the project"
        passed = {*counted.values()} <= {tested or not_test} and {*counted_out_of_fold.values()} <= {not_test}
        return check_result(
            passed,
            Problem(f"{dataset.name}: reports", f"{counted} and {counted_out_of_fold}", expected, fix),
            {
                "labelled test pixels": tested,
                "labelled pixels outside the test split": not_test,
                "counted": dg.MetadataValue.json(counted),
                "counted out of fold": dg.MetadataValue.json(counted_out_of_fold),
            },
            dg.AssetCheckSeverity.ERROR,
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
        deps=[partitions.key(dataset, name) for name in (DATASET_MANIFEST, REPORT, CHAMPION)],
        group_name=partitions.identifier(dataset),
        kinds={"html", "mlflow"},
        owners=["team:mapping"],
        code_version=str(evaluation.VERSION),
        metadata=planned(leaderboard_builder, optional=CHAMPION),
        tags={STAGE: "elect"},
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch import tracking

        with sentences():
            product = cast("publish.Product", leaderboard_builder(dataset)(None))
        try:
            url = tracking.log_leaderboard(dataset.name, product, config.home())
        except TrackingError as error:
            context.log.warning("not in MLflow: %s", error)
            return result(product)
        return result(product, **{"MLflow run": mlflow_page(url)})

    return asset


def champion_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `champion`: the elected model, alias `champion` in MLflow."""

    @dg.asset(
        key=partitions.key(dataset, CHAMPION),
        description="The model that maps are made by: elected by mean IoU on the same test pixels, or chosen by a "
        "person; alias `champion` in MLflow.",
        deps=[partitions.key(dataset, name) for name in (DATASET_MANIFEST, REPORT)],
        group_name=partitions.identifier(dataset),
        kinds={"mlflow"},
        owners=["team:mapping"],
        code_version=str(evaluation.VERSION),
        metadata=planned(champion_builder, stands=CHAMPION),
        tags={STAGE: "elect"},
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from landcover_orch.evaluation import promotion

        with sentences():
            product = cast("publish.Product", champion_builder(dataset)(None))
        try:
            promotion.set_aliases(dataset, config.home(), context.run.run_id)
        except TrackingError as error:
            # the decision stands without MLflow; the next look moves the alias
            context.log.warning("alias not moved: %s", error)
        return result(product)

    return asset


def champion_decided_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: the decision on the champion with its reason; a warning while a challenger waits for a person."""

    @dg.asset_check(
        asset=partitions.key(dataset, CHAMPION),
        name="champion_decided",
        description="The champion is chosen, by the rule or by a person, and no challenger waits for a person's hand.",
    )
    def champion_decided() -> dg.AssetCheckResult:
        from landcover_orch.evaluation.decisions import present_decision

        last = present_decision(dataset.name, config.home())
        waiting = last.challenger.experiment if last and last.challenger else None
        return dg.AssetCheckResult(
            passed=last is not None and waiting is None,
            severity=dg.AssetCheckSeverity.WARN,
            description=last.reason if last else "nobody was elected yet",
            metadata={"champion": last.champion.experiment, "by": last.decider, "at": last.at} if last else {},
        )

    return champion_decided
