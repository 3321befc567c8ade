"""Cross-validation folds of a dataset: the test split excluded, the rest rotated through test, validation and train.

A fold is a manifest like any other, with statistics, class weights, leak check and page of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landcover_orch.config import BlockFold, Dataset, Splits, SplitSpec
from landcover_orch.config.experiments import Experiment, Fold, Folds
from landcover_orch.config.experiments import repetitions as repeated
from landcover_orch.errors import CatalogueError, IncompleteError, Problem, pluralise
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, load
from landcover_orch.patches.splits import EXCLUDED, TEST, split_of
from landcover_orch.store.publish import Product

FEWEST = 3
"""Folds there must be: one is test, one validation, the others train."""


def non_test_tiles(manifest: DatasetManifest) -> tuple[str, ...]:
    """Names of the labelled tiles that are not test, sorted: those that folds by tiles are made of."""
    return tuple(sorted({tile.name for tile in manifest.tiles} - set(held_tiles(manifest))))


def held_tiles(manifest: DatasetManifest) -> tuple[str, ...]:
    """Names of the tiles that are test or excluded as a whole, or have no labels, sorted."""
    splits = manifest.dataset.splits
    held = (t for t in manifest.tiles if t.label_fingerprint is None or split_of(splits, t.name) in (TEST, EXCLUDED))
    return tuple(sorted(tile.name for tile in held))


def count_of(manifest: DatasetManifest, folds: Folds) -> int:
    """How many folds an experiment has on a dataset.

    Raises:
        CatalogueError: more folds than tiles, or fewer than three.
    """
    tiles = len(non_test_tiles(manifest))
    count = folds.number(tiles)
    if FEWEST <= count <= (tiles if folds.by == "tiles" else count):
        return count
    where, found = (
        f"dataset {manifest.dataset.name}: folds by {folds.by}",
        f"{pluralise(count, 'fold')}, {pluralise(tiles, 'tile')} beside the test split",
    )
    expected = f"at least {FEWEST} folds, and a tile for each"
    raise CatalogueError(Problem(where, found, expected, "take fewer folds, or `protocol.folds.by: blocks`"))


def fold_of(manifest: DatasetManifest, folds: Folds, index: int) -> Fold:
    """One of the folds that an experiment has on a dataset, counted from 1.

    Raises:
        CatalogueError: there is no such fold.
    """
    count = count_of(manifest, folds)
    if not 1 <= index <= count:
        where = f"dataset {manifest.dataset.name}: folds by {folds.by}"
        raise CatalogueError(Problem(where, f"fold {index}", f"1 to {count}", "name one of them"))
    return Fold(by=folds.by, index=index, count=count)


def seen_by(manifest: DatasetManifest, experiment: Experiment) -> Fold | None:
    """Which fold a repetition's own manifest is; None where it is not in a fold.

    Args:
        manifest: that of the fold.
        experiment: the repetition.
    """
    index, folds = experiment.protocol.fold, experiment.protocol.folds
    if folds is None or index is None:
        return None
    tiles = sum(split_of(manifest.dataset.splits, tile.name) != EXCLUDED for tile in manifest.tiles)
    return Fold(by=folds.by, index=index, count=folds.number(tiles))


def repetitions(manifest: DatasetManifest, experiment: Experiment) -> tuple[Experiment, ...]:
    """The repetitions of an experiment on a dataset, the experiment itself where it has none.

    Raises:
        CatalogueError: the dataset has no such folds.
    """
    folds = experiment.protocol.folds if experiment.protocol.repeats else None
    if folds is not None:
        count_of(manifest, folds)
    return repeated.repetitions(experiment, len(non_test_tiles(manifest)))


def described(manifest: DatasetManifest, fold: Fold) -> DatasetManifest:
    """The manifest with the splits of a fold: its digest is that of the fold's own manifest; the numbers are not."""
    return manifest.model_copy(update={"dataset": fold_dataset(manifest, fold)})


def fold_dataset(manifest: DatasetManifest, fold: Fold) -> Dataset:
    """The dataset with the splits of a fold."""
    before = manifest.dataset.splits
    excluded = SplitSpec(tiles=held_tiles(manifest), blocks=before.excluded.blocks + before.test.blocks)
    specs: dict[str, object] = {
        "excluded": excluded,
        "test": SplitSpec(),
        "validation": SplitSpec(),
        "checkpoint_split": "validation",
    }
    if fold.by == "blocks":
        specs["fold"] = BlockFold(index=fold.index, count=fold.count)
    else:
        tiles = list(enumerate(non_test_tiles(manifest)))
        for split, step in (("test", 0), ("validation", 1)):  # after the last fold comes the first
            index = (fold.index - 1 + step) % fold.count
            specs[split] = SplitSpec(tiles=tuple(name for j, name in tiles if j % fold.count == index))
    splits = Splits.model_validate({**before.model_dump(), **specs})
    about = f"{fold.words().capitalize()}: its part is test, the next fold's validation, the test split excluded."
    return manifest.dataset.model_copy(update={"splits": splits, "description": about})


def build(manifest_product: Product, folds: Folds, index: int, home: Path) -> Product:
    """The published manifest of a fold, <home>/<dataset>/dataset_manifest/fold-2-of-5-blocks.

    Args:
        manifest_product: the dataset's published manifest.
        folds: how an experiment rotates the dataset.
        index: which fold, counted from 1.
        home: folder everything is written below.

    Raises:
        CatalogueError: there is no such fold, or one of its splits has no labelled pixel.
        IncompleteError: tiles have changed since the dataset's manifest was published.
        LeakError: train windows overlap held-out pixels.
    """
    from landcover_orch.patches.dataset import build as build_manifest
    from landcover_orch.tiles.catalogue import survey

    manifest = load(manifest_product.path)
    fold = fold_of(manifest, folds, index)
    expected = described(manifest, fold)
    names = {entry.name for entry in manifest.tiles}
    fold_tiles = [tile for tile in survey(expected.dataset).tiles if tile.name in names]
    product = build_manifest(expected.dataset, manifest.legend, fold_tiles, home, name=fold.name)
    built = load(product.path)
    if built.digest != expected.digest:
        where, fix = f"dataset {manifest.dataset.name}, {fold.words()}", "materialise `dataset_manifest` again"
        raise IncompleteError(Problem(where, "other tiles than the manifest has", "those of the manifest", fix))
    require_labels(built, fold)
    return product


def require_labels(manifest: DatasetManifest, fold: Fold) -> None:
    """Raises CatalogueError where a split of a fold has no labelled pixel."""
    empty = [split for split in SPLITS if not np.sum([tile.class_pixels[split] for tile in manifest.tiles])]
    fix = "take fewer folds" + (", or a smaller `splits.block`" if fold.by == "blocks" else ", or tiles with labels")
    if empty:
        where = f"dataset {manifest.dataset.name}, {fold.words()}"
        raise CatalogueError(*(Problem(f"{where}, {split}", "no labelled pixel", "some", fix) for split in empty))


def training_manifest(manifest_product: Product, experiment: Experiment, home: Path) -> Product:
    """The manifest that an experiment trains on: the dataset's, or a fold's."""
    protocol = experiment.protocol
    if protocol.folds is None or protocol.fold is None:
        return manifest_product
    return build(manifest_product, protocol.folds, protocol.fold, home)
