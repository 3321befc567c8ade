"""Synchronised batch normalisation: by the statistics of the whole batch over all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landcover_orch.training.distributed.process_group import init_process_group


def synchronise(network: nn.Module, device: str) -> None:
    """Converts a network's batch normalisation to the synchronised one: torch's on CUDA, ours on a CPU."""
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    for layer in network.modules():
        if isinstance(layer, nn.SyncBatchNorm) and device == "cpu":
            layer.__class__ = CPUSyncBatchNorm


class CPUSyncBatchNorm(nn.SyncBatchNorm):
    """Synchronised batch normalisation on a CPU, as torch's takes CUDA tensors alone: statistics of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised (n, channel, ...) by the batch in training, where n may be 0 in some processes, else as learnt."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps)
        values, axes = x.float(), [0, *range(2, x.dim())]
        pixels = x.new_full((1,), x.numel() // x.shape[1], dtype=torch.float32)
        sums = all_reduce(torch.cat([values.sum(axes), pixels]))
        count = sums[-1].detach()
        mean = _per_channel(sums[:-1] / count, x)
        variance = all_reduce(((values - mean) ** 2).sum(axes)) / count
        self.update_running_statistics(mean.detach().flatten(), variance.detach(), float(count))
        normal = (values - mean) * _per_channel(torch.rsqrt(variance + self.eps), x)
        return (normal * _per_channel(self.weight, x) + _per_channel(self.bias, x)).to(x.dtype)

    @torch.no_grad()
    def update_running_statistics(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Moves the running mean and (unbiased) variance (channel,) towards those of a batch of `count` pixels."""
        layer: Any = self
        layer.num_batches_tracked += 1
        momentum = 1 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
        layer.running_mean.lerp_(mean, momentum)
        layer.running_var.lerp_(variance * count / (count - 1), momentum)


def _per_channel(numbers: Tensor, like: Tensor) -> Tensor:
    """(channel), to be spread over (n, channel, ...)."""
    return numbers.reshape(1, -1, *[1] * (like.dim() - 2))


def all_reduce(values: Tensor) -> Tensor:
    """All-reduce with a gradient: the sum over all processes."""
    total: Tensor = AllReduce.apply(values)  # type: ignore[no-untyped-call]
    return total


class AllReduce(torch.autograd.Function):
    """The sum over all processes; so is its gradient, as each process's loss is a part of one."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """The sum."""
        return init_process_group().sum(values.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum of the gradients."""
        return init_process_group().sum(gradient.clone())
