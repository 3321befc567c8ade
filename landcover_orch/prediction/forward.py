"""Forward pass with test-time augmentation: raw windows in, weighted fixed-point probabilities out.

Their bits do not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landcover_orch.prediction.blend import window_weight
from landcover_orch.training.device import Device

GROUP = {"cpu": 4, "cuda": 16}
"""Windows in every pass through the network, on each kind of device.

Convolution libraries choose their loops by the shape of a batch: on a CPU float32 logits of one window differ by 1e-7
between batches of 1 and 2, bfloat16 ones by 1e-3 between 1 and 3. Within one shape neither the place of a window in the
batch nor its neighbours changed a bit, so the shape is fixed and the last group is filled up.
"""


class Forward:
    """Forward pass of a model on its device, in one precision and one batch shape.

    Test-time augmentation: with 8 symmetries its probabilities are the mean over all rotations and mirrorings of a
    window.
    """

    def __init__(self, module: nn.Module, size: int, device: Device, symmetries: int = 1) -> None:
        self.device, self._bfloat16 = torch.device(device.kind), device.bfloat16
        self.group = GROUP[device.kind]
        self.symmetries = [(turns, mirrored) for mirrored in (False, True) for turns in range(4)][:symmetries]
        self._module = module
        self._weight = torch.from_numpy(window_weight(size)).to(self.device)

    def logits(self, windows: Tensor) -> Tensor:
        """Logits (n, class, y, x) of raw windows (n, band, y, x)."""
        device, bfloat16 = self.device.type, self._bfloat16
        with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            logits: Tensor = self._module(windows.to(self.device))
        return logits

    def weighted(self, windows: Sequence[NDArray[Any]]) -> Iterator[Tensor]:
        """For each raw window (band, y, x) its probabilities times weight, in fixed point: int32 (class, y, x)."""
        for start in range(0, len(windows), self.group):
            part = list(windows[start : start + self.group])
            filled = np.stack(part + part[-1:] * (self.group - len(part)))
            for window in self.probabilities(torch.from_numpy(filled).to(self.device), len(part)):
                with torch.inference_mode():
                    fixed_point = window.mul_(self._weight).to(torch.int32)
                yield fixed_point

    def probabilities(self, windows: Tensor, count: int) -> list[Tensor]:
        """Probabilities (class, y, x) of the first `count` windows, averaged over the symmetries."""
        with torch.inference_mode():
            total = self._turned(windows, count, self.symmetries[0])
            for symmetry in self.symmetries[1:]:
                total = [a.add_(b) for a, b in zip(total, self._turned(windows, count, symmetry), strict=True)]
            return [window.div_(len(self.symmetries)) for window in total]

    def _turned(self, windows: Tensor, count: int, symmetry: tuple[int, bool]) -> list[Tensor]:
        """Probabilities under one symmetry, rotated back.

        Window by window: softmax over one fixed shape gives the same bits wherever the window stood.
        """
        logits = self.logits(turn(windows, *symmetry).contiguous())
        probabilities = (torch.softmax(window.to(torch.float32).contiguous(), 0) for window in logits[:count])
        return [turn_back(window, *symmetry).contiguous() for window in probabilities]


def turn(images: Tensor, turns: int, mirrored: bool) -> Tensor:
    """Images (..., y, x), mirrored left to right if asked, then turned by `turns` quarters."""
    return torch.rot90(images.flip(-1) if mirrored else images, turns, (-2, -1))


def turn_back(images: Tensor, turns: int, mirrored: bool) -> Tensor:
    """The inverse of `turn`."""
    turned = torch.rot90(images, -turns, (-2, -1))
    return turned.flip(-1) if mirrored else turned
