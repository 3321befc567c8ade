"""Process group: the processes that train one model together, their ranks and collectives.

The launcher sets rank and size in variables that Lightning's environments read: torchrun's, else those of a Slurm job
step. Collectives exchange tensors; nothing is pickled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from landcover_orch.errors import Problem, TrainingError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

LAUNCHED_BY = ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID")
"""Environment variables of which torchrun or srun sets one in each process that it starts."""

PATIENCE = timedelta(days=1)
"""Timeout of collectives: another process may be fitting a forest; one that died is noticed by its connection."""


@dataclass(frozen=True)
class ProcessGroup:
    """Process group of a training; by default this process alone.

    Attributes:
        rank: which one this is, from 0; rank 0 alone writes, and talks to MLflow and Dagster.
        size: number of processes (torch's world size).
        local: how many of them run on this node.
        environment: Lightning's description of them.
    """

    rank: int = 0
    size: int = 1
    local: int = 1
    environment: ClusterEnvironment | None = field(default=None, compare=False)

    @classmethod
    def of(cls, environment: ClusterEnvironment, local: int) -> ProcessGroup:
        """The group that a launcher's environment describes, with `local` processes on this node."""
        size = environment.world_size()
        return cls(environment.global_rank(), size, local, environment) if size > 1 else SINGLE_PROCESS

    @property
    def is_main(self) -> bool:
        """Whether this process has rank 0, the one that writes."""
        return self.rank == 0

    def description(self) -> str:
        """The group in words, behind a line about the device: nothing of a single process."""
        return "" if self.size == 1 else f", by {self.size} processes, {self.local} a node, that share each batch"

    def local_batch(self, images: int) -> int:
        """Local batch size: images of a full batch that a process takes."""
        return -(-images // self.size)

    def rows(self, batch_size: int) -> slice:
        """The local batch as a slice of each batch; of a last, smaller one that may be nothing."""
        count = self.local_batch(batch_size)
        return slice(self.rank * count, (self.rank + 1) * count)

    def sum(self, values: Tensor) -> Tensor:
        """All-reduce: the sum over all processes, on each of them; `values` itself holds it then."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def all_gather(self, values: Tensor) -> list[Tensor]:
        """All-gather: the values of each process, in their order; all of one shape."""
        if self.size == 1:
            return [values]
        tensors = [torch.empty_like(values) for _ in range(self.size)]
        torch.distributed.all_gather(tensors, values)
        return tensors

    def all_gather_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """All-gather of rows (row, ...), of which each process may have another number, in the order of ranks."""
        counts = [int(count) for count in self.all_gather(torch.tensor([len(rows)]))]
        start = sum(counts[: self.rank])
        all_rows = torch.zeros((sum(counts), *rows.shape[1:]), dtype=torch.int64)
        all_rows[start : start + len(rows)] = torch.from_numpy(rows)
        return np.asarray(self.sum(all_rows).numpy())

    def broadcast_text(self, text: str = "") -> str:
        """Broadcast of a text: that of rank 0, on each process."""
        if self.size == 1:
            return text
        encoded = np.frombuffer(text.encode(), np.uint8) if self.is_main else np.empty(0, np.uint8)
        length = self.sum(torch.tensor([len(encoded)]))
        received = torch.zeros(int(length), dtype=torch.uint8)
        received[: len(encoded)] = torch.from_numpy(encoded.copy())
        torch.distributed.broadcast(received, 0)
        return received.numpy().tobytes().decode()

    def broadcast(self, tensors: list[Tensor]) -> None:
        """Broadcast: gives tensors the values that they have at rank 0."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)


SINGLE_PROCESS = ProcessGroup()


def detect() -> ProcessGroup:
    """The process group that the environment variables describe.

    Raises:
        TrainingError: Slurm does not say how many tasks run on a node.
    """
    if not any(variable in os.environ for variable in LAUNCHED_BY):
        return SINGLE_PROCESS
    # loads Lightning, three seconds of CPU time
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        return ProcessGroup.of(TorchElasticEnvironment(), int(os.environ["LOCAL_WORLD_SIZE"]))
    # Without a step, as in a batch script, the tasks are what the job may start, not what was started.
    launched = "SLURM_STEP_ID" in os.environ and SLURMEnvironment.detect()
    if not launched or int(os.environ["SLURM_NTASKS"]) == 1:
        return SINGLE_PROCESS
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        tasks, fix = f"{os.environ['SLURM_NTASKS']} tasks", "give srun --nodes and --ntasks-per-node, not --ntasks"
        raise TrainingError(Problem("configs/launchers: srun", tasks, "tasks a node", fix))
    return ProcessGroup.of(SLURMEnvironment(auto_requeue=False), int(os.environ["SLURM_NTASKS_PER_NODE"]))


def init_process_group() -> ProcessGroup:
    """Initialises the process group that the environment variables describe; once, later calls give the same.

    Where there is a CUDA device each process of a node takes its own, and the backend is NCCL; on a CPU it is gloo.
    """
    group = detect()
    if group.environment is None or torch.distributed.is_initialized():
        return group
    environment, cuda = group.environment, torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(environment.local_rank())
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    arguments: dict[str, Any] = {"rank": group.rank, "world_size": group.size, "timeout": PATIENCE}
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", **arguments)
    return group


def destroy() -> None:
    """Destroys the process group, where there is one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
