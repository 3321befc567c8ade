"""Trained networks that answer together, as one network: their mean probabilities, or their votes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landcover_orch.experiment.models import Ensemble as Settings

TIE = 2.0**-7
"""Weight of a member's probabilities beside its vote: together those of all members, 100 at most, are less than one."""


class Ensemble(nn.Module):
    """Logits (n, class, y, x) whose softmax is the mean of what the members say of normalised images (n, band, y, x).

    Each member says its probabilities, or, where they vote, 1 for its class and 0 for the others, and its probabilities
    as so little more that they decide between equally many votes alone. The members are part of it: their weights
    travel in one file.
    """

    def __init__(self, settings: Settings, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.combine = settings.combine
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """The logarithm of the mean; what no member finds possible stays above minus infinity."""
        total = self._said(self.members[0](x))
        for member in self.members[1:]:
            total += self._said(member(x))
        return (total / len(self.members)).clamp_min(torch.finfo(total.dtype).tiny).log()

    def _said(self, logits: Tensor) -> Tensor:
        # In float32 under any autocast: a mean of bfloat16 would tie where the members do not.
        shares = logits.float().softmax(1)
        if self.combine == "mean":
            return shares
        votes = torch.zeros_like(shares).scatter_(1, shares.argmax(1, keepdim=True), 1.0)
        return (votes + shares * TIE) / (1 + TIE)
