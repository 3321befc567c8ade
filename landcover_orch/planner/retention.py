"""Retention of a dataset: what its champion, registered versions, trainings and other datasets use stays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from landcover_orch import config, tracking
from landcover_orch.config import Dataset
from landcover_orch.config.experiments.repetitions import base_of
from landcover_orch.errors import IncompleteError, LandcoverError
from landcover_orch.evaluation.decisions import load_decisions
from landcover_orch.patches import manifest as manifests
from landcover_orch.planner import retraining
from landcover_orch.store import retention
from landcover_orch.store.costs import format_size
from landcover_orch.store.products import ASSETS, CHAMPION, DATASET_MANIFEST, MODEL, Level
from landcover_orch.store.retention import Removable, StoredProduct
from landcover_orch.tiles import catalogue as catalogues
from landcover_orch.tiles.issues import some


class Unlisted(NamedTuple):
    """An experiment or a tile that a dataset no longer has."""

    kind: Literal["experiment", "tile"]
    name: str


GONE = {"experiment": "its experiment is not listed", "tile": "its tile was renamed or removed"}


def removable(
    dataset: str, home: Path, keep: int, registered: Collection[str], listed: Listed | None = None
) -> list[Removable]:
    """The products of a dataset that nothing uses, and what killed builds left.

    Args:
        dataset: its name; it needs no configuration.
        home: folder everything is written below.
        keep: how many former products of each name stay all the same, the newest.
        registered: fingerprints of registered models.
        listed: what the dataset has; current products of other experiments and tiles are unused. None: none are.

    Raises:
        PromotionError: the log of the champion's decisions is damaged.
    """
    everything = [product for folder in dataset_folders(home) for product in stored(folder)]
    folder = home / dataset
    of_dataset = [product for product in everything if product.path.is_relative_to(folder)]
    taken_out = listed.lacking(of_dataset, folder) if listed is not None else {}

    def is_in_use(product: StoredProduct) -> bool:
        return product.is_current and product not in taken_out

    marked = retention.used(everything, {*registered, *pinned(dataset, home)}, is_in_use)
    former = retention.unused((product for product in of_dataset if product not in taken_out), marked, keep)
    return [
        *(Removable(p.path, retention.size(p.path), "nothing uses it") for p in former),
        *(
            Removable(p.path, retention.size(p.path), GONE[taken_out[p].kind], with_link=True)
            for p in unneeded(taken_out, of_dataset, marked)
        ),
        *retention.leftovers(folder),
    ]


def dataset_folders(home: Path) -> list[Path]:
    """The folders of a home that hold products of datasets, which the folders of assets tell from whatever else."""
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


def owner(product: StoredProduct, folder: Path, level: Level) -> str | None:
    """The experiment or the tile that a product is of; None of assets that are of no single one."""
    asset, *between = product.path.relative_to(folder).parent.parts
    return ASSETS[asset].owner(level, [*between, product.name]) if asset in ASSETS else None


@dataclass(frozen=True)
class Listed:
    """What a dataset has: its experiments, members of its ensembles among them, and the tiles that it finds."""

    experiments: frozenset[str]
    tiles: frozenset[str]

    @classmethod
    def of(cls, dataset: Dataset) -> Listed:
        """Experiments and tiles of a dataset; a tile that waits for a file is one.

        Raises:
            ConfigError: a file of an experiment cannot be loaded, or `root` has a variable that is not set.
            CatalogueError: there are no tiles, as where a disk is not mounted.
        """
        experiments = {e.name for name in config.experiments_of(dataset) for e in config.with_members(name)}
        catalogue = catalogues.survey(dataset)
        tiles = {*(tile.name for tile in catalogue.tiles), *catalogue.waiting}
        return cls(frozenset(experiments | {CHAMPION}), frozenset(tiles))

    def lacks(self, product: StoredProduct, folder: Path) -> Unlisted | None:
        """The experiment or the tile that a product is of, where the dataset does not have it; None where it has."""
        experiment, tile = owner(product, folder, "experiment"), owner(product, folder, "tile")
        if experiment is not None and base_of(experiment) not in self.experiments:
            return Unlisted("experiment", base_of(experiment))
        return Unlisted("tile", tile) if tile is not None and tile not in self.tiles else None

    def lacking(self, products: Iterable[StoredProduct], folder: Path) -> dict[StoredProduct, Unlisted]:
        """The products of what the dataset does not have."""
        return {product: entry for product in products if (entry := self.lacks(product, folder))}


def unneeded(
    taken_out: Collection[StoredProduct], products: Iterable[StoredProduct], marked: Collection[Path]
) -> list[StoredProduct]:
    """Products of what was taken out that nothing in use is made of.

    A tile that was renamed is there twice, with the same fingerprints: what is made of it is made of either. A model
    that was renamed is, too, but decisions and the registry name the one.
    """
    stay = {(product.path.parent, product.identities) for product in products if product not in taken_out}
    twice = [p for p in taken_out if (p.path.parent, p.identities) in stay and p.path.parent.name != MODEL]
    return [p for p in taken_out if p.path not in marked or p in twice]


def unlisted(dataset: Dataset, home: Path) -> dict[Unlisted, int]:
    """Experiments and tiles with products that the dataset no longer has, and the bytes of those products.

    The champion, registered models, and what they were trained on are not counted: they stay in use. MLflow is asked
    which those are only where it makes a difference: where a model, or what it was trained on, was taken out.

    Raises:
        ConfigError, CatalogueError: what the dataset has cannot be said.
        PromotionError: the log of the champion's decisions is damaged.
        TrackingError: MLflow does not say which models are registered.
    """
    products, sizes = stored(home / dataset.name), dict[Unlisted, int]()
    taken_out = Listed.of(dataset).lacking(products, home / dataset.name)
    if not taken_out:
        return {}

    def removed(models: Collection[str]) -> list[StoredProduct]:
        """What goes where these models stay."""
        staying = {*pinned(dataset.name, home), *models}
        return unneeded(taken_out, products, retention.used(products, staying, lambda product: False))

    models = {text for product in products if product.path.parent.name == MODEL for text in product.identities}
    going = removed(models)
    if going != removed(()):
        going = removed(registered(home, tracking.database_state(home)))
    for product in going:
        entry = taken_out[product]
        sizes[entry] = sizes.get(entry, 0) + retention.size(product.path)
    return dict(sorted(sizes.items()))


@lru_cache(1)
def registered(home: Path, state: object) -> frozenset[str]:
    """Fingerprints of the registered models; asked once a state of MLflow's database, for every page and dataset."""
    return tracking.registered_models(home)


def left_behind(home: Path, dataset: str | None = None) -> Iterator[str]:
    """What stays on disk of datasets, experiments and tiles that are no longer there, and what to do; of one or all.

    Nothing where the configuration folder that is set is not there: then nobody took anything out.
    """
    if config.missing_configs() is not None:
        return
    for folder in dataset_folders(home):
        if dataset not in (None, folder.name):
            continue
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
    """What stays of experiments and tiles that a dataset no longer has.

    Raises:
        ConfigError, CatalogueError: what the dataset has cannot be said.
    """
    sizes, clean = unlisted(dataset, home), f"landcover clean {dataset.name} --unlisted --yes"
    for entry, size in sizes.items():
        if entry.kind == "experiment":
            stays = f"{format_size(size)} of products stay: {clean}, or list it again"
            yield f"dataset {dataset.name}: experiment {entry.name} is not listed; {stays}"
    tiles = [entry for entry in sizes if entry.kind == "tile"]
    if tiles:
        used, names = format_size(sum(sizes[entry] for entry in tiles)), some([entry.name for entry in tiles])
        which = f"tile {names} is" if len(tiles) == 1 else f"tiles {names} are"
        back = "name it in `tiles.names` again" if dataset.tiles.names else "bring the files back"
        remedy = f"landcover materialise {dataset.name}, then {clean}; or {back}"
        yield f"dataset {dataset.name}: {which} renamed or removed; {used} of products stay: {remedy}"
