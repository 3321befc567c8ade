"""A tiny dataset that tests train on: its manifest as a product, and patches that live in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from landcover_orch.config import Dataset
from landcover_orch.config.experiments import Experiment, models
from landcover_orch.legend import LandClass, Legend
from landcover_orch.patches.manifest import FILE, BandStatistics, DatasetManifest, TileEntry
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe, Stage

NAME = "classroom"
SIZE = 16
CLASSES = ("dark", "middle", "bright")


class Memory:
    """Patches in memory."""

    def __init__(self, image: NDArray[Any], label: NDArray[np.uint8]) -> None:
        self.image, self.label = image, label

    def __len__(self) -> int:
        return len(self.image)

    def take(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Images and labels."""
        return self.image[indices], self.label[indices]

    def class_count(self) -> NDArray[np.int64]:
        """Labelled pixels (patch, class)."""
        return np.stack([(self.label == c).sum(axis=(1, 2)) for c in range(len(CLASSES))], axis=1)


def patches(count: int, seed: int = 0, dtype: str = "uint8") -> Memory:
    """Blobs of three brightnesses with noise; a tenth of the pixels is not labelled."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, (count, SIZE // 4, SIZE // 4), np.uint8).repeat(4, 1).repeat(4, 2)
    image = label[:, None] * 80 + random.integers(0, 40, (count, 2, SIZE, SIZE))
    label[random.random(label.shape) < 0.1] = 255
    return Memory(image.astype(dtype), label)


def manifest(**changed: Any) -> DatasetManifest:
    """The manifest that goes with `patches`."""
    dataset = Dataset.model_validate(
        {
            "name": NAME,
            "root": "/nowhere",
            "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
            "bands": ["red", "nir"],
            "legend": NAME,
            "patches": {"size": SIZE, "stride": SIZE},
            "experiments": ["quick"],
        }
    )
    colours = ("#000000", "#808080", "#ffffff")
    classes = tuple(LandClass(id=i, name=name, colour=colours[i]) for i, name in enumerate(CLASSES))
    tile = TileEntry(
        name="only",
        image="only.tif",
        stored_dtype=None,
        year=None,
        label_year=None,
        image_fingerprint="i",
        label_fingerprint="l",
        ground_truth="g",
        ground_truth_fingerprint="g",
        patches="p",
        patches_fingerprint="p",
        shape=(64, 64),
        transform=(2.0, 0.0, 0.0, 0.0, -2.0, 0.0),
        crs=None,
        counts={"train": 1, "validation": 1, "test": 1},
        class_pixels=dict.fromkeys(("train", "validation", "test"), (5, 3, 2)),
    )
    band = {"minimum": 0, "maximum": 200, "mean": 100, "std": 66, "percentiles": {}}
    return DatasetManifest(
        dataset=dataset,
        legend=Legend(name=NAME, classes=classes, codes={"1": "dark"}),
        tiles=(tile,),
        bands=tuple(BandStatistics.model_validate({**band, "name": name}) for name in dataset.bands),
        class_weights=(0.5, 1.0, 1.5),
    ).model_copy(update=changed)


def published(home: Path, described: DatasetManifest | None = None) -> Product:
    """The manifest as a product below `home`."""
    described = described or manifest()

    def build(stage: Stage) -> None:
        (stage.path / FILE).write_text(described.model_dump_json())

    recipe = Recipe("dataset_manifest", 1, {}, {"digest": described.digest})
    return publish.publish(home / NAME / "dataset_manifest", "dataset", recipe, build)


def experiment(**changed: Any) -> Experiment:
    """A recipe that learns `patches` in a second."""
    plain = {"name": "quick", "model": models.UNet(width=8, levels=1), "epochs": 3, "batch_size": 8}
    return Experiment.model_validate({**plain, "device": "cpu", "optimiser": {"name": "adam", "lr": 0.01}, **changed})


@contextmanager
def in_memory(train: int = 24, validation: int = 8) -> Iterator[None]:
    """`open_split` gives patches in memory."""
    import sys
    import types

    sources = {"train": patches(train, seed=1), "validation": patches(validation, seed=2)}
    stand_in = types.ModuleType("landcover_orch.patches.read")
    stand_in.open_split = lambda manifest, home, split: sources[split]  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, stand_in.__name__, stand_in)
        yield
