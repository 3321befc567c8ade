"""Recipes: what configs/experiments may say, part by part, and what does not go together."""

from landcover_orch.experiment.losses import ClassWeights, Loss
from landcover_orch.experiment.models import Classical, Model, Network
from landcover_orch.experiment.optimisation import Optimiser, Schedule
from landcover_orch.experiment.prediction import Prediction, Smoothing
from landcover_orch.experiment.protocol import Fold, Folds, Protocol
from landcover_orch.experiment.recipe import KEY, Augmentation, Experiment, Metric

__all__ = [
    "KEY",
    "Augmentation",
    "ClassWeights",
    "Classical",
    "Experiment",
    "Fold",
    "Folds",
    "Loss",
    "Metric",
    "Model",
    "Network",
    "Optimiser",
    "Prediction",
    "Protocol",
    "Schedule",
    "Smoothing",
]
