"""`python -m landcover_orch.report.changes --dataset D [--maps FOLDER]`: polygons that a map shows as another class.

The labels are the dataset's; the maps are by default the champion's, which show what its orthophotos show.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from landcover_orch import config, publish
from landcover_orch.errors import IncompleteError, LandcoverError
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.dataset import ASSET, NAME
from landcover_orch.publish import Product
from landcover_orch.raw import catalogue
from landcover_orch.report import champion
from landcover_orch.report.suspect_lists import changes


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints where the list lies and its first lines; 1 where something is wrong, with the sentence that says what."""
    options = _parser().parse_args(arguments)
    try:
        product = run(options.dataset, config.home(), options.maps)
    except LandcoverError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line
        return 1
    for row in product.json("summary.json")["worst"]:
        line = "{rank}. tile {tile}, polygon {polygon}: {label} -> {suggestion}, {m2:,.0f} m2"
        print(line.format(**row))  # noqa: T201
    print(product.file("index.html"))  # noqa: T201
    return 0


def run(dataset: str, home: Path, maps: Path | None = None) -> Product:
    """The published change candidates of a dataset.

    Args:
        dataset: its name.
        home: folder everything is written below.
        maps: folder of published maps, a tile each, on the tiles' grids and in the classes of the legend; None: the
            standing champion's.

    Raises:
        IncompleteError: there is no manifest, no champion, or no map of a tile with labels.
        LabelError: labels are no polygons, or cannot be read.
    """
    described = config.load_dataset(dataset)
    manifest = manifests.load(publish.current(home / dataset / ASSET, NAME).path)
    found = _maps(home / dataset / "land_cover_map" if maps is None else maps, [tile.name for tile in manifest.tiles])
    if maps is None:
        model = champion.load(dataset, home).fingerprint
        found = {tile: product for tile, product in found.items() if product.recipe["inputs"]["model"] == model}
    return changes(manifest, catalogue.tiles(described), found, home)


def _maps(folder: Path, tiles: Sequence[str]) -> dict[str, Product]:
    found = {}
    for tile in tiles:
        try:
            found[tile] = publish.current(folder, tile)
        except IncompleteError:
            continue
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m landcover_orch.report.changes", description="Change candidates")
    parser.add_argument("--dataset", required=True, help="name of a file in configs/datasets")
    parser.add_argument("--maps", type=Path, help="folder of published maps by tile; the champion's where left out")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
