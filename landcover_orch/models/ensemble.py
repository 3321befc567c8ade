"""Ensemble by averaging, or by majority vote: trained networks as one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landcover_orch.config.experiments.models import Ensemble as Settings

Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each band."""

TIE = 2.0**-7
"""Tie-break: weight of a member's probabilities next to its vote; those of all members, 100 at most, sum to below 1."""


class Renormalised(nn.Module):
    """Renormalised input of a member whose band statistics differ from the ensemble's.

    A pixel without a value stays at the ensemble's mean. The statistics belong to the contract, not to the weights.

    Args:
        network: the member.
        member: mean and standard deviation of each band that it was trained with.
        shared: those that the images are normalised by.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, member: Statistics, shared: Statistics) -> None:
        super().__init__()
        self.network = network
        (mean, std), (shared_mean, shared_std) = ([torch.tensor(part) for part in parts] for parts in (member, shared))
        std, shared_std = (torch.where(part > 0, part, 1.0) for part in (std, shared_std))  # as `Normalised` does
        for name, value in {"scale": shared_std / std, "shift": (shared_mean - mean) / std}.items():
            self.register_buffer(name, value.reshape(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The member's logits (n, class, y, x)."""
        logits: Tensor = self.network(x * self.scale + self.shift)
        return logits


def with_input_statistics(network: nn.Module, member: Statistics, shared: Statistics) -> nn.Module:
    """A member on images that the ensemble normalised: the network itself where both have the same statistics."""
    return network if member == shared else Renormalised(network, member, shared)


class Ensemble(nn.Module):
    """Ensemble: logits (n, class, y, x) whose softmax is the members' mean, of normalised images (n, band, y, x).

    A member gives its probabilities, or, where they vote, 1 for its class and 0 for the others, and its probabilities
    with a weight so small that they only break ties. The members are part of it: their weights travel in one file.
    """

    def __init__(self, settings: Settings, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.combine = settings.combine
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Logarithm of the mean; a class with probability 0 in all members stays above minus infinity."""
        total = self._probabilities(self.members[0](x))
        for member in self.members[1:]:
            total += self._probabilities(member(x))
        return (total / len(self.members)).clamp_min(torch.finfo(total.dtype).tiny).log()

    def _probabilities(self, logits: Tensor) -> Tensor:
        # In float32 under any autocast: a mean of bfloat16 would tie where the members do not.
        probabilities = logits.float().softmax(1)
        if self.combine == "mean":
            return probabilities
        votes = torch.zeros_like(probabilities).scatter_(1, probabilities.argmax(1, keepdim=True), 1.0)
        return (votes + probabilities * TIE) / (1 + TIE)
