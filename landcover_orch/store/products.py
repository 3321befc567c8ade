"""Product catalogue: the names of all assets and of the files they share, and which product of each is current.

A product lies in `home/<dataset>/<asset>/<name>-<fingerprint>/`; the link `<name>` beside it is the current one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landcover_orch.errors import IncompleteError
from landcover_orch.store import publish
from landcover_orch.store.publish import Product

ORTHOPHOTO, LABELS, EXPERIMENT = "orthophoto", "labels", "experiment"
"""Source assets: files of the user and of the configuration, observed and never written."""

GROUND_TRUTH = "ground_truth"
LABEL_QUALITY = "label_quality"
PATCHES = "patches"
DATASET_MANIFEST = "dataset_manifest"
SEARCH = "search"
MODEL = "model"
PREDICTION = "prediction"
REPORT = "report"
LEADERBOARD = "leaderboard"
CHAMPION = "champion"
LAND_COVER_MAP = "land_cover_map"
PROPORTIONS = "proportions"
LABEL_REVIEW = "label_review"
LABEL_CHANGES = "label_changes"
DRIFT = "drift"
"""Not an asset: how far each tile lies from what was trained on."""

Level = Literal["tile", "experiment", "search"]


@dataclass(frozen=True)
class AssetProducts:
    """What is known of an asset's products without Dagster.

    `title` says what they are. `levels` says what the folders below the asset's are of, the last what a product is of;
    empty where there is one product. `scored_on` is the split that the scores of its summary are measured on.
    """

    title: str
    levels: tuple[Level, ...] = ()
    scored_on: Literal["validation", "test"] | None = None

    def owner(self, level: Level, names: Sequence[str]) -> str | None:
        """The tile, experiment or search that a product is of.

        Args:
            level: which of them.
            names: of the folders below the asset's, and last the product's; of another depth, it is of none.
        """
        matches = level in self.levels and len(names) == len(self.levels)
        return names[self.levels.index(level)] if matches else None


ASSETS: Mapping[str, AssetProducts] = {
    LEADERBOARD: AssetProducts("Every experiment in one table"),
    REPORT: AssetProducts("Scores of each experiment", ("experiment",), "test"),
    DATASET_MANIFEST: AssetProducts("Tiles, splits, classes and bands"),
    LAND_COVER_MAP: AssetProducts("Maps of every tile by the champion", ("tile",)),
    PROPORTIONS: AssetProducts("Class proportions of the maps"),
    LABEL_REVIEW: AssetProducts("Polygons whose label the maps contradict"),
    LABEL_CHANGES: AssetProducts("Polygons that newer orthophotos show changed"),
    LABEL_QUALITY: AssetProducts("Examination of each tile's labels", ("tile",)),
    CHAMPION: AssetProducts("The model that maps are made by, and why", scored_on="test"),
    MODEL: AssetProducts("Trained models", ("experiment",), "validation"),
    SEARCH: AssetProducts("Searches for hyperparameters", ("search",)),
    PREDICTION: AssetProducts("Maps of the test tiles by each experiment", ("experiment", "tile")),
    GROUND_TRUTH: AssetProducts("Class rasters of the labels", ("tile",)),
    PATCHES: AssetProducts("Training arrays", ("tile",)),
    DRIFT: AssetProducts("How far each tile lies from what was trained on", ("tile",)),
}
"""Asset -> its products, in the order of the index page. One that is not partitioned needs no entry."""

MANIFEST_NAME = "dataset"
"""Name of the manifest of a whole dataset; those of folds have names of their own."""

SUMMARY, PAGE, PREVIEW = "summary.json", "index.html", "preview.png"
"""Files that most products hold: what Dagster shows of them, the page and the picture."""


CLASS_RASTER = "classes.tif"
"""Ground truth: the class raster of a tile."""

CLASS_MAP, CONFIDENCE_MAP = "class.tif", "confidence.tif"
"""Prediction: the class of each pixel, and its confidence."""

REPORT_JSON, REPETITIONS_JSON = "report.json", "repetitions.json"
HISTORY, THROUGHPUT = "history.json", "throughput.json"


def folder(home: Path, dataset: str, asset: str) -> Path:
    """Where the products of an asset lie."""
    return home / dataset / asset


def current(home: Path, dataset: str, asset: str, name: str) -> Product:
    """The product of an asset that was last published under `name`: a tile, an experiment, the dataset.

    Raises:
        IncompleteError: there is none, or it is damaged.
    """
    return publish.current(folder(home, dataset, asset), name)


def current_manifest(home: Path, dataset: str) -> Product:
    """The dataset manifest that was last published.

    Raises:
        IncompleteError: there is none, or it is damaged.
    """
    return current(home, dataset, DATASET_MANIFEST, MANIFEST_NAME)


def published_products(folder: Path, names: Iterable[str]) -> dict[str, Product]:
    """Name -> current product of a folder, of those names that have a whole one."""
    products = {}
    for name in names:
        try:
            products[name] = publish.current(folder, name)
        except IncompleteError:
            continue
    return products


def current_maps(home: Path, dataset: str, tiles: Iterable[str], model: str) -> dict[str, Product]:
    """Tile -> its current land-cover map, of those tiles that have one by the model of this fingerprint."""
    maps = published_products(folder(home, dataset, LAND_COVER_MAP), tiles)
    return {tile: product for tile, product in maps.items() if product.recipe.inputs["model"] == model}


def is_published(home: Path, dataset: str, asset: str, name: str) -> bool:
    """Whether an asset has a whole product under `name`."""
    return bool(published_products(folder(home, dataset, asset), [name]))
