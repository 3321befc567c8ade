"""Frozen models of configs/*.yaml, and where those files and all outputs lie."""

from landcover_orch.config.canonical import canonical, digest
from landcover_orch.config.dataset import (
    Automation,
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
    load_dataset,
    load_experiment,
    load_launcher,
    load_legend,
    load_recipes,
    load_search,
    recipe_names,
    recipe_problems,
    with_members,
)
from landcover_orch.config.labels import Component, Labels, Values
from landcover_orch.config.places import configs, expand, home, inside
from landcover_orch.config.splits import SIDES, BlockFold, Share, Splits

__all__ = [
    "SIDES",
    "Automation",
    "BlockFold",
    "Component",
    "Dataset",
    "Further",
    "Labels",
    "Limits",
    "Match",
    "Patches",
    "Proportions",
    "Share",
    "Splits",
    "TileOverride",
    "Tiles",
    "Values",
    "canonical",
    "configs",
    "dataset_names",
    "digest",
    "expand",
    "home",
    "inside",
    "load_dataset",
    "load_experiment",
    "load_launcher",
    "load_legend",
    "load_recipes",
    "load_search",
    "recipe_names",
    "recipe_problems",
    "with_members",
]
