"""Hyperparameters of an experiment as plain columns, so that no two differ in what a table does not show."""

from __future__ import annotations

from collections.abc import Callable

from landcover_orch.config import Patches
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.experiment import Augmentation, unused
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.config.experiments.prediction import Prediction
from landcover_orch.settings import Settings

Choice = str | int | float | bool | None

NOT_CHOSEN = ("name", "description")
SPLIT = ("loss", "optimiser", "augmentation", "seed", "protocol", "prediction")
"""Parts of an experiment that have columns of their own, below."""

OF_THE_PATCHES = ("size", "stride")


def class_weights(experiment: Experiment) -> str:
    """Class weights of each loss: 'none + inverse'; 'none' where no loss has any."""
    weights = [term.class_weights.words() if term.class_weights else "none" for term in experiment.loss]
    return " + ".join(weights) if set(weights) != {"none"} else "none"


def optimiser(experiment: Experiment) -> str:
    """Optimiser without its learning rate, which has a column of its own."""
    rate = type(experiment.optimiser).model_fields["lr"].default
    return experiment.optimiser.model_copy(update={"lr": rate}).words()


def prediction(settings: Prediction) -> str:
    """Prediction settings: windows in full, then what differs from the defaults, 'window 256, stride 192, tta 8'."""
    plain = {name: Prediction.model_fields[name].default for name in ("window", "stride", "batch_size")}
    rest = settings.model_copy(update=plain).words()
    return f"window {settings.window}, stride {settings.stride}" + (f", {rest}" if rest else "")


def augmentation(settings: Augmentation) -> str:
    """Augmentations, defaults too: 'flips, right angles, brightness 0.1'; 'none' where nothing varies."""
    still = Augmentation(flips=False, right_angles=False, brightness=0, contrast=0)
    values = {name.replace("_", " "): getattr(settings, name) for name in type(settings).model_fields}
    unchanged = {name.replace("_", " "): getattr(still, name) for name in type(settings).model_fields}
    varied = {name: value for name, value in values.items() if value != unchanged[name]}
    return ", ".join(name if value is True else f"{name} {_cell(value)}" for name, value in varied.items()) or "none"


COLUMNS_OF_PART: dict[str, dict[str, Callable[[Experiment], Choice]]] = {
    "loss": {
        "loss": lambda e: " + ".join(term.model_copy(update={"class_weights": None}).words() for term in e.loss),
        "class_weights": class_weights,
    },
    "optimiser": {"optimiser": optimiser, "learning_rate": lambda e: e.optimiser.lr},
    "augmentation": {"augmentation": lambda e: augmentation(e.augmentation)},
    "seed": {"seed": lambda e: None if e.protocol.seeds else e.seed},
    "protocol": {"protocol": lambda e: e.protocol.words() or "once"},
    "prediction": {"prediction": lambda e: prediction(e.prediction)},
}

COLUMNS: tuple[str, ...] = (
    *(
        column
        for name in Experiment.model_fields
        if name not in NOT_CHOSEN
        for column in (COLUMNS_OF_PART[name] if name in SPLIT else (name,))
    ),
    *(f"patch_{name}" for name in OF_THE_PATCHES),
)
"""The columns in the order of an experiment's fields, then the patches'."""


def choices(experiment: Experiment, patches: Patches) -> dict[str, Choice]:
    """Hyperparameters by column, in words or as numbers; None for what the kind of model does not use.

    The learning rate and the class weights stand apart from optimiser and loss. The patches' size and stride are the
    dataset's: the same for all.
    """
    useless = unused(experiment)
    plain = [name for name in type(experiment).model_fields if name not in (*NOT_CHOSEN, *SPLIT)]
    cells: dict[str, Choice] = {name: None if name in useless else _cell(getattr(experiment, name)) for name in plain}
    for part, columns in COLUMNS_OF_PART.items():
        cells |= {name: None if part in useless else value(experiment) for name, value in columns.items()}
    cells |= {f"patch_{name}": getattr(patches, name) for name in OF_THE_PATCHES}
    return {name: cells[name] for name in COLUMNS}


def _cell(value: object) -> Choice:
    if isinstance(value, Settings):
        return value.words() or "default"
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return value if isinstance(value, str | int | float | bool) else None


def base_experiments(experiment: Experiment) -> tuple[str, ...]:
    """Ensemble members: the experiments or repetitions that an ensemble averages; none of what is trained itself."""
    return experiment.model.members if isinstance(experiment.model, Ensemble) else ()
