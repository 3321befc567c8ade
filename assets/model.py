"""Trained models: a process of its own through Dagster Pipes, an MLflow run, a registered version."""

import os
import sys
from typing import Any

import dagster as dg

from assets import partitions
from landcover_orch import config, publish, training
from landcover_orch.config import Dataset

POOL = "training"


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `model` of a dataset and its check."""
    return [_asset(dataset), _learned(dataset)]


def command(dataset: Dataset, experiment: str) -> list[str]:
    """The training command of an experiment; it works without Dagster as well."""
    return [sys.executable, "-m", "landcover_orch.training", "--dataset", dataset.name, "--experiment", experiment]


def _asset(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=partitions.key(dataset, "model"),
        description="A network trained on the manifest's patches: weights, contract, history; in MLflow's registry "
        f"as {dataset.name}, alias `challenger`.",
        deps=[partitions.key(dataset, name) for name in ("dataset_manifest", "experiment")],
        partitions_def=partitions.experiments(dataset),
        group_name=partitions.identifier(dataset),
        kinds={"torch", "mlflow"},
        owners=["team:mapping"],
        code_version=str(training.VERSION),
        pool=POOL,
    )
    def asset(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult[Any]:
        folders = {"LANDCOVER_HOME": str(config.home()), "LANDCOVER_CONFIGS": str(config.configs())}
        finished = pipes.run(
            command=command(dataset, context.partition_key),
            context=context,
            env={**folders, "LANDCOVER_PARENT": str(os.getpid())},  # the child ends with this process
        )
        return finished.get_materialize_result()

    return asset


def _learned(dataset: Dataset) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=partitions.key(dataset, "model"),
        name="learned",
        description="The best checkpoint beats 'always the most frequent class' on the validation patches.",
        partitions_def=partitions.experiments(dataset),
    )
    def learned(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        names = partitions.chosen_experiments(context, dataset)
        summaries = {name: model(dataset, name).json("summary.json") for name in names}
        worst = min(s["accuracy"] - s["majority_share"] for s in summaries.values())
        return dg.AssetCheckResult(
            passed=worst > 0, severity=dg.AssetCheckSeverity.WARN, metadata={"margin in accuracy": float(worst)}
        )

    return learned


def model(dataset: Dataset, experiment: str) -> publish.Product:
    """The model that was last trained by an experiment."""
    return publish.current(config.home() / dataset.name / "model", experiment)
