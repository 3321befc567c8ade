"""Trained models: a process of its own through Dagster Pipes, an MLflow run, a registered version."""

from typing import Any

import dagster as dg

from assets import launcher, partitions
from assets.graph import STAGE, planned
from assets.results import check_result, failure, sentences
from landcover_orch import config, training
from landcover_orch.config import Dataset
from landcover_orch.errors import Problem
from landcover_orch.metrics.learning import FAIR_KAPPA, has_learnt, not_learnt
from landcover_orch.pages.facts import rounded
from landcover_orch.planner import Build
from landcover_orch.store import products, publish
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
        metadata=planned(model_builder),
        tags={STAGE: "train"},
    )
    def asset(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult[Any]:
        name, home = context.partition_key, config.home()
        with sentences():
            launched = config.load_launcher(config.load_experiment(name).launcher)
        try:
            finished = launcher.run(context, pipes, launched, module(dataset, name))
        except launcher.FAILED as error:
            failed = publish.failure(products.folder(home, dataset.name, MODEL), name)
            raise failure(failed.problems if failed else [ended_problem(dataset, name, error)]) from error
        return reported(finished, products.current(home, dataset.name, MODEL, name))

    return asset


def ended_problem(dataset: Dataset, experiment: str, error: Exception) -> Problem:
    """The problem of a training whose process ended without saying why, as one that was killed does."""
    fix = "see its lines above; where the machine was short of memory, lower `batch_size`, then materialise again"
    return Problem(f"{dataset.name}: model {experiment}", str(error), "a training that ends by itself", fix)


def model_builder(dataset: Dataset) -> Build:
    """What trains an experiment in this process; the asset starts one of its own."""
    from landcover_orch.training import protocol

    home = config.home()
    manifest = products.current_manifest(home, dataset.name)
    return lambda name: protocol.train(manifest, config.load_experiment(str(name)), home)


def reported(finished: dg.PipesClientCompletedInvocation, product: publish.Product) -> dg.MaterializeResult[Any]:
    """The materialisation that a training reported.

    Raises:
        dg.Failure: it reported none, or that of another product than the one that is current.
    """
    results = [item for item in finished.get_results() if isinstance(item, dg.MaterializeResult)]
    versions = [item.data_version.value for item in results if item.data_version]
    if versions != [product.fingerprint]:
        fix = "materialise the asset again: the product on disk is whole, and is reported then"
        where = f"result of {product.path.name}"
        raise failure([Problem(where, f"reports of {versions or 'nothing'}", f"one of {product.fingerprint}", fix)])
    return results[0]


def learned_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check: checkpoints beat the most frequent class on validation patches."""

    @dg.asset_check(
        asset=partitions.key(dataset, MODEL),
        name="learned",
        description="Every repetition's checkpoint beats 'always the most frequent class' on its validation patches in "
        f"accuracy, or has a Cohen's kappa of {FAIR_KAPPA}.",
    )
    def learned(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from landcover_orch.training.protocol import current_models

        names = partitions.chosen_experiments(context, dataset)
        trained = [product for name in names for product in current_models(config.home(), dataset.name, name).values()]
        summaries = [product.json(SUMMARY) for product in trained]
        worst = min(summaries, key=lambda summary: (has_learnt(summary), summary["accuracy"]))
        fix = "train longer, with another learning rate (`landcover train --find-lr`), or on more ground"
        expected = f"a better accuracy, or a kappa of at least {FAIR_KAPPA}"
        problem = Problem(f"{dataset.name}: {', '.join(names)}", not_learnt(worst), expected, fix)
        margin = worst["accuracy"] - worst["majority_share"]
        shown = {"margin in accuracy": rounded(margin), "kappa": worst.get("kappa")}
        return check_result(has_learnt(worst), problem, {name: v for name, v in shown.items() if v is not None})

    return learned
