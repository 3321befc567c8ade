"""Every choice of a recipe as plain columns, so that no two experiments differ in what a table does not show."""

from __future__ import annotations

from collections.abc import Callable

from landcover_orch.config import Patches
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.experiment import Augmentation, unused
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.config.experiments.prediction import Prediction
from landcover_orch.config.experiments.settings import Settings

Choice = str | int | float | bool | None

NOT_CHOSEN = ("name", "description")
SPLIT = ("loss", "optimiser", "augmentation", "seed", "protocol", "prediction")
"""Parts of a recipe that are said in ways of their own, below."""

OF_THE_PATCHES = ("size", "stride")


def choices(recipe: Experiment, patches: Patches) -> dict[str, Choice]:
    """Column -> what a recipe chose, in words or as a number; None for what says nothing of its kind of model.

    The learning rate and the class weights stand apart from optimiser and loss. The patches' size and stride are the
    dataset's: the same for all.
    """
    useless = unused(recipe)
    plain = {name: getattr(recipe, name) for name in type(recipe).model_fields if name not in (*NOT_CHOSEN, *SPLIT)}
    found = {name: None if name in useless else _said(value) for name, value in plain.items()}
    for part, columns in _APART.items():
        found |= {name: None if part in useless else say(recipe) for name, say in columns.items()}
    found |= {f"patch_{name}": getattr(patches, name) for name in OF_THE_PATCHES}
    return {name: found[name] for name in COLUMNS}


def _loss(recipe: Experiment) -> str:
    return " + ".join(term.model_copy(update={"class_weights": None}).words() for term in recipe.loss)


def _class_weights(recipe: Experiment) -> str:
    said = [term.class_weights.words() if term.class_weights else "none" for term in recipe.loss]
    return " + ".join(said) if set(said) != {"none"} else "none"


def _optimiser(recipe: Experiment) -> str:
    rate = type(recipe.optimiser).model_fields["lr"].default
    return recipe.optimiser.model_copy(update={"lr": rate}).words()


_APART: dict[str, dict[str, Callable[[Experiment], Choice]]] = {
    "loss": {"loss": _loss, "class_weights": _class_weights},
    "optimiser": {"optimiser": _optimiser, "learning_rate": lambda recipe: recipe.optimiser.lr},
    "augmentation": {"augmentation": lambda recipe: _augmentation(recipe.augmentation)},
    "seed": {"seed": lambda recipe: None if recipe.protocol.seeds else recipe.seed},
    "protocol": {"protocol": lambda recipe: recipe.protocol.words() or "once"},
    "prediction": {"prediction": lambda recipe: _prediction(recipe.prediction)},
}


def _prediction(chosen: Prediction) -> str:
    """Windows in full, then what else differs from the defaults: 'window 256, stride 192, tta 8'."""
    plain = {name: Prediction.model_fields[name].default for name in ("window", "stride", "batch_size")}
    rest = chosen.model_copy(update=plain).words()
    return f"window {chosen.window}, stride {chosen.stride}" + (f", {rest}" if rest else "")


def _augmentation(chosen: Augmentation) -> str:
    """What varies, defaults too: 'flips, right angles, brightness 0.1'; 'none' where nothing does."""
    still = Augmentation(flips=False, right_angles=False, brightness=0, contrast=0)
    names = [name for name in type(chosen).model_fields if getattr(chosen, name) != getattr(still, name)]
    return ", ".join(_named(name, getattr(chosen, name)) for name in names) or "none"


def _named(name: str, value: object) -> str:
    words = name.replace("_", " ")
    return words if value is True else f"{words} {_said(value)}"


def _said(value: object) -> Choice:
    if isinstance(value, Settings):
        return value.words() or "default"
    if isinstance(value, tuple):
        return "/".join(map(str, value))
    return value if isinstance(value, str | int | float | bool) else None


def _columns() -> tuple[str, ...]:
    """The columns in the order of a recipe's fields, then the patches'."""
    found: list[str] = []
    for name in Experiment.model_fields:
        found += [*_APART[name]] if name in SPLIT else [name] if name not in NOT_CHOSEN else []
    return (*found, *(f"patch_{name}" for name in OF_THE_PATCHES))


COLUMNS = _columns()


def stands_on(recipe: Experiment) -> tuple[str, ...]:
    """The recipes or repetitions whose models a recipe answers with; none of what is trained itself."""
    return recipe.model.members if isinstance(recipe.model, Ensemble) else ()
