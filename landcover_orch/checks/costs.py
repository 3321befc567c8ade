"""Cost estimate: rough CPU time and disk of a dataset, from its pixels and patches and the rates of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from landcover_orch.checks.training_data import TrainingData
from landcover_orch.config import Dataset, experiments_of, load_experiment
from landcover_orch.config.experiments import Classical, Experiment
from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.store.costs import format_duration as duration

PREPARED, CUT, LEARNT_PIXELS, MAPPED = 8.5e6, 36.7e6, 1.0e6, 0.5e6
"""Pixels a CPU-second: ground truth and label quality, patches, training and mapping by a small U-Net."""

CLASSICAL_S = 20.0
"""CPU seconds in which a model without deep learning is trained on its sample of pixels."""

COMPRESSED = 0.88
"""Size of a patch store of photographs against its pixels."""

MAPS = 2.0
"""Bytes a pixel of class rasters and maps: ground truth, class and confidence, compressed."""


def cost_lines(dataset: Dataset, data: TrainingData) -> Iterator[str]:
    """Rough CPU time and disk, a line each; the network's own size is not known here, so a small one is assumed."""
    area = dataset.patches.size**2
    patches = sum(data.patches[split] for split in ("train", "validation", "test")) * area
    prepared = data.size / PREPARED + patches / CUT
    experiments = [load_experiment(name) for name in experiments_of(dataset)]
    tiles = data.labelled_tiles
    trained = {e.name: training_seconds(e, data.patches, area, tiles) for e in experiments}
    mapped = data.size / MAPPED
    each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in trained.items() if seconds)
    yield f"CPU time, roughly: {duration(prepared)} to prepare, {duration(sum(trained.values()))} to train ({each}),"
    yield f"  {duration(mapped)} for a map of all; small U-Nets are assumed: one of width 64 takes 10 times as long"
    pixel_bytes = len(dataset.bands) * np.dtype(dataset.dtype).itemsize + 1
    compressed = COMPRESSED if dataset.patches.compression == "zstd" else 1.0
    disk = patches * pixel_bytes * compressed + MAPS * data.size * (1 + len(experiments))
    size = f"{disk / 2**30:,.0f} GiB" if disk > 2 * 2**30 else f"{max(disk / 2**20, 1):,.0f} MiB"
    yield f"Disk, roughly: {size} below LANDCOVER_HOME at most"


def training_seconds(experiment: Experiment, patches: dict[str, int], area: int, tiles: int) -> float:
    """CPU seconds of a training: its steps and validations, as by a small U-Net; 0 where nothing is learnt."""
    folds = experiment.protocol.folds
    repeats = max(1, len(experiment.protocol.seeds)) * (folds.number(tiles) if folds else 1)
    if isinstance(experiment.model, Ensemble):
        return 0.0
    if isinstance(experiment.model, Classical):
        return CLASSICAL_S * repeats
    steps = experiment.steps_per_epoch or -(-patches["train"] // experiment.batch_size)
    epoch = steps * experiment.batch_size * area / LEARNT_PIXELS + patches["validation"] * area / (3 * LEARNT_PIXELS)
    return repeats * experiment.epochs * epoch
