"""Batch normalisation by the statistics of the whole batch that several processes share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.training.distributed.process_group import joined


def synchronise(network: nn.Module, device: str) -> None:
    """Has a network's batch normalisations speak with those of the other processes: torch's on CUDA, ours on a CPU."""
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    for layer in network.modules():
        if isinstance(layer, nn.SyncBatchNorm) and device == "cpu":
            layer.__class__ = OnCPU


class OnCPU(nn.SyncBatchNorm):
    """What torch's SyncBatchNorm does, which takes CUDA tensors alone: mean and variance of all processes' pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised (n, channel, ...) by the batch in training, where n may be 0 in some processes, else as learnt."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps)
        values, axes = x.float(), [0, *range(2, x.dim())]
        pixels = x.new_full((1,), x.numel() // x.shape[1], dtype=torch.float32)
        sums = _summed(torch.cat([values.sum(axes), pixels]))
        count = sums[-1].detach()
        mean = _wide(sums[:-1] / count, x)
        variance = _summed(((values - mean) ** 2).sum(axes)) / count
        _keep(self, mean.detach().flatten(), variance.detach(), float(count))
        normal = (values - mean) * _wide(torch.rsqrt(variance + self.eps), x)
        return (normal * _wide(self.weight, x) + _wide(self.bias, x)).to(x.dtype)


@torch.no_grad()
def _keep(layer: Any, mean: Tensor, variance: Tensor, count: float) -> None:
    layer.num_batches_tracked += 1
    share = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance * count / (count - 1), share)


def _wide(numbers: Tensor, like: Tensor) -> Tensor:
    """(channel), to be spread over (n, channel, ...)."""
    return numbers.reshape(1, -1, *[1] * (like.dim() - 2))


def _summed(values: Tensor) -> Tensor:
    found: Tensor = _Summed.apply(values)  # type: ignore[no-untyped-call]
    return found


class _Summed(torch.autograd.Function):
    """The sum over all processes; so is its gradient, as each process's loss is a share of one."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return joined().sum(values.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return joined().sum(gradient.clone())
