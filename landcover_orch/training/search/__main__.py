"""Search command: `python -m landcover_orch.training.search --dataset NAME --search NAME [--home DIR]`.

Works by itself, and as the child of a Dagster asset, to which it then reports through Pipes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from landcover_orch import config
from landcover_orch.errors import LandcoverError
from landcover_orch.store.publish import Product
from landcover_orch.tracking import Start, Tracker
from landcover_orch.training.__main__ import Console, Pipes, manifest_of, open_reporter
from landcover_orch.training.distributed.process import end_when_asked, keep_memory


def search(dataset: str, name: str, home: Path, reporter: Console | Pipes) -> Product:
    """The product of a search of configs/searches on a dataset's present manifest."""
    from landcover_orch.training.search.study import run

    settings = config.load_search(name)
    manifest_product = manifest_of(home, dataset)

    def tracker(start: Start) -> Tracker:
        return Tracker(start, home, reporter.tags)

    return run(
        manifest_product,
        settings,
        config.load_experiment(settings.experiment),
        home,
        tracker=tracker,
        progress=reporter.line,
    )


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the command: 0, or 1 after an error message."""
    parser = argparse.ArgumentParser("python -m landcover_orch.training.search", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="name of a file in configs/datasets")
    parser.add_argument("--search", required=True, help="name of a file in configs/searches")
    parser.add_argument("--home", type=Path, help="folder everything is written below (default: LANDCOVER_HOME)")
    options = parser.parse_args(arguments)
    home = (options.home or config.home()).resolve()
    os.environ["LANDCOVER_HOME"] = str(home)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the training command
    keep_memory()
    end_when_asked()
    with open_reporter() as reporter:
        try:
            product = search(options.dataset, options.search, home, reporter)
        except LandcoverError as error:
            if isinstance(reporter, Pipes):
                raise
            print(error, file=sys.stderr)
            return 1
    if isinstance(reporter, Console):
        print(product.path)
        print(product.file("best.yaml").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
