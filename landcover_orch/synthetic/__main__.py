"""Synthetic landscape: `python -m landcover_orch.synthetic FOLDER [--seed --rows --cols --size]` writes its files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from landcover_orch.errors import LandcoverError, pluralise
from landcover_orch.synthetic import landscape

OPTIONS = (
    ("seed", 0, "draws everything"),
    ("rows", 2, "rows of tiles"),
    ("cols", 3, "columns of tiles"),
    ("size", 640, "side of a tile in pixels"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command line: 0, or 1 after a sentence about what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m landcover_orch.synthetic", description="Write a landscape")
    parser.add_argument("folder", type=Path)
    for name, default, text in OPTIONS:
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} (default {default})")
    options = parser.parse_args(arguments)
    settings = {name: getattr(options, name) for name, _, _ in OPTIONS}
    try:
        names = landscape.write(options.folder, **settings)
    except LandcoverError as error:
        print(error)
        return 1
    print(f"{pluralise(len(names), 'tile')} in {options.folder}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
