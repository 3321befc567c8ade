"""Random forest (Breiman 2001) on the features of single pixels, grown by scikit-learn, applied by torch.

Its trees lie in buffers of a fixed shape, so that it is stored, checked and served like every network: no pickle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models import texture


def build(settings: models.RandomForest, bands: int, classes: int) -> RandomForest:
    """The forest that settings describe, before it is grown: every class has the same probability."""
    return RandomForest(settings, bands, classes)


class RandomForest(nn.Module):
    """Random forest: logits (n, class, y, x) of normalised images (n, band, y, x), log of the mean over the leaves.

    A node sends a pixel to `child` if its `feature` is at most the `threshold`, else to `child` + 1. A leaf is its own
    child under an infinite threshold, so that all pixels may descend equally many steps.
    """

    feature: Tensor
    threshold: Tensor
    child: Tensor
    shares: Tensor
    depth: Tensor

    def __init__(self, settings: models.RandomForest, bands: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        nodes = settings.trees, 2 * settings.leaves - 1
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.full(nodes, torch.inf))
        self.register_buffer("child", torch.arange(nodes[1], dtype=torch.int32).repeat(settings.trees, 1))
        self.register_buffer("shares", torch.full((*nodes, classes), 1 / classes))
        self.register_buffer("depth", torch.zeros(settings.trees, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x)."""
        return texture.logits(x, self.settings.texture, self.predict)

    def predict(self, rows: Tensor) -> Tensor:
        """Class fractions (pixel, class) of features (pixel, feature), the mean over all trees."""
        values = rows.reshape(-1)
        begin = torch.arange(len(rows), dtype=torch.int32, device=rows.device) * rows.shape[1]
        total = rows.new_zeros(len(rows), self.shares.shape[2])
        for tree, depth in enumerate(self.depth.tolist()):
            total += self.shares[tree].index_select(0, self.leaf(tree, depth, values, begin))
        return total / len(self.depth)

    def leaf(self, tree: int, depth: int, values: Tensor, begin: Tensor) -> Tensor:
        """The leaf (pixel,) of a tree for features that begin at `begin` (pixel,) in the flat `values`."""
        feature, threshold, child = self.feature[tree], self.threshold[tree], self.child[tree]
        node = torch.zeros_like(begin)
        for _ in range(depth):
            value = values.index_select(0, begin + feature.index_select(0, node))
            node = child.index_select(0, node) + (value > threshold.index_select(0, node))
        return node

    def learn(
        self, rows: NDArray[np.float32], classes: NDArray[np.uint8], weights: NDArray[np.float64], seed: int
    ) -> None:
        """Grows the trees, the same for the same seed.

        Args:
            rows: features (pixel, feature).
            classes: theirs (pixel,).
            weights: how much each counts (pixel,).
            seed: draws each tree's pixels and features.
        """
        from sklearn.ensemble import RandomForestClassifier

        grown = RandomForestClassifier(
            n_estimators=self.settings.trees,
            max_leaf_nodes=self.settings.leaves,
            random_state=seed,
            n_jobs=torch.get_num_threads(),  # trees draw their seeds beforehand: threads change no bit
        ).fit(rows, classes, weights)
        self.shares.zero_()
        for tree, estimator in enumerate(grown.estimators_):
            self.copy_tree(tree, estimator.tree_, grown.classes_.astype(int))

    def copy_tree(self, tree: int, grown: Any, classes: NDArray[np.int64]) -> None:
        """Copies one of scikit-learn's trees into the buffers, its nodes reordered so that siblings are adjacent."""
        order = list(breadth_first(grown))
        position = np.empty(grown.node_count, np.int64)
        position[order] = np.arange(len(order))
        nodes = slice(len(order))
        leaf = grown.children_left[order] < 0
        child = np.where(leaf, np.arange(len(order)), position[grown.children_left[order]])
        self.feature[tree, nodes] = torch.from_numpy(np.where(leaf, 0, grown.feature[order]).astype(np.int32))
        self.threshold[tree, nodes] = torch.from_numpy(np.where(leaf, np.inf, round_down(grown.threshold[order])))
        self.child[tree, nodes] = torch.from_numpy(child.astype(np.int32))
        self.shares[tree, nodes, classes] = torch.from_numpy(grown.value[order, 0].astype(np.float32))
        self.depth[tree] = int(grown.max_depth)


def breadth_first(grown: Any) -> Iterator[int]:
    """Breadth-first order of a tree's nodes."""
    level = [0]
    while level:
        yield from level
        inner = [node for node in level if grown.children_left[node] >= 0]
        level = [child for node in inner for child in (grown.children_left[node], grown.children_right[node])]


def round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rounds down to float32: float32 features compare with it as with the float64 threshold."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
