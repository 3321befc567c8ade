"""Trained networks that answer together, as one network: their mean probabilities, or their votes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landcover_orch.config.experiments.models import Ensemble as Settings

Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each band."""

TIE = 2.0**-7
"""Weight of a member's probabilities beside its vote: together those of all members, 100 at most, are less than one."""


class Shifted(nn.Module):
    """A member that was trained behind other band statistics than the ensemble's: normalised images are brought to its.

    A pixel without a value stays at the ensemble's mean. The statistics belong to the contract, not to the weights.

    Args:
        network: the member.
        own: mean and standard deviation of each band that it was trained with.
        shared: those that the images are normalised by.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, own: Statistics, shared: Statistics) -> None:
        super().__init__()
        self.network = network
        (mean, std), (shared_mean, shared_std) = ([torch.tensor(part) for part in parts] for parts in (own, shared))
        std, shared_std = (torch.where(part > 0, part, 1.0) for part in (std, shared_std))  # as `Normalised` does
        for name, value in {"scale": shared_std / std, "shift": (shared_mean - mean) / std}.items():
            self.register_buffer(name, value.reshape(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The member's logits (n, class, y, x)."""
        logits: Tensor = self.network(x * self.scale + self.shift)
        return logits


def behind(network: nn.Module, own: Statistics, shared: Statistics) -> nn.Module:
    """A member that takes what the ensemble normalised: the network itself where both have the same statistics."""
    return network if own == shared else Shifted(network, own, shared)


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
