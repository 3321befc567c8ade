"""Frozen models of configs/*.yaml, and where those files and all outputs lie."""

from landcover_orch.config.datasets import (
    Dataset,
    Further,
    Limits,
    Match,
    Patches,
    Proportions,
    TileOverride,
    Tiles,
)
from landcover_orch.config.files import (
    dataset_names,
    experiment_names,
    experiments_of,
    load_dataset,
    load_experiment,
    load_experiments,
    load_launcher,
    load_legend,
    load_search,
    with_members,
)
from landcover_orch.config.labels import Component, Labels, Values
from landcover_orch.config.paths import configs, expand, home, inside
from landcover_orch.config.retraining import AtLeast, Cron, Promotion, Retraining
from landcover_orch.config.splits import SPLIT_NAMES, BlockFold, Splits, SplitSpec

__all__ = [
    "SPLIT_NAMES",
    "AtLeast",
    "BlockFold",
    "Component",
    "Cron",
    "Dataset",
    "Further",
    "Labels",
    "Limits",
    "Match",
    "Patches",
    "Promotion",
    "Proportions",
    "Retraining",
    "SplitSpec",
    "Splits",
    "TileOverride",
    "Tiles",
    "Values",
    "configs",
    "dataset_names",
    "expand",
    "experiment_names",
    "experiments_of",
    "home",
    "inside",
    "load_dataset",
    "load_experiment",
    "load_experiments",
    "load_launcher",
    "load_legend",
    "load_search",
    "with_members",
]
