"""Files of pretrained weights: which one a model's settings name, and where it lies. Loads no torch."""

from __future__ import annotations

from pathlib import Path

from landcover_orch import config
from landcover_orch.config.experiments import Model
from landcover_orch.errors import Problem, TrainingError

FOLDER = "weights"
"""Name of the folder below LANDCOVER_HOME that state dicts lie in."""


def named_by(settings: Model) -> str | None:
    """The state dict that a model's settings name, as a path below the folder of weights; None for a random start."""
    weights: str | None = getattr(getattr(settings, "trunk", settings), "weights", None)
    return weights


def find(name: str, folder: Path) -> Path:
    """The file of a name below a folder.

    Raises:
        ConfigError: the path leaves the folder.
        TrainingError: there is no such file.
    """
    path = config.inside(folder, name, "weights")
    if not path.is_file():
        fix = f"copy the state dict to {path}, or drop `weights` from the experiment to start at random"
        raise TrainingError(Problem(str(path), "no such file", f"the weights {name!r} of the experiment", fix))
    return path
