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
from unittest import mock

import dagster as dg

from assets import definitions, instance, partitions
from assets.cli import main
from assets.graph import asset_graph
from assets.lineage import sources
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.checks.dataset import check_dataset
from landcover_orch.errors import LandcoverError
from landcover_orch.planner import State
from landcover_orch.planner.graph import in_order
from landcover_orch.store.products import DATASET_MANIFEST
from landcover_orch.tiles import catalogue
from tests import planned
from tests.cases.case import NAME
from tests.in_process import training_in_process

PREPARED, LAST = DATASET_MANIFEST, "everything"
"""The last asset before training, and what stands for all of them."""


@dataclass(frozen=True)
class Attempt:
    """What a check or a run says: problems (with the same `where` in one text), notes, lines; its crash, if any."""

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    crash: str | None = None
    exit_code: int = 0
    lines: tuple[str, ...] = ()

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


def assets_through(dagster: dg.DagsterInstance, asset: str) -> list[str]:
    """The assets up to the stage of an asset, with those of that stage, in topological order; all of them for LAST."""
    dataset = config.load_dataset(NAME)
    order = in_order(asset_graph(dataset, definitions.lineage(dataset), dagster))
    stages = list(dict.fromkeys(known.stage for known in order))
    if asset != LAST:
        last = next(known.stage for known in order if known.name == asset)
        stages = stages[: stages.index(last) + 1]
    return [known.name for known in order if known.stage in stages]


def run(
    dagster: dg.DagsterInstance,
    assets: Sequence[str] | None = None,
    force: Sequence[str] = (),
    training: Callable[[], contextlib.AbstractContextManager[None]] | None = None,
) -> Attempt:
    """`landcover materialise` of some assets or all, in process; with the notes of ground truth.

    Args:
        dagster: the instance.
        assets: their names; None for all.
        force: what is built again although it is current.
        training: replaces `assets.launcher.run` meanwhile; None: trainings run in this process.
    """
    before = run_ids(dagster)
    problems: tuple[str, ...] = ()
    lines: list[str] = []
    try:
        with contextlib.redirect_stdout(io.StringIO()), (training or training_in_process)():
            materialise(dagster, config.load_dataset(NAME), assets, force=force, log=lines.append)
    except LandcoverError as error:
        problems = tuple(map(str, error.problems))
    crash = crashed(dagster, before)
    notes = () if problems or crash else tuple(_ground_truth_notes())
    return Attempt(problems, notes, crash, lines=tuple(lines))


def run_ids(dagster: dg.DagsterInstance) -> set[str]:
    """The runs that there are."""
    return {run.run_id for run in dagster.get_runs()}


def materialised(dagster: dg.DagsterInstance, before: set[str]) -> set[str]:
    """`asset partition`, or `asset` where it has none, of all that later runs reported as materialised."""
    events = [
        entry.dagster_event
        for run_id in run_ids(dagster) - before
        for entry in dagster.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    ]
    return {
        " ".join(filter(None, (event.asset_key.path[-1], event.partition)))
        for event in events
        if event is not None and event.asset_key is not None
    }


def crashed(dagster: dg.DagsterInstance, before: set[str]) -> str | None:
    """The first error of a step of later runs that is none of the library's: a person would see its traceback."""
    for run_id in run_ids(dagster) - before:
        for entry in dagster.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            data = entry.dagster_event.step_failure_data if entry.dagster_event else None
            if data is None or (data.user_failure_data and data.user_failure_data.description):
                continue
            errors = [data.error]
            while errors[-1] is not None:
                errors.append(errors[-1].cause)
            if not {error.cls_name for error in errors if error} & _expected_errors():
                return " ".join(errors[-2].message.split()) if errors[-2] else "a step without an error"
    return None


def _expected_errors() -> set[str]:
    """Names of the library's errors, and of what Dagster raises for a blocking check."""
    classes: list[type] = [LandcoverError]
    for known in classes:
        classes += known.__subclasses__()
    return {"DagsterAssetCheckFailedError", *(known.__name__ for known in classes)}


def _ground_truth_notes() -> Iterator[str]:
    for path in sorted((config.home() / NAME / "ground_truth").glob("*/summary.json")):
        if path.parent.is_symlink():
            yield path.read_text(encoding="utf-8")


def run_command() -> Attempt:
    """`landcover materialise ds` with its exit code; what it writes to standard error are its problems."""
    written = io.StringIO()
    with instance.opened() as dagster:
        before = run_ids(dagster)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(written), training_in_process():
            code = main(["materialise", NAME])
        crash = crashed(dagster, before)
    problems = written.getvalue().strip() if code else ""
    return Attempt((problems,) if problems else (), crash=crash, exit_code=code)


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
    described = planned.described(dagster, dataset)
    return {step.name for step in described.steps.values() if step.state is not State.CURRENT}


def tick(dagster: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[str], str]:
    """One tick of the watch sensor: the partitions that it adds, and all that it says where a person sees it.

    That is its skip reason, its own log, warnings, and the tags of the runs that it requests.
    """
    dataset = config.load_dataset(NAME)
    partition = str(partitions.tiles(dataset).name)
    before = set(dagster.get_dynamic_partitions(partition))
    sensor = definitions.collect([dataset]).get_repository_def().get_sensor_def(f"{NAME}_watch")
    logging.disable(logging.NOTSET)  # the table of all cases is printed without lines of the steps
    with (
        dg.build_sensor_context(instance=dagster, cursor=cursor) as context,
        logged() as lines,
        logged(context.log, logging.INFO) as own_lines,
    ):
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    added = sorted(set(dagster.get_dynamic_partitions(partition)) - before)
    reason = [result.skip_reason.skip_message or ""] if isinstance(result.skip_reason, dg.SkipReason) else []
    requested = [str(request.tags) for request in result.run_requests or ()]
    return added, "\n".join([*lines, *own_lines, *reason, *requested, *map(str, result.asset_events)])


def load_definitions() -> tuple[set[str], Attempt]:
    """What Dagster loads: the datasets with assets, jobs and sensors; the problems that are logged meanwhile."""
    with logged() as lines, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module is loaded already, and read anew on purpose
        try:
            loaded = runpy.run_module("assets.definitions")["defs"]
        except LandcoverError as error:
            return set(), Attempt((str(error),))
    keys = {tuple(key.path) for key in loaded.resolve_asset_graph().materializable_asset_keys}
    repository = loaded.get_repository_def()
    automated = {*(sensor.name for sensor in repository.sensor_defs), *(job.name for job in repository.get_all_jobs())}
    complete = {
        name
        for name in config.dataset_names()
        if (name, DATASET_MANIFEST) in keys and {f"{name}_watch", f"{name}_everything"} <= automated
    }
    return complete, Attempt(tuple(lines))


@contextlib.contextmanager
def logged(logger: logging.Logger | None = None, level: int = logging.WARNING) -> Iterator[list[str]]:
    """The texts that a logger (the root by default) gets meanwhile, of this level or worse."""
    lines: list[str] = []

    class Handler(logging.Handler):
        """Keeps texts."""

        def emit(self, record: logging.LogRecord) -> None:
            """Keeps the text of a record."""
            lines.append(record.getMessage())

    handler, logger = Handler(level), logger or logging.getLogger()
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


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
