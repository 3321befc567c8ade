"""Training step with gradient accumulation: one batch, one update, in micro-batches where memory is short."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from landcover_orch.errors import Problem, RecipeError, pluralise
from landcover_orch.models.networks import Normalised
from landcover_orch.training.device import Device
from landcover_orch.training.distributed.batch_norm import synchronise
from landcover_orch.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from landcover_orch.training.loader import Batch
from landcover_orch.training.losses import Objective

DROPOUT = 100
"""Separates dropout's stream of random numbers from the others of one (seed, epoch, step)."""

Result = TypeVar("Result")


@dataclass
class Step:
    """Training step: takes batches through a network, each as one update whatever the micro-batches and processes.

    Of each batch every process takes its rows, in `micro_batches` where memory is short. A micro-batch's loss is its
    part of the loss of the batch, so with pixel-wise losses the gradient is that of the whole batch. Two things are
    not: Jaccard and Dice (see `Objective`), and batch normalisation, which sees a micro-batch (of all processes) at a
    time. Dropout each process draws for itself.
    """

    model: Normalised
    objective: Objective
    device: Device
    batch_size: int
    micro_batches: int = 1
    clip: float | None = None
    log_line: Callable[[str], None] = lambda line: None
    group: ProcessGroup = SINGLE_PROCESS

    def __post_init__(self) -> None:
        if self.group.size > 1:
            synchronise(self.model.network, self.device.kind)

    def update(self, batch: Batch, optimiser: Any, seed: int) -> Tensor:
        """One optimiser step: the loss of the whole batch, before the update; `seed` is for dropout."""

        def gradients(slices: list[slice], batch_masses: Tensor | None) -> Tensor:
            torch.manual_seed(seed + self.group.rank)
            self.model.zero_grad(set_to_none=True)
            losses = []
            for part in slices:
                _, loss = self._forward(batch, part, batch_masses)
                torch.autograd.backward(loss)
                losses.append(loss.detach())
            return self._sum(losses)

        loss = self.in_micro_batches(batch, gradients)
        if self.group.size > 1:
            loss = self.all_reduce_gradients(loss)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        optimiser.step()
        return loss

    def synchronise(self) -> None:
        """Takes as many micro-batches from now on as the process that needed most."""
        self.micro_batches = int(torch.stack(self.group.all_gather(torch.tensor([self.micro_batches]))).max())

    def evaluate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The part of a batch's loss of this process's rows, and their predicted classes (n, y, x) uint8."""

        def results(slices: list[slice], batch_masses: Tensor | None) -> tuple[Tensor, Tensor]:
            outputs = [self._forward(batch, part, batch_masses) for part in slices]
            classes = [logits.max(1).indices.to(torch.uint8) for logits, _ in outputs]
            return self._sum([loss for _, loss in outputs]), torch.cat([batch.label[:0], *classes])

        return self.in_micro_batches(batch, results)

    def _sum(self, losses: list[Tensor]) -> Tensor:
        return torch.stack(losses).sum() if losses else torch.zeros((), device=self.model.mean.device)

    def _forward(self, batch: Batch, part: slice, batch_masses: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.kind, torch.bfloat16, enabled=self.device.bfloat16):
            logits = self.model(batch.image[part])
        polygon = None if batch.polygon is None else batch.polygon[part]
        return logits, self.objective(logits, batch.label[part], batch_masses, polygon)

    def all_reduce_gradients(self, loss: Tensor) -> Tensor:
        """All-reduce: the sum of all processes' losses; each parameter then has the sum of their gradients.

        The gradients are summed when all micro-batches have passed, not while they do: so a process that had to take
        one again, or had none of a small batch, does not block the others.
        """
        trainable = [value for value in self.model.parameters() if value.requires_grad]
        has_gradient = torch.tensor([value.grad is not None for value in trainable], device=loss.device)
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in trainable]
        flat = [loss.reshape(1), has_gradient.float(), *(part.reshape(-1) for part in gradients)]
        total = self.group.sum(torch.cat(flat))
        start = 1 + len(trainable)
        for value, gradient, count in zip(trainable, gradients, total[1:start], strict=True):
            gradient.copy_(total[start : start + value.numel()].view(value.shape))
            value.grad = gradient if count else None
            start += value.numel()
        return total[0]

    def in_micro_batches(self, batch: Batch, work: Callable[[list[slice], Tensor | None], Result]) -> Result:
        """Result of `work` for this process's rows in micro-batches, in twice as many as long as memory is short."""
        single = self.group.size == 1
        batch_masses = None if single else self.group.sum(self.objective.masses(batch.label, batch.polygon))
        while True:
            slices = self.slices(batch)
            if single and len(slices) > 1:
                batch_masses = self.objective.masses(batch.label, batch.polygon)
            try:
                return work(slices, batch_masses)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                message = " ".join(str(error).split())[:200]
            # Out of the handler, whose traceback would keep the failed pass in memory.
            self.halve(message)

    def slices(self, batch: Batch) -> list[slice]:
        """The micro-batches of this process's rows of a batch."""
        local_batch = self.group.local_batch(self.batch_size)
        size = -(-local_batch // self.micro_batches)
        # Processes with synchronised batch normalisation make equally many passes, some of them with nothing.
        images = min(local_batch, batch.batch_size) if self._synchronised else len(batch.image)
        return [slice(start, start + size) for start in range(0, images, size)]

    @property
    def _synchronised(self) -> bool:
        return any(isinstance(layer, nn.SyncBatchNorm) for layer in self.model.modules())

    def halve(self, message: str) -> None:
        """Halves the micro-batches after an out-of-memory error.

        Raises:
            RecipeError: they cannot be smaller.
        """
        local_batch = self.group.local_batch(self.batch_size)
        where, parts = f"memory of {self.device.name}", self.micro_batches
        if self._synchronised:
            size = f"a batch of {self.batch_size} in {pluralise(parts, 'micro-batch')} does not fit ({message})"
            fix = f"set `accumulate: {2 * parts}`: processes that share batch statistics cannot split it on the way"
            raise RecipeError(Problem(where, size, "memory for one micro-batch", fix))
        if parts >= local_batch:
            size, expected = (
                f"one image does not fit ({message})",
                "memory for a forward and a backward pass of one patch",
            )
            fix = "lower `patches.size` or the model's width, or set `precision: bfloat16`"
            raise RecipeError(Problem(where, size, expected, fix))
        self.micro_batches = min(2 * self.micro_batches, local_batch)
        self.model.zero_grad(set_to_none=True)
        gc.collect()
        if self.device.kind == "cuda":
            torch.cuda.empty_cache()
        size = f"a batch of {self.batch_size}"
        self.log_line(f"out of memory: from now on {size} passes in {pluralise(self.micro_batches, 'micro-batch')}")


def out_of_memory(error: RuntimeError) -> bool:
    """Out-of-memory check: whether an error says that a device, or the CPU's allocator, has no more memory."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def dropout_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of one step's dropout."""
    return int(np.random.SeedSequence([seed, epoch, step, DROPOUT]).generate_state(1)[0])
