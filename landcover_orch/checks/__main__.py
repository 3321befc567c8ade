"""Input validation: `python -m landcover_orch.checks DATASET [--deep]` prints every problem of every file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from landcover_orch.checks import dataset as checks
from landcover_orch.config import experiment_problems, load_dataset, load_legend
from landcover_orch.errors import LandcoverError
from landcover_orch.tiles import catalogue


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the command line: 0, or 1 where problems were found (all of them are printed)."""
    parser = argparse.ArgumentParser(prog="python -m landcover_orch.checks", description="Check a dataset")
    parser.add_argument("dataset", help="name of a file in configs/datasets")
    parser.add_argument("--deep", action="store_true", help="read every block of every raster")
    options = parser.parse_args(arguments)
    try:
        return _check(options.dataset, options.deep)
    except LandcoverError as error:
        print(error)
        return 1


def _check(name: str, deep: bool) -> int:
    dataset = load_dataset(name)
    tiles = catalogue.tiles(dataset)
    issues = checks.check(dataset, load_legend(dataset.legend), tiles, deep=deep)
    for note in issues.notes:
        print(f"note: {note}")
    problems = [*issues.problems, *experiment_problems(dataset)]
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{name}: {len(tiles)} tiles, {len(problems)} problems, {len(issues.notes)} notes")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
