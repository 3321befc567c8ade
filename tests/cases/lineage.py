"""The product as the cases use it, all in process: check, lineage, what is stale, sensor, definitions."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import runpy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg

from assets import failures, jobs, sources, staleness
from assets.cli import main
from assets.definitions import collect
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.checks.dataset import check_dataset
from landcover_orch.errors import LandcoverError
from landcover_orch.tiles import catalogue

NAME = "ds"
PREPARED, LAST = "dataset_manifest", jobs.STAGES[-1][0]
"""The last asset before training, and the last of all."""


@dataclass(frozen=True)
class Attempt:
    """What a check or a run says: problems (with the same `where` in one text), notes; its crash, if any."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    crash: str | None = None
    exit_code: int = 0

    @property
    def failed(self) -> str | None:
        """The first words of what stopped it; None where nothing did."""
        return f"traceback: {self.crash}" if self.crash else self.problems[0] if self.problems else None


def guarded(work: Callable[[], Attempt]) -> Attempt:
    """What `work` gives; an error that is none of the library's is recorded as a traceback that a person would see."""
    try:
        return work()
    except LandcoverError as error:
        return Attempt(tuple(map(str, error.problems)))
    except Exception as error:  # noqa: BLE001 - the edge of a case: recorded, and then wrong
        return Attempt(crash=f"{type(error).__name__}: {error}")


def check(name: str = NAME) -> Attempt:
    """`landcover check`."""
    result = check_dataset(name)
    by_place: dict[str, list[str]] = {}
    for problem in result.problems:
        by_place.setdefault(problem.where, []).append(str(problem))
    return Attempt(tuple("\n".join(texts) for texts in by_place.values()), result.notes)


def assets_through(asset: str) -> list[str]:
    """The assets up to the stage of an asset, with those of that stage."""
    stage = next(i for i, stage in enumerate(jobs.STAGES) if asset in stage)
    return [asset for stage in jobs.STAGES[: stage + 1] for asset in stage]


def run(dagster: dg.DagsterInstance, assets: Sequence[str]) -> Attempt:
    """`landcover materialise` of some assets, in process; with the notes of ground truth."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), training_in_process():
            materialise(dagster, config.load_dataset(NAME), assets)
    except (*failures.RUN_ERRORS, LandcoverError) as error:
        messages = failures.messages(dagster, error)
        return Attempt(tuple(messages)) if messages else Attempt(crash=f"{type(error).__name__}: {error}")
    return Attempt(notes=tuple(_ground_truth_notes()))


def _ground_truth_notes() -> Iterator[str]:
    for path in sorted((config.home() / NAME / "ground_truth").glob("*/summary.json")):
        if path.parent.is_symlink():
            yield path.read_text(encoding="utf-8")


def run_command() -> Attempt:
    """`landcover materialise ds` with its exit code; what it writes to standard error are its problems."""
    written = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(written), training_in_process():
        code = main(["materialise", NAME])
    problems = written.getvalue().strip() if code else ""
    return Attempt((problems,) if problems else (), exit_code=code)


@contextlib.contextmanager
def training_in_process() -> Iterator[None]:
    """Trainings run here and not in a process of their own each, which would load torch anew."""

    def run(context: dg.AssetExecutionContext, _pipes: object, _launcher: object, module: list[str]) -> Any:
        from landcover_orch.training.__main__ import Console, train

        class Silent(Console):
            """Null reporter."""

            def line(self, text: str) -> None:
                """Nothing."""

            def done(self, product: Any, versions: Any) -> None:
                """Nothing."""

        product = train(module[2], module[4], config.home(), Silent())
        result = dg.MaterializeResult(metadata={}, data_version=dg.DataVersion(product.fingerprint))
        return SimpleNamespace(get_materialize_result=lambda: result)

    with mock.patch("assets.launcher.run", run):
        yield


def image_fingerprint(tile: str) -> str:
    """The fingerprint of a tile's orthophoto as it is reported to Dagster."""
    dataset = config.load_dataset(NAME)
    seen = sources.observations(dataset, catalogue.tiles(dataset))
    return next(version for key, name, version in seen if key.path[-1] == "orthophoto" and name == tile)


def training_digest() -> str:
    """The digest of what training reads, as the manifest states it."""
    path = config.home() / NAME / "dataset_manifest" / "dataset" / "summary.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["digest"])


def stale(dagster: dg.DagsterInstance) -> set[str]:
    """What is missing or stale now, and what depends on it: `asset partition`, or `asset` where it has none."""
    dataset = config.load_dataset(NAME)
    sources.observe(dagster, dataset)
    graph = collect([dataset]).resolve_asset_graph()
    needed = staleness.unsynced(dagster, graph, jobs.keys(dataset, jobs.EVERYTHING))
    return {
        key.path[-1] if partition is None else f"{key.path[-1]} {partition}"
        for key, partitions in needed.items()
        for partition in partitions
    }


def tick(dagster: dg.DagsterInstance) -> tuple[list[str], str]:
    """One tick of the watch sensor: the partitions that it asks for, and all that it says."""
    sensor = collect([config.load_dataset(NAME)]).get_repository_def().get_sensor_def(f"{NAME}_watch")
    with logged() as lines:
        result = sensor(dg.build_sensor_context(instance=dagster))
    if isinstance(result, dg.SkipReason):
        return [], "\n".join([*lines, result.skip_message or ""])
    assert isinstance(result, dg.SensorResult)
    added = [
        str(key)
        for request in result.dynamic_partitions_requests or []
        if isinstance(request, dg.AddDynamicPartitionsRequest)
        for key in request.partition_keys
    ]
    return added, "\n".join([*lines, str(result.skip_reason), *(str(event) for event in result.asset_events)])


def load_definitions() -> tuple[set[str], Attempt]:
    """What Dagster loads: the datasets with assets, sensors and schedules; the problems that are logged meanwhile."""
    with logged() as lines, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module is loaded already, and read anew on purpose
        try:
            definitions = runpy.run_module("assets.definitions")["defs"]
        except LandcoverError as error:
            return set(), Attempt((str(error),))
    assets = {key.path[0] for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    repository = definitions.get_repository_def()
    automated = [item.name for item in (*repository.sensor_defs, *repository.schedule_defs)]
    complete = {name for name in assets if any(item.startswith(f"{name}_") for item in automated)}
    return complete, Attempt(tuple(lines))


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """The texts that are logged meanwhile, as warnings or worse."""
    lines: list[str] = []

    class Handler(logging.Handler):
        """Keeps texts."""

        def emit(self, record: logging.LogRecord) -> None:
            """Keeps the text of a record."""
            lines.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


@contextlib.contextmanager
def environment(folder: Path) -> Iterator[None]:
    """Configurations, products and working folder of a case."""
    (folder / "home").mkdir(exist_ok=True)
    (folder / "elsewhere").mkdir(exist_ok=True)
    values = {
        "LANDCOVER_CONFIGS": str(folder / "configs"),
        "LANDCOVER_HOME": str(folder / "home"),
        "DAGSTER_HOME": str(folder / "home" / "dagster"),
    }
    with mock.patch.dict(os.environ, values), contextlib.chdir(folder / "elsewhere"):
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        yield
