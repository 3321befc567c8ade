"""Dummy classifiers as baselines: maps that look at no pixel, scored from the manifest's counts alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landcover_orch.metrics.catalogue import summary
from landcover_orch.metrics.metric import Counts
from landcover_orch.pages.verdict import CONSTANT, Scored, verdict
from landcover_orch.patches.ground import scored_ground
from landcover_orch.patches.manifest import DatasetManifest

MOST_FREQUENT, TRAINING_PROPORTIONS = "most frequent class", "training proportions"


def dummy_classifiers(manifest: DatasetManifest) -> dict[str, tuple[str, Counts]]:
    """Dummy classifiers: what each predicts, and its matrix (actual, predicted) of scored pixels; none without train.

    'training proportions' draws the class of each pixel at random. Its matrix is the expected one, test counts x train
    fractions, which no single draw misses by much: nothing is drawn.
    """
    train, test = _pixels(manifest, "train"), scored_pixels(manifest)
    if not train.sum():
        return {}
    most_frequent = int(train.argmax())
    constant = np.zeros((len(test), len(test)), np.int64)
    constant[:, most_frequent] = test
    return {
        MOST_FREQUENT: (f"{manifest.legend.names[most_frequent]} everywhere, as most of train", constant),
        TRAINING_PROPORTIONS: ("drawn with train's fractions; expected values", np.outer(test, train / train.sum())),
    }


def verdict_on(name: str, metrics: Mapping[str, Any], manifest: DatasetManifest) -> str:
    """Verdict on one model in a sentence: its scores on the manifest's ground against the most frequent class alone."""
    dummies, constant = dummy_classifiers(manifest), None
    if MOST_FREQUENT in dummies:
        scores = summary(dummies[MOST_FREQUENT][1])
        constant = Scored(CONSTANT, scores["mean_iou"], scores["accuracy"])
    model = Scored(name, metrics["mean_iou"], metrics["accuracy"])
    return verdict(model, constant, scored_ground(manifest).words(), constant=constant)


def scored_pixels(manifest: DatasetManifest) -> Any:
    """Scored pixels of each class: those of the test split; of a dataset without any, all that folds score."""
    test = _pixels(manifest, "test")
    return test if test.any() else _pixels(manifest, "train") + _pixels(manifest, "validation")


def _pixels(manifest: DatasetManifest, split: str) -> Any:
    empty = np.zeros(len(manifest.legend.classes), np.int64)
    return sum((np.array(tile.class_pixels[split] or empty, np.int64) for tile in manifest.tiles), empty)
