"""Findings of `landcover doctor` beyond the machine: what was taken out, registry and history, bytes of products."""

from __future__ import annotations

from collections.abc import Iterator

from landcover_orch import config
from landcover_orch.checks.doctor import Finding
from landcover_orch.errors import LandcoverError, pluralise
from landcover_orch.planner.retention import left_behind
from landcover_orch.store.costs import format_size
from landcover_orch.store.products import MODEL, folder
from landcover_orch.store.verification import verify


def findings(*, history: bool = False, fix: bool = False, deep: str | None = None) -> Iterator[Finding]:
    """What stays on disk of what was taken out of the configurations, and MLflow's registry against the disk.

    Args:
        history: also Dagster's history against the disk.
        fix: what the registry lacks is made again from disk first.
        deep: name of a dataset whose products are read whole.
    """
    yield from (Finding("Taken out", text) for text in left_behind(config.home()))
    yield from compare_registry(fix=fix, deep=deep)
    yield from read_decisions()
    if history:
        yield from compare_history()
    if deep is not None:
        yield from verify_products(deep)


def compare_registry(*, fix: bool, deep: str | None = None) -> Iterator[Finding]:
    """Whether MLflow has of each served dataset with a model what is on disk; what it lacks is made on demand."""
    from landcover_orch.evaluation import registration

    for name in config.served_datasets():
        if not folder(config.home(), name, MODEL).is_dir():
            continue
        what = f"Registry of {name}"
        try:
            dataset = config.load_dataset(name)
            whole = name == deep
            made = registration.mend(dataset, config.home(), deep=whole) if fix else []
            yield from (Finding(what, line) for line in made)
            lacking = registration.differences(dataset, config.home(), deep=whole)
            by_hand = list(registration.left_to_people(lacking, config.home()))
        except LandcoverError as error:
            yield Finding(what, error.problems[0].found, error.problems[0].fix)
            continue
        text, remedy = "; ".join(map(str, lacking)), f"landcover doctor --fix, or landcover materialise {name}"
        yield Finding(what, text, "; ".join(by_hand) or remedy) if lacking else Finding(what, "as on disk")


def read_decisions() -> Iterator[Finding]:
    """Whether the decisions on each served dataset's champion can be read, and are there where one was elected."""
    from landcover_orch.evaluation.decisions import is_lost, load_decisions

    for name in config.served_datasets():
        what = f"Decisions of {name}"
        try:
            load_decisions(name, config.home())
        except LandcoverError as error:
            yield Finding(what, f"{error.problems[0].where}: {error.problems[0].found}", error.problems[0].fix)
            continue
        if is_lost(name, config.home()):
            fix = "restore champion/decisions.jsonl from a backup, or go on without the earlier"
            yield Finding(what, "their file is gone; the last one stands, as the champion's own files have it", fix)


def verify_products(name: str) -> Iterator[Finding]:
    """Whether every byte of a dataset's products is what was published; what is damaged is built again.

    Raises:
        ConfigError: there is no such dataset.
    """
    if not (config.home() / name).is_dir():
        config.load_dataset(name)
    products = list(verify(config.home() / name))
    for product in (product for product in products if product.problems):
        damage = "; ".join(f"{problem.where}: {problem.found}" for problem in product.problems)
        fix = f"landcover materialise {name}" if product.is_current else "restore it from a backup, if it is used"
        yield Finding(f"{product.path.parent.relative_to(config.home() / name)} {product.path.name}", damage, fix)
    size = format_size(sum(product.bytes for product in products))
    yield Finding(f"Products of {name}", f"{pluralise(len(products), 'product')} read, {size} whole")


def compare_history() -> Iterator[Finding]:
    """Whether Dagster's history says of each served dataset what is on disk; loads Dagster, which nothing else does."""
    from assets import instance
    from assets.definitions import lineage
    from assets.graph import asset_graph
    from assets.history import differences
    from landcover_orch.planner import plan

    with instance.opened() as dagster:
        for name in config.served_datasets():
            try:
                dataset = config.load_dataset(name)
                missing = differences(dagster, dataset, plan(asset_graph(dataset, lineage(dataset), dagster)))
            except LandcoverError as error:
                yield Finding(f"History of {name}", error.problems[0].found)
                continue
            text, fix = pluralise(len(missing), "current product"), f"landcover materialise {name}"
            text += " that Dagster does not know"
            yield Finding(f"History of {name}", text, fix) if missing else Finding(f"History of {name}", "as on disk")
