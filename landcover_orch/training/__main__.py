"""Training command: `python -m landcover_orch.training --dataset NAME --experiment NAME [--home DIR]`.

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
from landcover_orch.errors import IncompleteError, LandcoverError, Problem, TrackingError, TrainingError
from landcover_orch.pages.facts import name_scores, ordered, rounded
from landcover_orch.pages.links import markdown_picture, mlflow_path
from landcover_orch.store.products import REPETITIONS_JSON, SUMMARY, current_manifest
from landcover_orch.store.publish import Product
from landcover_orch.tracking import ModelVersion, RegisteredRepetitions, Start, Tracker
from landcover_orch.training.distributed.process import (
    PARENT,
    UNDER_DAGSTER,
    end_when_asked,
    end_with_parent,
    keep_memory,
)


class Console:
    """Reporter at a terminal."""

    tags: dict[str, str] = {}  # noqa: RUF012 - never changed

    def line(self, text: str) -> None:
        """One line."""
        print(text, file=sys.stderr, flush=True)

    def done(self, product: Product, registered: ModelVersion | RegisteredRepetitions | None) -> None:
        """Prints where the product is, and its registered versions."""
        print(product.path)
        versions = (
            registered.versions.values()
            if isinstance(registered, RegisteredRepetitions)
            else [registered]
            if registered
            else []
        )
        for version in versions:
            print(f"registered as {version.name}, version {version.version}; run: {version.run_url}")


class Pipes:
    """Reporter to Dagster by Pipes: lines to its log, the product as the asset's materialisation."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.tags = {"dagster.run_id": context.run_id, "dagster.asset_key": context.asset_key}

    def line(self, text: str) -> None:
        """One line."""
        self._context.log.info(text)

    def done(self, product: Product, registered: ModelVersion | RegisteredRepetitions | None) -> None:
        """The materialisation: the summary's facts, paths, links, and the fingerprint as data version."""
        home = product.path.parents[2]
        facts: dict[str, Any] = {
            name: {"raw_value": markdown_picture(home, product.file(f"{name}.png"), name), "type": "md"}
            for name in ("curves", "lr_finder")
            if f"{name}.png" in product.files
        }
        facts |= asset_metadata(product.json(SUMMARY))
        if REPETITIONS_JSON in product.files:
            facts["repetitions"] = _table(repetition_rows(product, registered))
        if registered is not None:
            version = (
                registered.versions[registered.chosen] if isinstance(registered, RegisteredRepetitions) else registered
            )
            facts["MLflow run"] = {"raw_value": mlflow_path(registered.run_url), "type": "url"}
            facts["registered model"] = {"raw_value": mlflow_path(version.url), "type": "url"}
            facts["version"] = version.version
        facts["size (MB)"] = rounded(product.bytes / 1e6)
        facts["path"] = {"raw_value": str(product.path), "type": "path"}
        self._context.report_asset_materialization(metadata=facts, data_version=product.fingerprint)


def asset_metadata(summary: dict[str, Any]) -> dict[str, Any]:
    """Asset metadata of a summary: plain values; means and spreads of repetitions as numbers, and as a table."""
    spread = summary.pop("spread", {})
    named = ordered(name_scores(summary, "validation"))
    facts: dict[str, Any] = {
        name: rounded(value) if isinstance(value, float) else value
        for name, value in named.items()
        if value is not None
    }
    if spread:
        facts |= {
            f"mean validation {name}": rounded(statistics["mean"])
            for name, statistics in spread.items()
            if statistics["mean"] is not None
        }
        columns = ("mean", "sd", "n", "min", "max")
        rows = [
            {"validation metric": name, **{key: statistics[key] for key in columns}}
            for name, statistics in spread.items()
        ]
        facts["spread"] = _table(rows)
    return facts


def repetition_rows(product: Product, registered: object) -> list[dict[str, Any]]:
    """Table of repetitions: seed and fold, the headline metrics of the kept weights, the registered version."""
    from landcover_orch.training.protocol import repetition_entries

    versions = registered.versions if isinstance(registered, RegisteredRepetitions) else {}
    return [
        {
            "name": entry.name,
            "seed": entry.seed,
            "fold": entry.fold,
            "fingerprint": entry.fingerprint,
            **{name: value for name, value in entry.metrics.items() if not name.startswith("iou ")},
            "version": versions[entry.name].version if entry.name in versions else None,
        }
        for entry in repetition_entries(product)
    ]


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Table metadata of Dagster from rows of one shape; undefined values are empty cells."""
    columns = [{"name": name, "type": "any"} for name in rows[0]]
    plain = [{name: "" if value is None else value for name, value in row.items()} for row in rows]
    return {"raw_value": {"records": plain, "schema": columns}, "type": "table"}


@contextmanager
def open_reporter() -> Iterator[Console | Pipes]:
    """The reporter: Dagster Pipes where Dagster started this process, else the terminal."""
    if UNDER_DAGSTER not in os.environ:
        yield Console()
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:
        yield Pipes(context)


def manifest_of(home: Path, dataset: str) -> Product:
    """The current manifest of a dataset; where there is none, a misspelt name is told first.

    Raises:
        ConfigError: there is no such dataset.
        IncompleteError: it has no manifest yet.
    """
    try:
        return current_manifest(home, dataset)
    except IncompleteError:
        config.load_dataset(dataset)
        raise


def train(dataset: str, experiment: str, home: Path, reporter: Console | Pipes) -> Product:
    """Trains, registers and reports; an MLflow that does not answer leaves models unregistered, with a line."""
    from landcover_orch.patches import manifest
    from landcover_orch.training import protocol
    from landcover_orch.training.registration import register_training

    settings = config.load_experiment(experiment)
    manifest_product = manifest_of(home, dataset)

    def tracker(start: Start) -> Tracker:
        return Tracker(start, home, reporter.tags)

    product = protocol.train(manifest_product, settings, home, tracker=tracker, progress=reporter.line)
    registered = None
    try:
        data = manifest.load(manifest_product.path)
        registered = register_training(product, settings.name, data, home, tags=reporter.tags)
    except TrackingError as error:
        reporter.line(f"not registered: {error}")
    reporter.done(product, registered)
    return product


def find(dataset: str, experiment: str, home: Path, picture: Path) -> None:
    """Learning-rate range test: prints the rate it suggests, and draws the test into a file."""
    from landcover_orch.training import lr_finder
    from landcover_orch.training.build import find_lr
    from landcover_orch.training.distributed.process_group import init_process_group

    if init_process_group().size > 1:
        fix = "start it without a launcher; a training with `lr: auto` runs the test on all of its processes"
        raise TrainingError(Problem("--find-lr", f"{init_process_group().size} processes", "one", fix))
    manifest_product = manifest_of(home, dataset)
    curve = find_lr(manifest_product, config.load_experiment(experiment), home, progress=Console().line)
    picture.parent.mkdir(parents=True, exist_ok=True)
    lr_finder.draw(picture, curve)
    print(f"{curve.suggestion:.3g}")
    print(picture)


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the command: 0, or 1 after an error message."""
    program = "python -m landcover_orch.training"
    description = "Train one experiment on the patches of a dataset, without Dagster."
    example = f"Example: {program} --dataset demo --experiment demo-unet"
    parser = argparse.ArgumentParser(program, description=description, epilog=example)
    parser.add_argument("--dataset", required=True, help="name of a file in configs/datasets")
    parser.add_argument(
        "--experiment",
        required=True,
        help="name of a file in configs/experiments (all its repetitions), or one repetition as <name>.seed-1",
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
    options = parser.parse_args(arguments)
    home = (options.home or config.home()).resolve()
    os.environ["LANDCOVER_HOME"] = str(home)
    # Read when torch is loaded. Threads that wait by spinning cost a shared machine four times the training.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    end_when_asked()
    if UNDER_DAGSTER in os.environ:
        parent = os.environ.get(PARENT)
        end_with_parent(int(parent) if parent else None)
    return run_in_process_group(options, home)


def run_in_process_group(options: argparse.Namespace, home: Path) -> int:
    """Exit status; of several processes rank 0 runs the command, and the others fit their local batches."""
    from landcover_orch.training.distributed.process_group import destroy, init_process_group

    group, status = init_process_group(), 0
    if group.size > 1:
        end_with_parent()
    if group.is_main:
        status = run_command(options, home)
    else:
        from landcover_orch.training.build import follow

        follow(home)
    if group.is_main and status == 0:
        group.broadcast_text()
    destroy()
    return status


def run_command(options: argparse.Namespace, home: Path) -> int:
    """Exit status of a training or a range test; an error of this library is told to Dagster, or printed."""
    try:
        with open_reporter() as reporter:
            if options.find_lr is not None:
                find(options.dataset, options.experiment, home, options.find_lr)
            else:
                train(options.dataset, options.experiment, home, reporter)
    except LandcoverError as error:
        if UNDER_DAGSTER not in os.environ:
            print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
