"""The running statistics of batch normalisation in several processes, as if one had taken all parts of a batch in turn.

A pass moves a statistic r to (1 - m) r + m s, s being that of the pass. Each process starts from the same r and makes
its passes alone; here they are put behind one another. SyncBatchNorm, whose s is that of all processes, needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landcover_orch.training.world import World


@dataclass(frozen=True)
class Running:
    """The statistics of a model's normalisations that each process takes by itself."""

    model: nn.Module
    world: World

    @cached_property
    def norms(self) -> list[Any]:
        """Normalisations that keep running statistics of a process's own passes."""
        found = [norm for norm in self.model.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
        return [norm for norm in found if norm.momentum is not None and not isinstance(norm, nn.SyncBatchNorm)]

    def now(self) -> Tensor:
        """(number) How many passes each has seen, then all means and variances."""
        passes = [norm.num_batches_tracked.reshape(1).float() for norm in self.norms]
        statistics = [part for norm in self.norms for part in (norm.running_mean, norm.running_var)]
        return torch.cat([*passes, *statistics]) if passes else torch.empty(0)

    def follow(self, before: Tensor) -> None:
        """Puts the passes that all processes made since `before` behind one another, in the order of the processes."""
        if not self.norms:
            return
        count = len(self.norms)
        lengths = torch.tensor([2 * norm.num_features for norm in self.norms], device=before.device)
        remains = torch.tensor([1 - float(norm.momentum or 0) for norm in self.norms], device=before.device)
        state = before.clone()
        for after in self.world.gathered(self.now()):
            passes = after[:count] - before[:count]
            share = torch.repeat_interleave(remains**passes, lengths)
            state[:count] += passes
            state[count:] = share * state[count:] + (after[count:] - share * before[count:])
        self._set(state)

    def _set(self, state: Tensor) -> None:
        passes, rest = state[: len(self.norms)], state[len(self.norms) :]
        for norm, seen in zip(self.norms, passes, strict=True):
            norm.num_batches_tracked.fill_(int(seen))
            for statistic in (norm.running_mean, norm.running_var):
                statistic.copy_(rest[: len(statistic)])
                rest = rest[len(statistic) :]
