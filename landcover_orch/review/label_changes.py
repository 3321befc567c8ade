"""Change candidates: polygons that a map of a newer orthophoto shows as another class than their older labels.

`python -m landcover_orch.review.label_changes --dataset D [--maps FOLDER]` makes the list without Dagster; the maps are
by default the champion's, without those out of fold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from landcover_orch import config, raster
from landcover_orch.config import Splits, SplitSpec
from landcover_orch.errors import IncompleteError, LandcoverError, Problem
from landcover_orch.evaluation import champion
from landcover_orch.evaluation.decisions import Champion
from landcover_orch.evaluation.repetition import Repetition, require_matching_versions
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.dataset import of_digest
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.review import VERSION
from landcover_orch.review.build import ReviewList, map_layer, named_maps, publish_list
from landcover_orch.review.comparison import Subject
from landcover_orch.store.products import CLASS_MAP, LABEL_CHANGES, PAGE, SUMMARY, current_maps, published_products
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.tile import Tile

NO_MAP, NOT_NEWER = "no map", "its map is not newer than its labels"


def build(
    manifest: DatasetManifest,
    tiles: Sequence[Tile],
    maps: Mapping[str, Product],
    home: Path,
    trained_splits: Splits | None = None,
    out_of_fold: Sequence[Repetition] = (),
) -> Product:
    """Publishes the polygons that a map shows as another class, label_changes/label_changes, largest first.

    A tile whose map is known not to be newer than its labels is left out. Where an experiment has folds, the map of
    each counts on its test pixels, and the given maps on the test split alone: then no model was trained on the label
    that it is compared with.

    Args:
        manifest: the dataset's.
        tiles: the dataset's tiles, with their files.
        maps: tile -> its map, of all of it.
        home: folder everything is written below.
        trained_splits: those that the maps' model was trained with; None where that is not known.
        out_of_fold: an experiment's folds with their maps; those of its first seed are used.

    Raises:
        ContractError: a fold's model or map is of other data.
        IncompleteError: no tile with labels has a newer map, or labels have changed since the manifest was made.
        LabelError: labels are no polygons, or cannot be read.
    """
    labelled = [entry for entry in manifest.tiles if entry.label_fingerprint is not None]
    left_out = {entry.name: why for entry in labelled if (why := reason_left_out(entry, maps.get(entry.name)))}
    newer = {entry.name: maps[entry.name] for entry in labelled if entry.name not in left_out}
    if not newer:
        message = "; ".join(f"{tile}: {why}" for tile, why in left_out.items()) or "no tile with labels"
        fix = "materialise `land_cover_map`, and state `year` and `label_year` of the tiles"
        raise IncompleteError(Problem(f"changes of {manifest.dataset.name}", message, "a map newer than labels", fix))
    map_layers = {tile: [map_layer(product)] for tile, product in newer.items()}
    folds = [repetition for repetition in out_of_fold if repetition.experiment.seed == out_of_fold[0].experiment.seed]
    if folds:
        require_matching_versions(manifest, folds)
        for tile, product in newer.items():  # together they cover all but excluded pixels once
            unseen = [map_layer(fold.maps[tile], fold.manifest) for fold in folds if tile in fold.maps]
            map_layers[tile] = [map_layer(product, manifest), *unseen]
        trained_splits = Splits(test=SplitSpec(tiles=tuple(newer)))  # nothing on them is of the train split
    used = {key: product for key, product in named_maps(folds).items() if key.rpartition(" ")[2] in newer}
    title = f"Change candidates of {manifest.dataset.name}"
    kind = ReviewList(LABEL_CHANGES, title, VERSION, True, trained_splits, left_out)
    subject = Subject(manifest, {tile.name: tile for tile in tiles}, map_layers, home)
    return publish_list(subject, kind, {**newer, **used}, LABEL_CHANGES)


def reason_left_out(entry: TileEntry, product: Product | None) -> str | None:
    """Reason why a tile cannot show changes; None where it can, or may, as years are not stated."""
    if product is None:
        return NO_MAP
    shown = raster.year(product.file(CLASS_MAP)) or entry.year
    if shown is None or entry.label_year is None:
        return None
    return NOT_NEWER if shown <= entry.label_year else None


def by_champion(dataset: str, home: Path, out_of_fold: Sequence[Repetition] = ()) -> Product:
    """Publishes the change candidates by the current champion's maps of a dataset, and those out of fold.

    Raises:
        IncompleteError: there is no manifest, no champion, or no newer map of a tile with labels.
        LabelError: labels are no polygons, or cannot be read.
    """
    manifest, elected = manifests.load_current(home, dataset), champion.load(dataset, home)
    maps = current_maps(home, dataset, (entry.name for entry in manifest.tiles), elected.fingerprint)
    return build(
        manifest,
        catalogue.survey(config.load_dataset(dataset)).tiles,
        maps,
        home,
        champion_splits(elected, dataset, home),
        out_of_fold,
    )


def champion_splits(elected: Champion, dataset: str, home: Path) -> Splits | None:
    """Splits that a champion was trained with; None where that manifest is gone."""
    known = next(of_digest(dataset, elected.data_digest, home), None)
    return None if known is None else manifests.load(known.path).dataset.splits


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints the path of the list and its first rows; 1 on an error, with its message."""
    parser = argparse.ArgumentParser(
        prog="python -m landcover_orch.review.label_changes", description="Change candidates"
    )
    parser.add_argument("--dataset", required=True, help="name of a file in configs/datasets")
    parser.add_argument("--maps", type=Path, help="folder of published maps by tile; the champion's where left out")
    options, home = parser.parse_args(arguments), config.home()
    try:
        if options.maps is None:
            product = by_champion(options.dataset, home)
        else:
            manifest = manifests.load_current(home, options.dataset)
            maps = published_products(options.maps, (entry.name for entry in manifest.tiles))
            product = build(manifest, catalogue.survey(config.load_dataset(options.dataset)).tiles, maps, home)
    except LandcoverError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 1
    for row in product.json(SUMMARY)["worst"]:
        line = "{rank}. tile {tile}, polygon {polygon}: {label} -> {suggestion}, {m2:,.0f} m2"
        print(line.format(**row))  # noqa: T201
    print(product.file(PAGE))  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
