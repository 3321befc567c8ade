"""Images a second of training, with each cache: reading, reading + varying, the step; and the step on resident data.

The machine's own limit is the step alone: forward, backward and update on batches that already lie on the device.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from landcover_orch.config.experiments import Experiment
from landcover_orch.models.networks import Normalised, build
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.training import device, optimisation, sampling
from landcover_orch.training.cache import open_source
from landcover_orch.training.distributed.process import keep_memory
from landcover_orch.training.fit import Task, step
from landcover_orch.training.loader import Batch, Batches
from landcover_orch.training.throughput import augmented, rate
from tests.benchmarks import bench_loading

SIZE, BATCH = 128, 16
SECONDS, ROUNDS = 4.0, 3
STEPS = 10**6 // BATCH
MODES = ("none", "disk", "memory")


def main(shape: tuple[int, int] = (4096, 4096)) -> dict[str, Any]:
    """Prints and gives the table; each figure is that of the best of several rounds in turn."""
    keep_memory()  # as the training process does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = bench_loading.build(folder, shape, ("zstd",), SIZE)["zstd"]
        tasks = {mode: _task(described, folder / "zstd", mode) for mode in MODES}
        task = tasks["none"]
        cuda = "used" if task.device.kind == "cuda" else "not used"
        print(f"{task.device} (CUDA {cuda}); U-Net of width 64, {len(task.bands.mean)} x {SIZE} px, batches of {BATCH}")
        return _say(_measured(tasks))


def _task(described: DatasetManifest, home: Path, mode: str) -> Task:
    experiment = Experiment.model_validate(
        {"name": "bench", "model": {"name": "unet", "width": 64, "levels": 3}, "batch_size": BATCH, "cache": mode}
    )
    source = open_source(described, home, "train", experiment)
    names = described.legend.names
    ones = (1,) * len(names)
    return Task(experiment, source, source, names, bench_loading.BANDS, ones, device.choose(experiment))


class _Step:
    """Forward, backward and update."""

    def __init__(self, task: Task) -> None:
        bands, classes = len(task.bands.mean), len(task.classes)
        network = build(task.experiment.model, bands, classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model = Normalised(network, task.bands.mean.tolist(), task.bands.std.tolist()).to(task.device.kind)
        self.step = step(task, model, print)
        self.optimiser = optimisation.build_optimiser(task.experiment.optimiser, model, lr=1e-3)

    def on(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, after a step on each."""
        for batch in batches:
            self.step.update(batch, self.optimiser, seed=0)
            yield batch


def _measured(tasks: dict[str, Task]) -> dict[str, float]:
    work = _Step(tasks["none"])
    resident = next(augmented(tasks["none"]))
    found: dict[str, float] = {}

    def keep(name: str, batches: Iterator[Batch]) -> None:
        found[name] = max(found.get(name, 0.0), rate(batches, SECONDS))

    rate(work.on(itertools.repeat(resident, 3)))
    for _ in range(ROUNDS):
        for mode, task in tasks.items():
            keep(f"{mode}, read", iter(Batches(task.train, sampling.order(task.train, task.experiment, 0, STEPS))))
            keep(f"{mode}, read + augment", augmented(task, STEPS))
            keep(f"{mode}, step", work.on(augmented(task, STEPS)))
        keep("step on resident data", work.on(itertools.repeat(resident)))
    return found


def _say(found: dict[str, float]) -> dict[str, float]:
    print(f"  {'cache':8s}{'read':>12s}{'read + augment':>18s}{'step':>12s}   images/s")
    for mode in MODES:
        read, varied, whole = (found[f"{mode}, {part}"] for part in ("read", "read + augment", "step"))
        print(f"  {mode:8s}{read:12,.0f}{varied:18,.0f}{whole:12,.1f}")
    resident = found["step on resident data"]
    print(f"  {'on resident data':38s}{resident:12,.1f}")
    found["stored : resident"] = found["none, step"] / resident
    print(f"  {'stored (no cache) : resident':38s}{found['stored : resident']:12.2f}")
    return found


if __name__ == "__main__":
    main()
