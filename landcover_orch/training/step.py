"""One batch through a network: its loss, and in training the update; in parts where memory does not hold the whole."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from landcover_orch.errors import Problem, RecipeError
from landcover_orch.model.networks import Normalised
from landcover_orch.training.device import Device
from landcover_orch.training.loader import Batch
from landcover_orch.training.losses import Objective

CHANCE = 100
"""Tells dropout's stream of random numbers from the others of one (seed, epoch, step)."""

Result = TypeVar("Result")


@dataclass
class Step:
    """Takes batches through a network, each as one update whatever the number of parts.

    A part's loss is its share in the loss of the batch, so with pixel-wise losses the gradient is that of the whole.
    Two things are not: Jaccard and Dice (see `Objective`), and batch normalisation, which sees a part at a time.
    """

    model: Normalised
    objective: Objective
    device: Device
    batch_size: int
    parts: int = 1
    clip: float | None = None
    tell: Callable[[str], None] = lambda line: None

    def update(self, batch: Batch, optimiser: Any, seed: int) -> Tensor:
        """The loss of a batch, by whose gradient the weights have moved; `seed` is for dropout."""

        def gradients(parts: list[slice]) -> Tensor:
            torch.manual_seed(seed)
            self.model.zero_grad(set_to_none=True)
            shares = []
            for part in parts:
                _, share = self._forward(batch, part, whole=len(parts) == 1)
                torch.autograd.backward(share)
                shares.append(share.detach())
            return torch.stack(shares).sum()

        loss = self._in_parts(len(batch.image), gradients)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        optimiser.step()
        return loss

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the predicted classes (n, y, x) uint8."""

        def results(parts: list[slice]) -> tuple[Tensor, Tensor]:
            found = [self._forward(batch, part, whole=len(parts) == 1) for part in parts]
            classes = [logits.max(1).indices.to(torch.uint8) for logits, _ in found]
            return torch.stack([share for _, share in found]).sum(), torch.cat(classes)

        return self._in_parts(len(batch.image), results)

    def _forward(self, batch: Batch, part: slice, *, whole: bool) -> tuple[Tensor, Tensor]:
        label = batch.label[part]
        with torch.autocast(self.device.kind, torch.bfloat16, enabled=self.device.bfloat16):
            logits = self.model(batch.image[part])
        return logits, self.objective(logits, label, None if whole else batch.label)

    def _in_parts(self, images: int, work: Callable[[list[slice]], Result]) -> Result:
        """What `work` makes of a batch in parts, in twice as many as long as memory is short."""
        while True:
            size = -(-self.batch_size // self.parts)
            try:
                return work([slice(start, start + size) for start in range(0, images, size)])
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                said = " ".join(str(error).split())[:200]
            # Out of the handler, whose traceback would keep the failed pass in memory.
            self._halve(said)

    def _halve(self, said: str) -> None:
        if self.parts >= self.batch_size:
            raise RecipeError(
                Problem(
                    f"memory of {self.device.name}",
                    f"one image does not fit ({said})",
                    "room for a forward and a backward pass of one patch",
                    "lower `patches.size` or the model's width, or set `precision: bfloat16`",
                )
            )
        self.parts = min(2 * self.parts, self.batch_size)
        self.model.zero_grad(set_to_none=True)
        gc.collect()
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        self.tell(f"out of memory: from now on a batch of {self.batch_size} passes in {self.parts} parts")


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device, or the CPU's allocator, has no more memory."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def chance(seed: int, epoch: int, step: int) -> int:
    """The seed of one step's dropout."""
    return int(np.random.SeedSequence([seed, epoch, step, CHANCE]).generate_state(1)[0])
