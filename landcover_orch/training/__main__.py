"""The training command: `python -m landcover_orch.training --dataset NAME --experiment NAME [--home DIR]`.

Works by itself, and as the child of a Dagster asset, to which it then reports through Pipes. With `--find-lr [PNG]` it
trains nothing: it prints the learning rate that a range test suggests, and draws the test.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landcover_orch import config
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import LandcoverError, Problem, TrackingError, TrainingError
from landcover_orch.store.products import current_manifest
from landcover_orch.store.publish import Product
from landcover_orch.tracking import ModelVersion, Repeated, Start, Tracker, register, register_repetitions
from landcover_orch.training.distributed.process import PARENT, end_when_asked, end_with_parent, keep_memory

UNDER_DAGSTER = "DAGSTER_PIPES_CONTEXT"
DAGSTER_UI = "http://127.0.0.1:3000"


class Console:
    """Tells a person at a terminal."""

    tags: dict[str, str] = {}  # noqa: RUF012 - never changed

    def line(self, text: str) -> None:
        """One line."""
        print(text, file=sys.stderr, flush=True)

    def done(self, product: Product, told: ModelVersion | Repeated | None) -> None:
        """The end."""
        print(product.path)
        versions = told.versions.values() if isinstance(told, Repeated) else [told] if told else []
        for version in versions:
            print(f"registered as {version.name}, version {version.version}; run: {version.run_url}")


class Pipes:
    """Tells Dagster: lines to its log, the product as the asset's materialisation."""

    def __init__(self, context: Any) -> None:
        self._context = context
        page = f"{os.environ.get('LANDCOVER_DAGSTER_UI', DAGSTER_UI).rstrip('/')}/runs/{context.run_id}"
        self.tags = {
            "dagster.run_id": context.run_id,
            "dagster.asset_key": context.asset_key,
            "mlflow.note.content": f"Trained by Dagster: [run {context.run_id[:8]}]({page})",
        }

    def line(self, text: str) -> None:
        """One line."""
        self._context.log.info(text)

    def done(self, product: Product, told: ModelVersion | Repeated | None) -> None:
        """The materialisation: the summary's facts, paths, links, and the fingerprint as data version."""
        facts = _facts(product.json("summary.json"))
        facts["path"] = {"raw_value": str(product.path), "type": "path"}
        for name in ("curves", "lr_finder"):
            if f"{name}.png" in product.files:
                facts[name] = {"raw_value": _picture(product, name), "type": "md"}
        facts["bytes"] = product.bytes
        if "repetitions.json" in product.files:
            facts["repetitions"] = _table(_repetitions(product, told))
        if told is not None:
            version = told.versions[told.chosen] if isinstance(told, Repeated) else told
            facts["MLflow run"] = {"raw_value": told.run_url, "type": "url"}
            facts["registered model"] = {"raw_value": version.url, "type": "url"}
            facts["version"] = version.version
        self._context.report_asset_materialization(metadata=facts, data_version=product.fingerprint)


def _facts(summary: dict[str, Any]) -> dict[str, Any]:
    """What a summary says: plain values; means and spreads of repetitions as numbers of their own, and as a table."""
    spread = summary.pop("spread", {})
    facts: dict[str, Any] = {name: value for name, value in summary.items() if value is not None}
    if spread:
        facts |= {f"mean {name}": found["mean"] for name, found in spread.items() if found["mean"] is not None}
        columns = ("mean", "sd", "n", "min", "max")
        rows = [{"validation metric": name, **{key: found[key] for key in columns}} for name, found in spread.items()]
        facts["spread"] = _table(rows)
    return facts


def _repetitions(product: Product, told: object) -> list[dict[str, Any]]:
    """A row a repetition: its seed and fold, the headline metrics of the kept weights, its registered version."""
    versions = told.versions if isinstance(told, Repeated) else {}
    return [
        {
            **{key: one[key] for key in ("name", "seed", "fold", "fingerprint")},
            **{name: value for name, value in one["metrics"].items() if not name.startswith("iou ")},
            "version": versions[one["name"]].version if one["name"] in versions else None,
        }
        for one in product.json("repetitions.json")
    ]


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of one shape as Dagster takes a table; what is undefined is an empty cell."""
    columns = [{"name": name, "type": "any"} for name in rows[0]]
    plain = [{name: "" if value is None else value for name, value in row.items()} for row in rows]
    return {"raw_value": {"records": plain, "schema": columns}, "type": "table"}


def _picture(product: Product, name: str) -> str:
    import io

    import numpy as np
    from PIL import Image

    from landcover_orch.pages.picture import data_uri, small_png

    drawn = Image.open(io.BytesIO(product.file(f"{name}.png").read_bytes())).convert("RGB")
    return f"![{name}]({data_uri(small_png(np.asarray(drawn)))})"


@contextmanager
def audience() -> Iterator[Console | Pipes]:
    """Who is told: Dagster where it started this process, else the terminal."""
    if UNDER_DAGSTER not in os.environ:
        yield Console()
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:
        yield Pipes(context)


def train(dataset: str, experiment: str, home: Path, told: Console | Pipes) -> Product:
    """Trains, registers and reports; an MLflow that does not answer leaves models unregistered, with a line."""
    from landcover_orch.training import protocol

    described = current_manifest(home, dataset)
    recipe = config.load_experiment(experiment)

    def tracker(start: Start) -> Tracker:
        return Tracker(start, home, told.tags)

    product = protocol.run(described, recipe, home, tracker=tracker, progress=told.line)
    known = None
    try:
        known = _register(product, described, recipe, home, told)
    except TrackingError as error:
        told.line(f"not registered: {error}")
    told.done(product, known)
    return product


def _register(
    product: Product, described: Product, recipe: Experiment, home: Path, told: Console | Pipes
) -> ModelVersion | Repeated:
    from landcover_orch.patches import manifest
    from landcover_orch.training import protocol

    data = manifest.load(described.path)
    if not recipe.protocol.repeats:
        return register(product, data, home, tags=told.tags)
    models, figures = protocol.models_of(product, home), protocol.figures(product.json("summary.json"))
    return register_repetitions(product, models, recipe.name, figures, data, home, tags=told.tags)


def find(dataset: str, experiment: str, home: Path, picture: Path) -> None:
    """Prints the rate that a range test suggests, and draws the test into a file."""
    from landcover_orch.training import lr_finder
    from landcover_orch.training.distributed.process_group import init_process_group
    from landcover_orch.training.product import find_lr

    if init_process_group().size > 1:
        fix = "start it without a launcher; a training with `lr: auto` runs the test on all of its processes"
        raise TrainingError(Problem("--find-lr", f"{init_process_group().size} processes", "one", fix))
    described = current_manifest(home, dataset)
    curve = find_lr(described, config.load_experiment(experiment), home, progress=Console().line)
    picture.parent.mkdir(parents=True, exist_ok=True)
    lr_finder.draw(picture, curve)
    print(f"{curve.suggestion:.3g}")
    print(picture)


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the command: 0, or 1 after a sentence about what is wrong."""
    parser = argparse.ArgumentParser("python -m landcover_orch.training", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="name of a file in configs/datasets")
    parser.add_argument(
        "--experiment",
        required=True,
        help="a recipe of configs/experiments (all its repetitions), or one repetition as <name>.seed-1",
    )
    parser.add_argument("--home", type=Path, help="folder everything is written below (default: LANDCOVER_HOME)")
    parser.add_argument(
        "--find-lr",
        nargs="?",
        const=Path("lr_finder.png"),
        type=Path,
        metavar="PNG",
        help="print the learning rate a range test suggests and draw the test (default: lr_finder.png), train nothing",
    )
    chosen = parser.parse_args(arguments)
    home = (chosen.home or config.home()).resolve()
    os.environ["LANDCOVER_HOME"] = str(home)
    # Read when torch is loaded. Threads that wait by spinning cost a shared machine four times the training.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    end_when_asked()
    if UNDER_DAGSTER in os.environ:
        parent = os.environ.get(PARENT)
        end_with_parent(int(parent) if parent else None)
    return _in_its_world(chosen, home)


def _in_its_world(chosen: argparse.Namespace, home: Path) -> int:
    """Exit status; of several processes the first does what is asked for, and the others take their shares."""
    from landcover_orch.training.distributed.process_group import destroy, init_process_group

    group, status = init_process_group(), 0
    if group.size > 1:
        end_with_parent()
    if group.is_main:
        status = _do(chosen, home)
    else:
        from landcover_orch.training.product import follow

        follow(home)
    if group.is_main and status == 0:
        group.broadcast_text()
    destroy()
    return status


def _do(chosen: argparse.Namespace, home: Path) -> int:
    with audience() as told:
        try:
            if chosen.find_lr is not None:
                find(chosen.dataset, chosen.experiment, home, chosen.find_lr)
            else:
                train(chosen.dataset, chosen.experiment, home, told)
        except LandcoverError as error:
            if isinstance(told, Pipes):
                raise
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
