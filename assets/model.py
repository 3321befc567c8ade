"""Trained models: a process of its own through Dagster Pipes, an MLflow run, a registered version."""

from typing import Any

import dagster as dg

from assets import launcher, partitions
from landcover_orch import config, training
from landcover_orch.config import Dataset
from landcover_orch.store.products import DATASET_MANIFEST, EXPERIMENT, MODEL, SUMMARY

POOL = "training"


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `model` of a dataset and its check."""
    return [model_asset(dataset), learned_check(dataset)]


def module(dataset: Dataset, experiment: str) -> list[str]:
    """The module that trains an experiment, with its arguments; it works without Dagster as well."""
    return ["landcover_orch.training", "--dataset", dataset.name, "--experiment", experiment]


def model_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `model`: each experiment trained in a process of its own."""

    @dg.asset(
        key=partitions.key(dataset, MODEL),
        description="A network trained on the manifest's patches: weights, contract, history; in MLflow's registry "
        f"as {dataset.name}, alias `challenger`.",
        deps=[partitions.key(dataset, name) for name in (DATASET_MANIFEST, EXPERIMENT)],
        partitions_def=partitions.experiments(dataset),
        group_name=partitions.identifier(dataset),
        kinds={"torch", "mlflow"},
        owners=["team:mapping"],
        code_version=str(training.VERSION),
        pool=POOL,
    )
    def asset(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult[Any]:
        name = context.partition_key
        launched = config.load_launcher(config.load_experiment(name).launcher)
        finished = launcher.run(context, pipes, launched, module(dataset, name))
        return finished.get_materialize_result()

    return asset


def learned_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: checkpoints beat the most frequent class on validation patches."""

    @dg.asset_check(
        asset=partitions.key(dataset, MODEL),
        name="learned",
        description="Every repetition's checkpoint beats 'always the most frequent class' on its validation patches.",
        partitions_def=partitions.experiments(dataset),
    )
    def learned(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.training.protocol import current_models

        names = partitions.chosen_experiments(context, dataset)
        trained = [product for name in names for product in current_models(config.home(), dataset.name, name).values()]
        worst = min(s["accuracy"] - s["majority_share"] for s in (product.json(SUMMARY) for product in trained))
        return dg.AssetCheckResult(
            passed=worst > 0, severity=dg.AssetCheckSeverity.WARN, metadata={"margin in accuracy": float(worst)}
        )

    return learned
