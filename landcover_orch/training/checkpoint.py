"""Where a training is: everything that an interrupted one needs to go on as if nothing had happened."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from landcover_orch.training.history import Row

FILE = "checkpoint.pt"


@dataclass
class Checkpoint:
    """State after an epoch; `parts` is how many a batch passes in.

    No random state and no schedule is among it: order, variation, dropout and rate follow from (seed, epoch, step).
    """

    network: dict[str, Any]
    optimiser: dict[str, Any]
    best: dict[str, Any]
    history: list[Row]
    seconds: list[float]
    threads: int
    parts: int

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history)


def save(folder: Path, state: Checkpoint) -> None:
    """Writes the checkpoint in one step: a kill leaves the old one or the new one."""
    fresh = folder / f"{FILE}.new"
    with fresh.open("wb") as file:
        torch.save({**vars(state), "history": [asdict(row) for row in state.history]}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / FILE)


def load(folder: Path) -> Checkpoint | None:
    """The checkpoint of an interrupted training, on the CPU; None where there is none."""
    path = folder / FILE
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return Checkpoint(**{**state, "history": [Row(**row) for row in state["history"]]})
