"""Coverage check of a map: gaps against its orthophoto, counted from both files, not from the prediction's summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landcover_orch import raster
from landcover_orch.grid import blocks
from landcover_orch.legend import IGNORE
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.tiles import imagery

ROWS = 512


def gaps(manifest: DatasetManifest, entry: TileEntry, classes: Path) -> tuple[int, int]:
    """Pixels of a tile that hold data but have no class, and pixels that have a class but hold no data."""
    dataset = manifest.dataset
    image, mapped = imagery.inspect(dataset, entry.images), raster.inspect(classes)
    missing = extra = 0
    with (
        raster.reader(image, dataset.dtype, dataset.nodata) as pixels,
        raster.reader(mapped, nodata="none") as decided,
    ):
        for window in blocks(image.shape, ROWS, image.shape[1]):
            valid, known = pixels.valid(window), decided.read(window)[0] != IGNORE
            missing += int(np.count_nonzero(valid & ~known))
            extra += int(np.count_nonzero(known & ~valid))
    return missing, extra
