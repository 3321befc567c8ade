"""What training minimises: functions of logits and class arrays that leave ignored pixels out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from landcover_orch.legend import IGNORE


def cross_entropy(logits: Tensor, label: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy over the labelled pixels, weighted by class: sum(w_y * -log p_y) / sum(w_y); 0 without any.

    Args:
        logits: (n, class, y, x), of any floating dtype; computed in float32.
        label: (n, y, x) uint8, 255 where nothing is labelled.
        weights: one a class; None: 1 each.
    """
    target = label.long()
    total = F.cross_entropy(logits.float(), target, weight=weights, ignore_index=IGNORE, reduction="sum")
    labelled = target != IGNORE
    count = labelled.sum() if weights is None else weights[target[labelled]].sum()
    return total / count.where(count > 0, 1)
