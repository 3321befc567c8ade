"""Training device and precision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from landcover_orch.config import file_label
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import Problem, TrainingError, pluralise


@dataclass(frozen=True)
class Device:
    """Device of a training, and whether convolutions run in bfloat16."""

    kind: Literal["cpu", "cuda"]
    bfloat16: bool
    name: str

    def __str__(self) -> str:
        precision = "bfloat16 with float32 weights" if self.bfloat16 else "float32"
        threads = f", {pluralise(torch.get_num_threads(), 'thread')}" if self.kind == "cpu" else ""
        return f"training on {self.name}{threads}, in {precision}"


def choose(experiment: Experiment) -> Device:
    """The device and arithmetic an experiment asks for; `auto` takes a CUDA device and bfloat16 where they exist.

    Raises:
        TrainingError: the experiment insists on CUDA and there is none.
    """
    cuda = torch.cuda.is_available()
    if experiment.device == "cuda" and not cuda:
        raise TrainingError(
            Problem(
                f"{file_label('experiments', experiment.name)}: device",
                "cuda, but torch sees no CUDA device",
                "a device that is there",
                "set `device: auto`, or install the driver and torch's CUDA build",
            )
        )
    kind: Literal["cpu", "cuda"] = "cuda" if cuda and experiment.device != "cpu" else "cpu"
    capable = torch.cuda.is_bf16_supported() if kind == "cuda" else cpu_has_bfloat16()
    bfloat16 = experiment.precision == "bfloat16" or (experiment.precision == "auto" and capable)
    return Device(kind, bfloat16, torch.cuda.get_device_name() if kind == "cuda" else "the CPU")


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself; emulated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16"))
