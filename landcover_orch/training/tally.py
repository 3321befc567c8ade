"""What is counted of the validation split, batch by batch, and the metrics that follow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landcover_orch.metrics import confusion, proportions
from landcover_orch.metrics.confusion import Value
from landcover_orch.training.distributed.process_group import World


class Tally:
    """The confusion matrix over all patches, and each patch's pixels of each class, actual and predicted."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.matrix = np.zeros((classes, classes), np.int64)
        self._actual = [np.zeros((0, classes), np.int64)]
        self._predicted = [np.zeros((0, classes), np.int64)]

    def add(self, label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Counts the patches of a batch, both (n, y, x)."""
        self.matrix += confusion.count(label, predicted, self.classes)
        self._actual.append(proportions.counts(label, label, self.classes))
        self._predicted.append(proportions.counts(predicted, label, self.classes))

    def together(self, world: World) -> Tally:
        """What all processes counted."""
        whole = Tally(self.classes)
        whole.matrix = world.joined(self.matrix[None]).sum(axis=0)
        whole._actual, whole._predicted = ([world.joined(np.concatenate(p))] for p in (self._actual, self._predicted))
        return whole

    def metrics(self) -> dict[str, Value]:
        """The report's headline metrics, and the mean divergence of a patch's class proportions."""
        divergence = proportions.divergence(np.concatenate(self._actual), np.concatenate(self._predicted))
        return {**confusion.summary(self.matrix), "kl_proportions": divergence}
