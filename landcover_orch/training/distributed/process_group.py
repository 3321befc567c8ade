"""The processes that train one model together: which of them this is, and what they tell each other.

How many there are is the word of whatever launched them, in variables that Lightning's environments read: torchrun's,
else those of a Slurm job step. What they tell each other are tensors; nothing is pickled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from numpy.typing import NDArray
from torch import Tensor

from landcover_orch.errors import Problem, TrainingError

PATIENCE = timedelta(days=1)
"""How long one waits for another, which may be fitting a forest; a process that died is noticed by its connection."""


@dataclass(frozen=True)
class World:
    """The processes of a training; by default this one, alone.

    Attributes:
        rank: which one this is, from 0; the first alone writes, and talks to MLflow and Dagster.
        size: how many there are.
        local: how many of them run on this node.
        environment: how Lightning knows of them.
    """

    rank: int = 0
    size: int = 1
    local: int = 1
    environment: ClusterEnvironment | None = field(default=None, compare=False)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def words(self) -> str:
        """What a line about the device goes on with: nothing where this process is alone."""
        return "" if self.size == 1 else f", by {self.size} processes, {self.local} a node, that share each batch"

    def share(self, images: int) -> int:
        """Images of a full batch that a process takes."""
        return -(-images // self.size)

    def rows(self, batch_size: int) -> slice:
        """What this process takes of each batch; of a last, smaller one that may be nothing."""
        share = self.share(batch_size)
        return slice(self.rank * share, (self.rank + 1) * share)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on each of them; `values` itself holds it then."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def gathered(self, values: Tensor) -> list[Tensor]:
        """What each process has, in their order; all of one shape."""
        if self.size == 1:
            return [values]
        found = [torch.empty_like(values) for _ in range(self.size)]
        torch.distributed.all_gather(found, values)
        return found

    def joined(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows (row, ...) of all processes, one process after another."""
        counts = [int(count) for count in self.gathered(torch.tensor([len(rows)]))]
        start = sum(counts[: self.rank])
        whole = torch.zeros((sum(counts), *rows.shape[1:]), dtype=torch.int64)
        whole[start : start + len(rows)] = torch.from_numpy(rows)
        return np.asarray(self.sum(whole).numpy())

    def told(self, text: str = "") -> str:
        """What the first process says, on each of them."""
        if self.size == 1:
            return text
        said = np.frombuffer(text.encode(), np.uint8) if self.first else np.empty(0, np.uint8)
        length = self.sum(torch.tensor([len(said)]))
        letters = torch.zeros(int(length), dtype=torch.uint8)
        letters[: len(said)] = torch.from_numpy(said.copy())
        torch.distributed.broadcast(letters, 0)
        return letters.numpy().tobytes().decode()

    def alike(self, tensors: list[Tensor]) -> None:
        """Gives tensors the values that the first process has in them."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)


ALONE = World()


def detected() -> World:
    """The world that the environment tells of.

    Raises:
        TrainingError: Slurm does not say how many tasks run on a node.
    """
    if TorchElasticEnvironment.detect():
        return _world(TorchElasticEnvironment(), int(os.environ["LOCAL_WORLD_SIZE"]))
    # Without a step, as in a batch script, the tasks are what the job may start, not what was started.
    launched = "SLURM_STEP_ID" in os.environ and SLURMEnvironment.detect()
    if not launched or int(os.environ["SLURM_NTASKS"]) == 1:
        return ALONE
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        found, fix = f"{os.environ['SLURM_NTASKS']} tasks", "give srun --nodes and --ntasks-per-node, not --ntasks"
        raise TrainingError(Problem("configs/launchers: srun", found, "tasks a node", fix))
    return _world(SLURMEnvironment(auto_requeue=False), int(os.environ["SLURM_NTASKS_PER_NODE"]))


def _world(environment: ClusterEnvironment, local: int) -> World:
    size = environment.world_size()
    return World(environment.global_rank(), size, local, environment) if size > 1 else ALONE


def joined() -> World:
    """The world that the environment tells of, in touch with each other.

    Where there is a CUDA device each process of a node takes its own, and they speak through NCCL; on a CPU through
    gloo.
    """
    found = detected()
    if found.environment is None or torch.distributed.is_initialized():
        return found
    environment, cuda = found.environment, torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(environment.local_rank())
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    how: dict[str, Any] = {"rank": found.rank, "world_size": found.size, "timeout": PATIENCE}
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", **how)
    return found


def leave() -> None:
    """Ends the talk, where there was one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
