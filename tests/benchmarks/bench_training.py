"""Images a second of training: reading, reading + varying, the step on stored data, against the step on resident data.

The machine's own limit is the step alone: forward, backward and update on batches that already lie on the device.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from landcover_orch.experiment import Experiment
from landcover_orch.model.networks import Normalised, build
from landcover_orch.training import device, optimisers
from landcover_orch.training.augmentation import Bands
from landcover_orch.training.fit import Task, host_variation, step, varied
from landcover_orch.training.loader import Arrays, Batch, Batches, shuffled

COUNT, BANDS, CLASSES, SIZE, BATCH = 1024, 4, 5, 128, 16
SECONDS = 8.0


class Stored:
    """Patches of a sharded Zarr store with the layout of this project, read with tensorstore."""

    def __init__(self, folder: Path) -> None:
        import tensorstore

        self._arrays = [
            tensorstore.open({"driver": "zarr3", "kvstore": f"file://{folder / name}/"}, open=True).result()
            for name in ("image", "label")
        ]

    def __len__(self) -> int:
        return COUNT

    def take(self, indices: NDArray[np.int64]) -> Arrays:
        """Images and labels."""
        image, label = [array[indices].read() for array in self._arrays]
        return image.result(), label.result()


def _store(folder: Path) -> Stored:
    random = np.random.default_rng(0)
    smooth = np.cumsum(random.integers(-3, 4, (COUNT, BANDS, SIZE, SIZE)), axis=-1)
    image = (smooth % 256).astype(np.uint8)
    label = (image[:, 0] // 52).astype(np.uint8)
    for name, data in (("image", image), ("label", label)):
        array = zarr.create_array(
            folder / name,
            shape=data.shape,
            dtype=data.dtype,
            chunks=(1, *data.shape[1:]),
            shards=(128, *data.shape[1:]),
        )
        array[:] = data
    return Stored(folder)


def _task(source: Stored, experiment: Experiment) -> Task:
    bands = Bands(*(np.full(BANDS, value, np.float32) for value in (128, 74, 0, 255)))
    names = tuple(str(i) for i in range(CLASSES))
    return Task(experiment, source, source, names, bands, (1,) * CLASSES, device.choose(experiment))


def _rate(work: Callable[[Any], int], items: Any, wait: Callable[[], None]) -> float:
    began, images = time.perf_counter(), 0
    for item in items:
        images += work(item)
        if time.perf_counter() - began > SECONDS:
            break
    wait()
    return images / (time.perf_counter() - began)


class _Step:
    """Forward, backward and update of one batch."""

    def __init__(self, task: Task) -> None:
        self.task = task
        network = build(task.experiment.model, BANDS, CLASSES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model = Normalised(network, task.bands.mean.tolist(), task.bands.std.tolist()).to(task.device.kind)
        self.step = step(task, model, print)
        self.optimiser = optimisers.build(task.experiment.optimiser, model, lr=1e-3)

    def __call__(self, batch: Batch) -> int:
        moved = batch._replace(
            **{name: getattr(batch, name).to(self.task.device.kind, non_blocking=True) for name in ("image", "label")}
        )
        resident = moved.image is batch.image
        self.step.update(moved if resident else varied(self.task, moved, 0), self.optimiser, seed=0)
        return len(moved.image)


def main() -> None:
    """Prints the table."""
    experiment = Experiment.model_validate(
        {"name": "bench", "model": {"name": "unet", "width": 64, "levels": 3}, "batch_size": BATCH}
    )
    with tempfile.TemporaryDirectory() as folder:
        task = _task(_store(Path(folder)), experiment)
        cuda = task.device.kind == "cuda"
        wait = torch.cuda.synchronize if cuda else lambda: None
        print(f"{task.device} (CUDA {'used' if cuda else 'not used'}); U-Net of width 64, {BANDS} x {SIZE} px")
        steps = shuffled(COUNT, BATCH, 100_000 // BATCH, 0, 0)
        vary = host_variation(task, 0)
        plain, varied = Batches(task.train, steps, pinned=cuda), Batches(task.train, steps, vary)
        work = _Step(task)
        resident = plain.read(0)
        resident = Batch(resident.image.to(task.device.kind), resident.label.to(task.device.kind), 0)
        for _ in range(3):
            work(resident)
        rates = {
            "read": _rate(lambda batch: len(batch.image), plain, wait),
            "read + augment (CPU)": _rate(lambda batch: len(batch.image), varied, wait),
            "step on stored data": _rate(work, plain if cuda else varied, wait),
            "step on resident data": _rate(lambda _: work(resident), steps, wait),
        }
    for name, rate in rates.items():
        print(f"  {name:24s} {rate:9.0f} images/s   {1000 * BATCH / rate:8.2f} ms a batch of {BATCH}")
    print(f"  stored : resident        {rates['step on stored data'] / rates['step on resident data']:9.2f}")


if __name__ == "__main__":
    main()
