"""`python -m landcover_orch.raw landscape FOLDER [--seed --rows --cols --size]`: writes the generated landscape."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from landcover_orch.errors import LandcoverError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command line: 0, or 1 after a sentence about what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        return _landscape(options)
    except LandcoverError as error:
        print(error)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m landcover_orch.raw", description="Raw tiles of a dataset")
    commands = parser.add_subparsers(dest="command", required=True)
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


def _landscape(options: argparse.Namespace) -> int:
    from landcover_orch.raw import landscape

    names = landscape.write(options.folder, seed=options.seed, rows=options.rows, cols=options.cols, size=options.size)
    print(f"{len(names)} tiles in {options.folder}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
