"""K-means clusters (mini-batches: Sculley 2010) of the features of single pixels, each named after its train pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import texture

PIECE = 4096
"""Pixels whose distances to all clusters are held at a time."""


def build(settings: models.KMeans, bands: int, classes: int) -> KMeans:
    """The clusters that settings describe, before they are fitted: every class has the same fraction."""
    return KMeans(settings, bands, classes)


class KMeans(nn.Module):
    """K-means classifier: logits (n, class, y, x) of normalised images (n, band, y, x).

    They are the log of the class fractions of the nearest cluster.

    The class of a cluster is thus the majority of its train pixels (the lowest id of equals). Features are divided by
    their spread among the train pixels first, so that none counts more for its unit.
    """

    scale: Tensor
    centre: Tensor
    shares: Tensor

    def __init__(self, settings: models.KMeans, bands: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        features = texture.count(bands, settings.texture)
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("centre", torch.zeros(settings.clusters, features))
        self.register_buffer("shares", torch.full((settings.clusters, classes), 1 / classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        return texture.logits(x, self.settings.texture, self.predict)

    def predict(self, rows: Tensor) -> Tensor:
        """Class fractions (pixel, class) of the cluster nearest to features (pixel, feature)."""
        return self.shares.index_select(0, self.nearest(rows))

    def nearest(self, rows: Tensor) -> Tensor:
        """The cluster (pixel,) of features (pixel, feature); of equally near ones the first."""
        # |x - c|^2 is least where x.c - |c|^2 / 2 is largest.
        half = self.centre.square().sum(1) / 2
        near = [(part * self.scale @ self.centre.T - half).max(1).indices for part in torch.split(rows, PIECE)]
        return torch.cat(near)

    def learn(
        self, rows: NDArray[np.float32], classes: NDArray[np.uint8], weights: NDArray[np.float64], seed: int
    ) -> None:
        """Fits the clusters, and the fractions of classes in each; the same for the same seed.

        Args:
            rows: features (pixel, feature).
            classes: theirs (pixel,).
            weights: how much each counts (pixel,).
            seed: draws the first centres and the mini-batches.
        """
        from sklearn.cluster import MiniBatchKMeans

        spread = rows.std(axis=0, dtype=np.float64)
        self.scale.copy_(torch.from_numpy(1 / np.where(spread > 0, spread, 1.0)))
        estimator = MiniBatchKMeans(min(len(self.centre), len(rows)), random_state=seed, batch_size=PIECE, n_init=3)
        centres = estimator.fit(rows * self.scale.numpy(), sample_weight=weights).cluster_centers_
        # Fewer pixels than clusters: the rest repeat the first, which comes before them.
        rest = np.repeat(centres[:1], len(self.centre) - len(centres), axis=0)
        self.centre.copy_(torch.from_numpy(np.concatenate([centres, rest])))
        self.assign_classes(rows, classes, weights)

    def assign_classes(
        self, rows: NDArray[np.float32], classes: NDArray[np.uint8], weights: NDArray[np.float64]
    ) -> None:
        """Class fractions of each cluster from its train pixels; arguments as for `learn`."""
        clusters, size = self.nearest(torch.from_numpy(rows)).numpy(), self.shares.shape[1]
        joint = np.bincount(clusters * size + classes, weights, minlength=self.shares.numel()).reshape(-1, size)
        # A cluster without a pixel has the fractions of all pixels together.
        counts = np.where(joint.sum(1, keepdims=True) > 0, joint, joint.sum(0))
        self.shares.copy_(torch.from_numpy(counts / counts.sum(1, keepdims=True)))
