"""What a map scores that looks at no pixel: baselines that follow from the manifest's counts alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from landcover_orch.metrics.confusion import Counts
from landcover_orch.patches.manifest import DatasetManifest


def trivial(manifest: DatasetManifest) -> dict[str, tuple[str, Counts]]:
    """Baseline -> what it predicts, and its matrix (actual, predicted) over scored pixels; none without train pixels.

    'training proportions' draws the class of each pixel at random. Its matrix is the expected one, test counts x train
    shares, which no single draw misses by much: nothing is drawn.
    """
    train, test = _pixels(manifest, "train"), scored_pixels(manifest)
    if not train.sum():
        return {}
    commonest = int(train.argmax())
    constant = np.zeros((len(test), len(test)), np.int64)
    constant[:, commonest] = test
    return {
        "most frequent class": (f"{manifest.legend.names[commonest]} everywhere, as most of train", constant),
        "training proportions": ("drawn with train's shares; expected values", np.outer(test, train / train.sum())),
    }


def scored_pixels(manifest: DatasetManifest) -> Any:
    """Labelled test pixels of each class; of a dataset without test side, all that are scored out of fold."""
    test = _pixels(manifest, "test")
    return test if test.any() else _pixels(manifest, "train") + _pixels(manifest, "validation")


def _pixels(manifest: DatasetManifest, split: str) -> Any:
    empty = np.zeros(len(manifest.legend.classes), np.int64)
    return sum((np.array(tile.class_pixels[split] or empty, np.int64) for tile in manifest.tiles), empty)
