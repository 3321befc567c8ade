"""Searches: a partition each, run when asked to, in a process of their own through Dagster Pipes."""

import os
import sys
from typing import Any

import dagster as dg

from assets import partitions
from assets.lineage import model
from assets.results import picture, result, sentences
from landcover_orch import config, training
from landcover_orch.config import Dataset
from landcover_orch.errors import ConfigError
from landcover_orch.store import publish
from landcover_orch.store.products import DATASET_MANIFEST, EXPERIMENT, SEARCH


def definitions(dataset: Dataset) -> list[Any]:
    """The asset `search` of a dataset that lists any."""
    return [search_asset(dataset)] if dataset.searches else []


def command(dataset: Dataset, search: str) -> list[str]:
    """The command of a search; it works without Dagster as well."""
    return [sys.executable, "-m", "landcover_orch.training.search", "--dataset", dataset.name, "--search", search]


def search_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """The asset `search`: a hyperparameter search in a process of its own."""

    @dg.asset(
        key=partitions.key(dataset, SEARCH),
        description="Trials of an experiment over a space of settings, compared on validation patches: a table, "
        "figures, and the best as an experiment (best.yaml). Runs when it is asked to, never by itself.",
        deps=[partitions.key(dataset, DATASET_MANIFEST), *varied_experiments(dataset)],
        partitions_def=dg.StaticPartitionsDefinition(list(dataset.searches)),
        group_name=partitions.identifier(dataset),
        kinds={"optuna", "mlflow"},
        owners=["team:mapping"],
        code_version=str(training.VERSION),
        pool=model.POOL,
    )
    def asset(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult[Any]:
        name = context.partition_key
        env = {**config.folder_variables(), "LANDCOVER_PARENT": str(os.getpid())}  # the child ends with this process
        pipes.run(command=command(dataset, name), context=context, env=env)
        with sentences():
            product = publish.current(config.home() / dataset.name / SEARCH, name)
        figures = [name for name in ("trials", "choices", "heatmap") if f"{name}.png" in product.files]
        return result(product, **{f"preview of {name}": picture(product, f"{name}.png") for name in figures})

    return asset


def varied_experiments(dataset: Dataset) -> list[dg.AssetDep]:
    """The experiments that are varied, as far as they are among the dataset's own."""
    varied: dict[str, list[str]] = {}
    for name in dataset.searches:
        try:
            varied.setdefault(config.load_search(name).experiment, []).append(name)
        except ConfigError:
            continue  # said where the dataset is checked, and where the search runs
    known = {name: searches for name, searches in varied.items() if name in config.experiments_of(dataset)}
    mapping = dg.StaticPartitionMapping(known)
    return [dg.AssetDep(partitions.key(dataset, EXPERIMENT), partition_mapping=mapping)] if known else []
