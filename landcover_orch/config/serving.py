"""Served datasets: which ones Dagster loads, and what is wrong with the files of one."""

from __future__ import annotations

import os

from landcover_orch.config.datasets import Dataset
from landcover_orch.config.files import dataset_names, experiments_of, load_dataset, load_experiment, load_legend
from landcover_orch.config.paths import home
from landcover_orch.errors import ConfigError, LandcoverError

DATASETS = "LANDCOVER_DATASETS"
"""Environment variable: names of the datasets that are served, separated by commas; others are left untouched."""

FAULTS = "LANDCOVER_FAULTS"
"""Environment variable of the servers' processes: `shown` where who started them names datasets that have a fault."""


def served_datasets() -> list[str]:
    """Names of the datasets that Dagster loads.

    Those that LANDCOVER_DATASETS lists; else those of configs/datasets whose `root` has no variable that is not set, or
    of which there are products; a dataset whose file has a fault is among them.
    """
    listed = [name.strip() for name in os.environ.get(DATASETS, "").split(",") if name.strip()]
    return list(dict.fromkeys(listed)) or [name for name in dataset_names() if has_data(name)]


def has_data(name: str) -> bool:
    """Whether there may be files of a dataset, or products."""
    try:
        dataset = load_dataset(name)
    except LandcoverError:
        return True  # its fault is shown
    try:
        return bool(dataset.folder)
    except ConfigError:
        return any((home() / name).glob("*/*"))


def load_served(name: str) -> Dataset:
    """A dataset whose legend and experiments can be loaded too.

    Raises:
        LandcoverError: one of its files is missing or invalid.
    """
    dataset = load_dataset(name)
    load_legend(dataset.legend)
    for experiment in experiments_of(dataset):
        load_experiment(experiment)
    return dataset


def fault(name: str) -> str | None:
    """What is wrong with the configuration files of a dataset; None where all can be loaded."""
    try:
        load_served(name)
    except LandcoverError as error:
        return str(error)
    return None
