"""One batch through a network: its loss, and in training the update; in parts where memory does not hold the whole."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from landcover_orch.errors import Problem, TrainingError
from landcover_orch.models.networks import Normalised
from landcover_orch.training.device import Device
from landcover_orch.training.distributed.batch_norm import synchronise
from landcover_orch.training.distributed.process_group import ALONE, World
from landcover_orch.training.loader import Batch
from landcover_orch.training.losses import Objective

CHANCE = 100
"""Tells dropout's stream of random numbers from the others of one (seed, epoch, step)."""

Result = TypeVar("Result")


@dataclass
class Step:
    """Takes batches through a network, each as one update whatever the number of parts and of processes.

    Of each batch every process takes its rows, in `parts` where memory is short. A part's loss is its share in the
    loss of the batch, so with pixel-wise losses the gradient is that of the whole. Two things are not: Jaccard and
    Dice (see `Objective`), and batch normalisation, which sees a part (of all processes) at a time. Dropout each
    process draws for itself.
    """

    model: Normalised
    objective: Objective
    device: Device
    batch_size: int
    parts: int = 1
    clip: float | None = None
    tell: Callable[[str], None] = lambda line: None
    world: World = ALONE

    def __post_init__(self) -> None:
        if self.world.size > 1:
            synchronise(self.model.network, self.device.kind)

    def update(self, batch: Batch, optimiser: Any, seed: int) -> Tensor:
        """The loss of the whole batch, by whose gradient the weights have moved; `seed` is for dropout."""

        def gradients(parts: list[slice], whole: Tensor | None) -> Tensor:
            torch.manual_seed(seed + self.world.rank)
            self.model.zero_grad(set_to_none=True)
            shares = []
            for part in parts:
                _, share = self._forward(batch, part, whole)
                torch.autograd.backward(share)
                shares.append(share.detach())
            return self._sum(shares)

        loss = self._in_parts(batch, gradients)
        if self.world.size > 1:
            loss = self._summed(loss)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        optimiser.step()
        return loss

    def agree(self) -> None:
        """Takes as many parts from now on as the process that needed most."""
        self.parts = int(torch.stack(self.world.gathered(torch.tensor([self.parts]))).max())

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The share of this process's rows in the loss of a batch, and their predicted classes (n, y, x) uint8."""

        def results(parts: list[slice], whole: Tensor | None) -> tuple[Tensor, Tensor]:
            found = [self._forward(batch, part, whole) for part in parts]
            classes = [logits.max(1).indices.to(torch.uint8) for logits, _ in found]
            return self._sum([share for _, share in found]), torch.cat([batch.label[:0], *classes])

        return self._in_parts(batch, results)

    def _sum(self, shares: list[Tensor]) -> Tensor:
        return torch.stack(shares).sum() if shares else torch.zeros((), device=self.model.mean.device)

    def _forward(self, batch: Batch, part: slice, whole: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.kind, torch.bfloat16, enabled=self.device.bfloat16):
            logits = self.model(batch.image[part])
        polygon = None if batch.polygon is None else batch.polygon[part]
        return logits, self.objective(logits, batch.label[part], whole, polygon)

    def _summed(self, loss: Tensor) -> Tensor:
        """The sum of all processes' losses, with the sum of their gradients in place of each one's.

        The gradients are summed when all parts have passed, not while they do: so a process that had to take its part
        again, or had none of a small batch, keeps none of the others from theirs.
        """
        learnt = [value for value in self.model.parameters() if value.requires_grad]
        reached = torch.tensor([value.grad is not None for value in learnt], device=loss.device)
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in learnt]
        whole = self.world.sum(torch.cat([loss.reshape(1), reached.float(), *(part.reshape(-1) for part in gradients)]))
        start = 1 + len(learnt)
        for value, gradient, count in zip(learnt, gradients, whole[1:start], strict=True):
            gradient.copy_(whole[start : start + value.numel()].view(value.shape))
            value.grad = gradient if count else None
            start += value.numel()
        return whole[0]

    def _in_parts(self, batch: Batch, work: Callable[[list[slice], Tensor | None], Result]) -> Result:
        """What `work` makes of this process's rows in parts, in twice as many as long as memory is short."""
        alone = self.world.size == 1
        whole = None if alone else self.world.sum(self.objective.masses(batch.label, batch.polygon))
        while True:
            parts = self._parts(batch)
            if alone and len(parts) > 1:
                whole = self.objective.masses(batch.label, batch.polygon)
            try:
                return work(parts, whole)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                said = " ".join(str(error).split())[:200]
            # Out of the handler, whose traceback would keep the failed pass in memory.
            self._halve(said)

    def _parts(self, batch: Batch) -> list[slice]:
        share = self.world.share(self.batch_size)
        size = -(-share // self.parts)
        # Processes whose normalisations speak with each other make equally many passes, some of them with nothing.
        images = min(share, batch.whole) if self._synchronised else len(batch.image)
        return [slice(start, start + size) for start in range(0, images, size)]

    @property
    def _synchronised(self) -> bool:
        return any(isinstance(layer, nn.SyncBatchNorm) for layer in self.model.modules())

    def _halve(self, said: str) -> None:
        share = self.world.share(self.batch_size)
        if self.parts >= share or self._synchronised:
            raise TrainingError(self._too_much(said))
        self.parts = min(2 * self.parts, share)
        self.model.zero_grad(set_to_none=True)
        gc.collect()
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        self.tell(f"out of memory: from now on a batch of {self.batch_size} passes in {self.parts} parts")

    def _too_much(self, said: str) -> Problem:
        if self._synchronised:
            found = f"a batch of {self.batch_size} in {self.parts} parts does not fit ({said})"
            fix = (
                f"set `accumulate: {2 * self.parts}`: processes that share batch statistics cannot split it on the way"
            )
            return Problem(f"memory of {self.device.name}", found, "room for a part", fix)
        return Problem(
            f"memory of {self.device.name}",
            f"one image does not fit ({said})",
            "room for a forward and a backward pass of one patch",
            "lower `patches.size` or the model's width, or set `precision: bfloat16`",
        )


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that a device, or the CPU's allocator, has no more memory."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def chance(seed: int, epoch: int, step: int) -> int:
    """The seed of one step's dropout."""
    return int(np.random.SeedSequence([seed, epoch, step, CHANCE]).generate_state(1)[0])
