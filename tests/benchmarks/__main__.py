"""`python -m tests.benchmarks [NAME ...] [--tile WIDTHxHEIGHT]`: figures beside the machine's limit of the same run."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

USUAL = (
    "relabel",
    "siose",
    "province",
    "confusion",
    "loading",
    "training",
    "sliding_window",
    "smoothing",
    "label_review",
    "lineage",
    "extraction",
    "label_quality",
    "prediction",
)
"""What runs where none is named, in this order."""

STRIP_ROWS = 2048
"""Rows of the tile that prediction maps: its memory depends on the width alone."""

EPILOG = """
Without names those marked * run, one behind the other. A tile's size is for extraction and label_quality, which work
on a generated tile of it (6 and 11 GB of disk at 54000x38000), and for prediction, which works on a strip of its width.
"""


def benchmarks() -> dict[str, str]:
    """Name -> the first line of its module."""
    return {
        path.stem.removeprefix("bench_"): (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
        for path in sorted(Path(__file__).parent.glob("bench_*.py"))
    }


def size(text: str) -> tuple[int, int]:
    """Rows and columns of WIDTHxHEIGHT."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}; expected WIDTHxHEIGHT, as 54000x38000")
    return int(match[2]), int(match[1])


def main(arguments: Sequence[str]) -> None:
    """Runs the benchmarks that are named, the usual ones where none is."""
    known = benchmarks()
    width = max(map(len, known))
    listed = [f"  {name:<{width}} {'*' if name in USUAL else ' '} {line}" for name, line in known.items()]
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="\n".join([(__doc__ or "").partition(": ")[2], "", *listed]),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks of the list above")
    parser.add_argument("--tile", type=size, metavar="WIDTHxHEIGHT", help="size of the tile")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in known]:
        parser.error(f"no benchmark {', '.join(unknown)}; expected some of {', '.join(known)}")
    shapes = {}
    if given.tile is not None:
        rows, columns = given.tile
        shapes = {"extraction": given.tile, "label_quality": given.tile, "prediction": (min(rows, STRIP_ROWS), columns)}
    for name in given.names or USUAL:
        module = importlib.import_module(f"tests.benchmarks.bench_{name}")
        module.main(*([shapes[name]] if name in shapes else []))


if __name__ == "__main__":
    main(sys.argv[1:])
