"""Everything Dagster loads: the lineage of each dataset whose data can be there; a fault stops its own dataset."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dagster as dg

from assets import jobs, launcher, partitions
from assets.dagster_internals import UnresolvedAssetJobDefinition
from assets.graph import in_order
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.config.experiments import KEY
from landcover_orch.config.serving import FAULTS
from landcover_orch.errors import ConfigError, LandcoverError, Problem
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import ORTHOPHOTO

MODULES = [
    importlib.import_module(f"assets.lineage.{module.name}")
    for module in pkgutil.iter_modules([str(Path(__file__).with_name("lineage"))])
]
"""Modules of the lineage: all that lie in `assets/lineage`."""

log = logging.getLogger(__name__)

ROOT_CHECK = "folder_is_there"

FAULT_S = 60
"""Seconds between looks of the sensor that reports a fault."""


def items(dataset: Dataset) -> list[Any]:
    """Assets and checks of a dataset, each asset after those that it is made of."""
    return in_order([item for module in MODULES for item in module.definitions(dataset)])


def lineage(dataset: Dataset) -> list[dg.AssetsDefinition]:
    """The materialisable assets of a dataset."""
    return [item for item in items(dataset) if is_asset(item) and isinstance(item, dg.AssetsDefinition)]


def checks(dataset: Dataset) -> list[dg.AssetChecksDefinition]:
    """The asset checks of a dataset."""
    return [item for item in items(dataset) if isinstance(item, dg.AssetChecksDefinition)]


def is_asset(item: object) -> bool:
    """Whether a definition is an asset, and no check."""
    return isinstance(item, dg.AssetSpec | dg.AssetsDefinition) and not isinstance(item, dg.AssetChecksDefinition)


def collect(
    datasets: Sequence[Dataset],
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    faults: Mapping[str, str] = MappingProxyType({}),
) -> dg.Definitions:
    """Assets, checks, jobs, schedules and sensors of datasets.

    Args:
        datasets: those that can be loaded.
        loggers: of their jobs.
        faults: name -> what is wrong with the file of a dataset that cannot be loaded.
    """
    definitions: list[Any] = []
    for dataset in datasets:
        of_dataset = items(dataset)
        assets = [item for item in of_dataset if is_asset(item) and isinstance(item, dg.AssetsDefinition)]
        definitions += [*of_dataset, *jobs.definitions(dataset, assets, partial(collect, [dataset]))]
        if not root_outcome(dataset)[0]:
            definitions += [root_check(dataset), root_sensor(dataset)]
    called = Counter(config.identifier(name) for name in (*(dataset.name for dataset in datasets), *faults))
    for name, text in faults.items():
        definitions += faulty(name, text, is_called_alone=called[config.identifier(name)] == 1)
    return dg.Definitions(
        assets=[item for item in definitions if is_asset(item)],
        asset_checks=[item for item in definitions if isinstance(item, dg.AssetChecksDefinition)],
        jobs=[item for item in definitions if isinstance(item, dg.JobDefinition | UnresolvedAssetJobDefinition)],
        schedules=[item for item in definitions if isinstance(item, dg.ScheduleDefinition)],
        sensors=[item for item in definitions if isinstance(item, dg.SensorDefinition)],
        resources={"pipes": launcher.client()},
        executor=dg.in_process_executor,  # a process a run, not one a step: trainings have their own all the same
        loggers=loggers,
    )


def faulty(name: str, text: str, *, is_called_alone: bool = True) -> list[Any]:
    """What stands for a dataset that cannot be loaded: its file as an asset, with a check that fails and says why.

    Args:
        name: of its file.
        text: what is wrong with it.
        is_called_alone: whether no other dataset has its identifier.
    """
    group = config.identifier(name)
    unique = f"{group}_{digest(name)[:4]}"
    is_valid = re.fullmatch(KEY, name) is not None  # a file may be called as no asset may
    shown = name if is_valid else unique
    key = dg.AssetKey([shown, "configuration"])
    file = dg.AssetSpec(key, description=text, group_name=group, kinds={"yaml"}, owners=["team:mapping"])

    def outcome() -> dict[str, Any]:
        return {"passed": False, "metadata": {"problem": text}}

    @dg.asset_check(asset=key, name="dataset_loads", description="The dataset's configuration can be loaded.")
    def dataset_loads() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(**outcome(), description=text)

    def evaluate() -> tuple[str, dg.AssetCheckEvaluation]:
        return text, dg.AssetCheckEvaluation(asset_key=key, check_name="dataset_loads", **outcome())

    description = "Reports the check `dataset_loads` of a dataset that cannot be loaded."
    return [file, dataset_loads, fault_sensor(group if is_valid and is_called_alone else unique, description, evaluate)]


def fault_sensor(
    name: str, description: str, evaluate: Callable[[], tuple[str, dg.AssetCheckEvaluation]]
) -> dg.SensorDefinition:
    """Sensor <name>_fault: reports the evaluation of a check when its sentence changes.

    Args:
        name: of the dataset, as Dagster wants it.
        description: of the sensor.
        evaluate: gives the sentence and the evaluation now.
    """

    @dg.sensor(
        name=f"{name}_fault",
        description=description,
        minimum_interval_seconds=FAULT_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def fault(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        text, evaluation = evaluate()
        events = [] if context.cursor == text else [evaluation]
        return dg.SensorResult(skip_reason=text, cursor=text, asset_events=events)

    return fault


def root_outcome(dataset: Dataset) -> tuple[bool, str]:
    """Whether the folder of a dataset's files is there, and a sentence."""
    where = f"{config.file_label('datasets', dataset.name)}: root"
    try:
        folder = dataset.folder
    except ConfigError as error:
        return False, str(error)
    fix = "mount it, or correct `root`; what was made stays"
    missing = Problem(where, f"{folder}, which is not there", "a folder", fix)
    return (True, str(folder)) if folder.is_dir() else (False, str(missing))


def root_check(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Asset check of a dataset whose folder was not there when the definitions were loaded."""

    @dg.asset_check(
        asset=partitions.key(dataset, ORTHOPHOTO), name=ROOT_CHECK, description="The folder of the files is there."
    )
    def folder_is_there() -> dg.AssetCheckResult:
        passed, text = root_outcome(dataset)
        return dg.AssetCheckResult(passed=passed, description=text)

    return folder_is_there


def root_sensor(dataset: Dataset) -> dg.SensorDefinition:
    """Sensor that reports the check of a dataset's folder when its outcome changes."""

    def evaluate() -> tuple[str, dg.AssetCheckEvaluation]:
        passed, text = root_outcome(dataset)
        key = partitions.key(dataset, ORTHOPHOTO)
        return text, dg.AssetCheckEvaluation(asset_key=key, check_name=ROOT_CHECK, passed=passed, description=text)

    description = "Reports whether the folder of the dataset's files is there."
    return fault_sensor(partitions.identifier(dataset), description, evaluate)


def load() -> dg.Definitions:
    """The definitions of the datasets that are served; one with a fault is named in the log and by a failing check."""
    datasets, faults = [], {}
    for name in config.served_datasets():
        try:
            dataset = config.load_dataset(name)
            items(dataset)  # also reads its legend
            datasets.append(dataset)
        except LandcoverError as error:
            faults[name] = str(error)
            if FAULTS not in os.environ or config.fault(name) is None:
                log.error("dataset %s is not loaded: %s", name, error)
    return collect(datasets, faults=faults)


defs = load()
