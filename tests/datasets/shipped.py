"""A shipped dataset on a miniature of its files: from the raw checks to the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from landcover_orch import config
from landcover_orch.checks import dataset as checks
from landcover_orch.config import Dataset
from landcover_orch.ground_truth import build as truth
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import manifest, write
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.publish import Product, current
from landcover_orch.tiles import catalogue


def with_patches(dataset: Dataset, **changed: Any) -> Dataset:
    """The dataset with other settings of its patches."""
    return dataset.model_copy(update={"patches": dataset.patches.model_copy(update=changed)})


def prepared(dataset: Dataset, home: Path) -> Product:
    """The manifest of a dataset as a product, after every raw check passed and every tile was cut."""
    legend, tiles = config.load_legend(dataset.legend), catalogue.tiles(dataset)
    findings = checks.check(dataset, legend, tiles, deep=True)
    assert findings.problems == (), findings.problems
    for tile in tiles:
        truth.build(dataset, legend, tile, home)
        write.build(dataset, legend, tile, home)
    return manifests.build(dataset, legend, tiles, home)


def described(dataset: Dataset, home: Path) -> DatasetManifest:
    """The manifest of a dataset; see `prepared`."""
    return manifest.load(prepared(dataset, home).path)


def codes(dataset: Dataset, tile: str, home: Path) -> dict[str, int]:
    """Pixels of each source code of a tile, as its ground truth counted them."""
    rows = current(home / dataset.name / "ground_truth", tile).json("summary.json")["codes"]
    return {row["code"]: row["pixels"] for row in rows}
