"""Where training batches come from: the patches of one split."""

from __future__ import annotations

from pathlib import Path

from landcover_orch.errors import Problem, TrainingError
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.training.loader import PatchSource


def open_source(manifest: DatasetManifest, home: Path, split: str) -> PatchSource:
    """The patches of `train` or `validation`.

    Raises:
        TrainingError: the split is empty.
    """
    # Imported here: a machine that trains on other patches needs no zarr.
    from landcover_orch.patches.read import open_split

    source: PatchSource = open_split(manifest, home, split)
    if len(source) == 0:
        where = f"configs/datasets/{manifest.dataset.name}.yaml: splits"
        fix = "give `splits.validation` tiles or blocks" if split == "validation" else "take fewer tiles from training"
        raise TrainingError(Problem(where, f"no patch in the {split} split", "at least one", fix))
    return source
