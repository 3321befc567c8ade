"""Batch normalisation that speaks with other processes is, in one alone, torch's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landcover_orch.training.distributed.batch_norm import CPUSyncBatchNorm, synchronise


def _passed(network: nn.Module, x: Tensor) -> list[Tensor]:
    """What two passes and their gradients give, and what is kept of them."""
    inputs = x.clone().requires_grad_()
    for _ in range(2):
        out = network(inputs)
    torch.autograd.backward((out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum())
    gradients = [value.grad for value in (inputs, *network.parameters()) if value.grad is not None]
    with torch.no_grad():
        return [out.detach(), *gradients, *network.state_dict().values(), network.eval()(x)]


def _both(momentum: float | None = 0.1) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5, momentum=momentum), nn.ReLU())
    spoken = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5, momentum=momentum), nn.ReLU())
    spoken.load_state_dict(plain.state_dict())
    synchronise(spoken, "cpu")
    assert isinstance(spoken[1], CPUSyncBatchNorm)
    return plain, spoken


def test_it_normalises_learns_and_keeps_what_torch_s_does() -> None:
    x = torch.randn(4, 2, 9, 9) * 3 + 5
    for momentum in (0.1, None):
        plain, spoken = (_passed(network, x) for network in _both(momentum))
        torch.testing.assert_close(spoken, plain, rtol=1e-4, atol=1e-3)


def test_bfloat16_comes_out_as_it_went_in() -> None:
    _, spoken = _both()
    with torch.autocast("cpu", torch.bfloat16):
        assert spoken(torch.randn(4, 2, 9, 9)).dtype == torch.bfloat16


def test_on_cuda_it_is_torch_s() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    synchronise(network, "cuda")
    assert type(network[0]) is nn.SyncBatchNorm
