"""Where training batches come from: the patches of one split, kept between epochs as the experiment says."""

from __future__ import annotations

from pathlib import Path

from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import Problem, TrainingError
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.training import cache
from landcover_orch.training.loader import PatchSource


def open_source(manifest: DatasetManifest, home: Path, split: str, experiment: Experiment) -> PatchSource:
    """The patches of a split; the same whatever the experiment's cache.

    Raises:
        TrainingError: the split is empty, or does not fit where it is to be kept.
    """
    # Imported here: a machine that trains on other patches needs no zarr.
    from landcover_orch.patches.read import open_split

    source: PatchSource = open_split(manifest, home, split)
    if len(source) == 0:
        where = f"configs/datasets/{manifest.dataset.name}.yaml: splits"
        fix = "take fewer tiles from training" if split == "train" else f"give `splits.{split}` tiles or blocks"
        raise TrainingError(Problem(where, f"no patch in the {split} split", "at least one", fix))
    where = f"configs/experiments/{experiment.name}.yaml"
    if experiment.cache == "memory":
        return cache.in_memory(source, where)
    if experiment.cache == "disk":
        return cache.on_disk(source, home / manifest.dataset.name / cache.ASSET, split, manifest.digest, where)
    return source
