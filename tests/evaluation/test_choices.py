"""Every choice of an experiment, in words."""

from __future__ import annotations

from landcover_orch.config import Patches
from landcover_orch.config.experiments import Augmentation, Experiment
from landcover_orch.evaluation.choices import COLUMNS, choices

STUDY = Experiment.model_validate(
    {
        "name": "study",
        "model": {"name": "resunet", "width": 16},
        "loss": [{"name": "jaccard"}, {"name": "cross_entropy", "class_weights": "inverse"}],
        "optimiser": {"name": "sgd", "lr": 0.1, "momentum": 0.95},
        "schedule": "one_cycle",
        "augmentation": {"flips": False, "rotation": 10},
        "protocol": {"seeds": [1, 2], "folds": {"by": "tiles"}},
        "prediction": {"window": 512, "stride": 256, "tta": 8},
    }
)


def test_no_field_of_a_recipe_is_left_out() -> None:
    columns = choices(STUDY, Patches(size=256, stride=153))
    hidden = {*Experiment.model_fields} - {*columns} - {"name", "description"}
    assert hidden == set()
    assert tuple(columns) == COLUMNS
    assert {"learning_rate", "class_weights", "patch_size", "patch_stride"} <= columns.keys()


def test_choices_are_plain_words_and_numbers() -> None:
    columns = choices(STUDY, Patches(size=256, stride=153))
    assert columns["model"] == "resunet, width 16"
    assert (columns["loss"], columns["class_weights"]) == ("jaccard + cross entropy", "none + inverse")
    assert (columns["optimiser"], columns["learning_rate"]) == ("sgd, momentum 0.95", 0.1)
    assert columns["augmentation"] == "right angles, rotation 10.0, brightness 0.1, contrast 0.1"
    assert (columns["seed"], columns["protocol"]) == (None, "seeds 1/2, folds (by tiles)")
    assert columns["prediction"] == "window 512, stride 256, tta 8"
    assert (columns["patch_size"], columns["patch_stride"]) == (256, 153)


def test_what_says_nothing_of_a_model_is_none() -> None:
    forest = choices(Experiment.model_validate({"name": "forest", "model": "random_forest"}), Patches())
    assert (forest["optimiser"], forest["learning_rate"], forest["loss"], forest["epochs"]) == (None,) * 4
    assert (forest["seed"], forest["protocol"]) == (0, "once")


def test_no_augmentation_is_called_none() -> None:
    still = Augmentation(flips=False, right_angles=False, brightness=0, contrast=0)
    experiment = STUDY.model_copy(update={"augmentation": still})
    assert choices(experiment, Patches())["augmentation"] == "none"
