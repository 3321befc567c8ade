"""Training checkpoint: everything that an interrupted training needs to resume with the same bits."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from landcover_orch.errors import pluralise
from landcover_orch.training.history import Row

FILE = "checkpoint.pt"


@dataclass
class Checkpoint:
    """State after an epoch; `micro_batches` is how many a batch passes in.

    No random state and no schedule is among it: order, augmentation, dropout and rate follow from (seed, epoch, step).
    """

    network: dict[str, Any]
    optimiser: dict[str, Any]
    best: dict[str, Any]
    history: list[Row]
    seconds: list[float]
    threads: int
    micro_batches: int

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history)

    @property
    def resume_message(self) -> str:
        """A line of the log: after which epoch the training resumes, and whether last bits may differ."""
        line, threads = f"going on after epoch {self.epochs}", torch.get_num_threads()
        if self.threads != threads:
            line += f" (begun with {pluralise(self.threads, 'thread')}, now {threads}: last bits may differ)"
        return line


def save(folder: Path, state: Checkpoint) -> None:
    """Writes the checkpoint atomically: a kill leaves the old one or the new one."""
    partial = folder / f"{FILE}.new"
    with partial.open("wb") as file:
        torch.save({**vars(state), "history": [asdict(row) for row in state.history]}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE)


def load(folder: Path) -> Checkpoint | None:
    """The checkpoint of an interrupted training, on the CPU; None where there is none."""
    path = folder / FILE
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return Checkpoint(**{**state, "history": [Row(**row) for row in state["history"]]})
