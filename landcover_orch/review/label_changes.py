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
from landcover_orch.evaluation.champion import Champion
from landcover_orch.evaluation.evaluate import MAP
from landcover_orch.evaluation.repetition import Repetition, require_matching_versions
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.dataset import of_digest
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.review.build import List, map_layer, named_maps, published
from landcover_orch.review.comparison import Subject
from landcover_orch.review.evidence import MapLayer
from landcover_orch.store.products import LABEL_CHANGES, current_maps, published_products
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.tile import Tile

NO_MAP, NOT_NEWER = "no map", "its map is not newer than its labels"


def build(
    manifest: DatasetManifest,
    tiles: Sequence[Tile],
    maps: Mapping[str, Product],
    home: Path,
    learnt: Splits | None = None,
    out_of_fold: Sequence[Repetition] = (),
) -> Product:
    """The published list of polygons that a map shows as another class, label_changes/label_changes, largest first.

    A tile whose map is known not to be newer than its labels is left out. Where a recipe has folds, each of these tells
    of its own ground, and the maps of the test side alone: then no model was taught the label that it is held against.

    Args:
        manifest: the dataset's.
        tiles: the dataset's tiles, with their files.
        maps: tile -> its map, of all of it.
        home: folder everything is written below.
        learnt: the splits that the maps' model was trained with; None where that is not known.
        out_of_fold: a recipe's folds with their maps; those of its first seed are looked at.

    Raises:
        ContractError: a fold's model or map is of other data.
        IncompleteError: no tile with labels has a newer map, or labels have changed since the manifest was made.
        LabelError: labels are no polygons, or cannot be read.
    """
    labelled = [entry for entry in manifest.tiles if entry.label_fingerprint is not None]
    left_out = {entry.name: why for entry in labelled if (why := _left_out(entry, maps.get(entry.name)))}
    compared = {entry.name: maps[entry.name] for entry in labelled if entry.name not in left_out}
    if not compared:
        message = "; ".join(f"{tile}: {why}" for tile, why in left_out.items()) or "no tile with labels"
        fix = "materialise `land_cover_map`, and state `year` and `label_year` of the tiles"
        raise IncompleteError(Problem(f"changes of {manifest.dataset.name}", message, "a map newer than labels", fix))
    map_layers = {tile: [map_layer(product)] for tile, product in compared.items()}
    folds = [repetition for repetition in out_of_fold if repetition.experiment.seed == out_of_fold[0].experiment.seed]
    if folds:
        require_matching_versions(manifest, folds)
        map_layers = {tile: _unseen(manifest, tile, product, folds) for tile, product in compared.items()}
        learnt = Splits(test=SplitSpec(tiles=tuple(compared)))  # no ground of theirs is train ground
    used = {key: product for key, product in named_maps(folds).items() if key.rpartition(" ")[2] in compared}
    what = List(LABEL_CHANGES, f"Change candidates of {manifest.dataset.name}", True, learnt, left_out)
    subject = Subject(manifest, {tile.name: tile for tile in tiles}, map_layers, home)
    return published(subject, what, {**compared, **used}, LABEL_CHANGES)


def _unseen(manifest: DatasetManifest, tile: str, product: Product, folds: Sequence[Repetition]) -> list[MapLayer]:
    """Maps of a tile that together cover all ground once, but for excluded one, by models that never saw it."""
    of_tile = [fold for fold in folds if tile in fold.maps]
    return [map_layer(product, manifest), *(map_layer(fold.maps[tile], fold.manifest) for fold in of_tile)]


def _left_out(entry: TileEntry, product: Product | None) -> str | None:
    """Why a tile cannot show changes; None where it can, or may, as years are not stated."""
    if product is None:
        return NO_MAP
    shown = raster.year(product.file(MAP)) or entry.year
    if shown is None or entry.label_year is None:
        return None
    return NOT_NEWER if shown <= entry.label_year else None


def by_champion(dataset: str, home: Path, out_of_fold: Sequence[Repetition] = ()) -> Product:
    """The published change candidates by the standing champion's maps of a dataset, and those out of fold.

    Raises:
        IncompleteError: there is no manifest, no champion, or no newer map of a tile with labels.
        LabelError: labels are no polygons, or cannot be read.
    """
    manifest, elected = manifests.load_current(home, dataset), champion.load(dataset, home)
    maps = current_maps(home, dataset, (entry.name for entry in manifest.tiles), elected.fingerprint)
    return build(manifest, _tiles(dataset), maps, home, learnt_by(elected, dataset, home), out_of_fold)


def learnt_by(elected: Champion, dataset: str, home: Path) -> Splits | None:
    """The splits that a champion was trained with; None where the manifest it learnt from is gone."""
    known = next(of_digest(dataset, elected.data_digest, home), None)
    return None if known is None else manifests.load(known.path).dataset.splits


def _tiles(dataset: str) -> list[Tile]:
    return catalogue.tiles(config.load_dataset(dataset))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints where the list lies and its first lines; 1 where something is wrong, with the sentence that says what."""
    options, home = _parser().parse_args(arguments), config.home()
    try:
        if options.maps is None:
            product = by_champion(options.dataset, home)
        else:
            manifest = manifests.load_current(home, options.dataset)
            maps = published_products(options.maps, (entry.name for entry in manifest.tiles))
            product = build(manifest, _tiles(options.dataset), maps, home)
    except LandcoverError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 1
    for row in product.json("summary.json")["worst"]:
        line = "{rank}. tile {tile}, polygon {polygon}: {label} -> {suggestion}, {m2:,.0f} m2"
        print(line.format(**row))  # noqa: T201
    print(product.file("index.html"))  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m landcover_orch.review.label_changes", description="Change candidates"
    )
    parser.add_argument("--dataset", required=True, help="name of a file in configs/datasets")
    parser.add_argument("--maps", type=Path, help="folder of published maps by tile; the champion's where left out")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
