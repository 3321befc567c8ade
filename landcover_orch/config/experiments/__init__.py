"""Experiments: the settings of configs/experiments, part by part, and which do not go together."""

from landcover_orch.config.experiments.experiment import KEY, Augmentation, Experiment, Metric
from landcover_orch.config.experiments.losses import ClassWeights, Loss
from landcover_orch.config.experiments.models import Classical, Model, Network
from landcover_orch.config.experiments.optimisation import Optimiser, Schedule
from landcover_orch.config.experiments.prediction import Prediction, Smoothing
from landcover_orch.config.experiments.protocol import Fold, Folds, Protocol

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
