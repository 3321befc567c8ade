"""`python -m landcover_orch.raw check DATASET [--deep]` and `... landscape FOLDER [--seed --rows --cols --size]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from landcover_orch.config import load_dataset, load_legend, recipe_problems
from landcover_orch.errors import LandcoverError
from landcover_orch.raw import catalogue, checks


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command line: 0, or 1 where problems were found (all of them are printed)."""
    options = _parser().parse_args(arguments)
    try:
        return _landscape(options) if options.command == "landscape" else _check(options.dataset, options.deep)
    except LandcoverError as error:
        print(error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m landcover_orch.raw", description="Raw tiles of a dataset")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="print every problem of every file and recipe of a dataset")
    check.add_argument("dataset", help="name of a file in configs/datasets")
    check.add_argument("--deep", action="store_true", help="read every block of every raster")
    landscape = commands.add_parser("landscape", help="write the generated landscape")
    landscape.add_argument("folder", type=Path)
    for name, default, what in (
        ("seed", 0, "draws everything"),
        ("rows", 2, "rows of tiles"),
        ("cols", 3, "columns of tiles"),
        ("size", 640, "side of a tile in pixels"),
    ):
        landscape.add_argument(f"--{name}", type=int, default=default, help=f"{what} (default {default})")
    return parser


def _check(name: str, deep: bool) -> int:
    dataset = load_dataset(name)
    tiles = catalogue.tiles(dataset)
    found = checks.check(dataset, load_legend(dataset.legend), tiles, deep=deep)
    for note in found.notes:
        print(f"note: {note}")
    problems = [*found.problems, *recipe_problems(dataset)]
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{name}: {len(tiles)} tiles, {len(problems)} problems, {len(found.notes)} notes")
    return 1 if problems else 0


def _landscape(options: argparse.Namespace) -> int:
    from landcover_orch.raw import landscape

    names = landscape.write(options.folder, seed=options.seed, rows=options.rows, cols=options.cols, size=options.size)
    print(f"{len(names)} tiles in {options.folder}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
