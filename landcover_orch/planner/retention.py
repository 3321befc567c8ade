"""Retention of a dataset: what its champion, registered versions, trainings and other datasets use stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.config.experiments.repetitions import base_of
from landcover_orch.errors import IncompleteError, LandcoverError
from landcover_orch.evaluation.decisions import load_decisions
from landcover_orch.patches import manifest as manifests
from landcover_orch.planner import retraining
from landcover_orch.store import retention
from landcover_orch.store.costs import format_size
from landcover_orch.store.products import (
    CHAMPION,
    DATASET_MANIFEST,
    GROUND_TRUTH,
    LAND_COVER_MAP,
    MODEL,
    PATCHES,
    PREDICTION,
    REPORT,
)
from landcover_orch.store.retention import Removable, StoredProduct


@dataclass(frozen=True)
class Unlisted:
    """An experiment that a dataset no longer lists, and the bytes of its products."""

    experiment: str
    bytes: int


ASSETS = (GROUND_TRUTH, PATCHES, DATASET_MANIFEST, MODEL, LAND_COVER_MAP)
"""Folders that tell the products of a dataset from whatever else lies in a home."""


def removable(
    dataset: str, home: Path, keep: int, registered: Collection[str], listed: Collection[str] | None = None
) -> list[Removable]:
    """The products of a dataset that nothing uses, and what killed builds left.

    Args:
        dataset: its name; it needs no configuration.
        home: folder everything is written below.
        keep: how many former products of each name stay all the same, the newest.
        registered: fingerprints of registered models.
        listed: the experiments whose current products count as used; None: all.

    Raises:
        PromotionError: the log of the champion's decisions is damaged.
    """
    everything = [product for folder in dataset_folders(home) for product in stored(folder)]
    folder = home / dataset
    of_dataset = [product for product in everything if product.path.is_relative_to(folder)]
    taken_out = [product for product in of_dataset if listed is not None and is_unlisted(product, folder, listed)]
    paths = {product.path for product in taken_out}

    def is_in_use(product: StoredProduct) -> bool:
        return product.is_current and product.path not in paths

    marked = retention.used(everything, {*registered, *pinned(dataset, home)}, is_in_use)
    former = retention.unused((product for product in of_dataset if product.path not in paths), marked, keep)
    return [
        *(Removable(p.path, retention.size(p.path), "nothing uses it") for p in former),
        *(
            Removable(p.path, retention.size(p.path), "its experiment is not listed", with_link=True)
            for p in taken_out
            if p.path not in marked
        ),
        *retention.leftovers(folder),
    ]


def dataset_folders(home: Path) -> list[Path]:
    """The folders of a home that hold products of datasets."""
    folders = {path.parent for asset in ASSETS for path in home.glob(f"[!.]*/{asset}")}
    return sorted(folder for folder in folders if not folder.is_symlink())


def stored(folder: Path) -> list[StoredProduct]:
    """The products of a dataset, its manifests by their digests, too."""
    return retention.stored_products(folder, manifest_digest)


def manifest_digest(product: Path) -> str | None:
    """Digest of a dataset manifest; None of other products, and of one that cannot be read."""
    if product.parent.name != DATASET_MANIFEST:
        return None
    try:
        return manifests.load(product).digest
    except (IncompleteError, OSError):
        return None


def pinned(dataset: str, home: Path) -> set[str]:
    """Fingerprints that no recipe names: of the champion and who waits, of the trainings that were last tried."""
    decisions, memory = load_decisions(dataset, home), retraining.load(dataset, home)
    champions = [champion for d in decisions[-1:] for champion in (d.champion, d.challenger) if champion]
    tried = [memory.tried, memory.due.digest if memory.due else None, *memory.attempts.values()]
    fingerprints = [text for champion in champions for text in (champion.fingerprint, champion.data_digest)]
    return {text for text in (*fingerprints, *tried) if text}


def users(dataset: str, home: Path) -> list[str]:
    """Other datasets whose current products are made of products of this one."""
    identities = frozenset().union(*(product.identities for product in stored(home / dataset)))
    others = {folder.name: stored(folder) for folder in dataset_folders(home) if folder.name != dataset}
    foreign = {
        name: retention.input_identities(products, (product for product in products if product.is_current))[1]
        for name, products in others.items()
    }
    return [name for name, references in foreign.items() if not references.isdisjoint(identities)]


def listed_experiments(dataset: Dataset) -> set[str]:
    """Experiments of a dataset, members of its ensembles among them.

    Raises:
        ConfigError: one of their files cannot be loaded.
    """
    return {e.name for name in config.experiments_of(dataset) for e in config.with_members(name)}


def experiment_of(product: StoredProduct, folder: Path) -> str | None:
    """The experiment that a product of a model, a report or a prediction is of; None of other assets."""
    asset, *rest = product.path.relative_to(folder).parts
    if asset in (MODEL, REPORT):
        return base_of(product.name)
    return base_of(rest[0]) if asset == PREDICTION and len(rest) > 1 else None


def is_unlisted(product: StoredProduct, folder: Path, listed: Collection[str]) -> bool:
    """Whether a product is of an experiment that is not listed."""
    experiment = experiment_of(product, folder)
    return experiment is not None and experiment not in listed and experiment != CHAMPION


def unlisted(dataset: Dataset, home: Path) -> Iterator[Unlisted]:
    """Experiments with products that the dataset no longer lists.

    Raises:
        ConfigError: one of its files cannot be loaded.
    """
    folder, listed, sizes = home / dataset.name, listed_experiments(dataset), dict[str, int]()
    for product in retention.stored_products(folder):
        experiment = experiment_of(product, folder)
        if experiment is not None and is_unlisted(product, folder, listed):
            sizes[experiment] = sizes.get(experiment, 0) + retention.size(product.path)
    return (Unlisted(name, size) for name, size in sorted(sizes.items()))


def left_behind(home: Path) -> Iterator[str]:
    """What stays on disk of datasets and experiments that were taken out of the configurations, and what to do."""
    for folder in dataset_folders(home):
        if not config.is_described(folder.name):
            yield unconfigured(folder)
            continue
        with suppress(LandcoverError):  # its fault is told elsewhere
            yield from unlisted_lines(config.load_dataset(folder.name), home)


def unconfigured(folder: Path) -> str:
    """What stays of a dataset without a configuration."""
    name, used = folder.name, format_size(retention.size(folder))
    remedy = f"landcover clean {name} --all --yes, or add its file again"
    return f"dataset {name}: no configuration; {used} of products stay in {folder}: {remedy}"


def unlisted_lines(dataset: Dataset, home: Path) -> Iterator[str]:
    """What stays of experiments that a dataset no longer lists.

    Raises:
        ConfigError: one of its files cannot be loaded.
    """
    remedy = f"landcover clean {dataset.name} --unlisted --yes, or list it again"
    for entry in unlisted(dataset, home):
        used = format_size(entry.bytes)
        yield f"dataset {dataset.name}: experiment {entry.experiment} is not listed; {used} of products stay: {remedy}"
