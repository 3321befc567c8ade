"""A small dataset with ground truth and patches, for the tests of patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shapely import box

from landcover_orch.config import Dataset
from landcover_orch.ground_truth import build as truth
from landcover_orch.legend import LandClass, Legend
from landcover_orch.patches import write
from landcover_orch.store.publish import Product
from landcover_orch.tiles.catalogue import tiles
from landcover_orch.tiles.tile import Tile
from tests.scenes import ORIGIN, write_geotiff, write_polygons

LEGEND = Legend(
    name="fields",
    classes=(LandClass(id=0, name="field", colour="#ffff00"), LandClass(id=1, name="wood", colour="#006600")),
    codes={"1": "field", "2": "wood"},
)
SHAPE = (90, 110)


@dataclass(frozen=True)
class Fields:
    """A dataset on disk and the folder its products go to."""

    dataset: Dataset
    home: Path

    @property
    def tiles(self) -> list[Tile]:
        """Its tiles, by name."""
        return tiles(self.dataset)

    def cut(self, index: int = 0) -> Product:
        """Patches of one tile, with its ground truth before."""
        tile = self.tiles[index]
        truth.build(self.dataset, LEGEND, tile, self.home)
        return write.build(self.dataset, LEGEND, tile, self.home)

    def changed(self, **changed: Any) -> Fields:
        """The same files under another configuration."""
        plain = {**self.dataset.model_dump(), **changed}
        return Fields(Dataset.model_validate(plain), self.home)


def write_fields(
    folder: Path, home: Path, names: tuple[str, ...] = ("a", "b"), apart: int = 500, **changed: Any
) -> Fields:
    """Tiles of SHAPE whose upper rows are field, the middle wood, and the last ten rows not labelled.

    Tiles lie `apart` metres from each other; the image (2 bands) is random under a seed.
    """
    rng = np.random.default_rng(5)
    for i, name in enumerate(names):
        x, y = ORIGIN[0] + i * apart, ORIGIN[1]
        write_geotiff(folder / f"{name}.tif", rng.integers(0, 255, (2, *SHAPE), dtype=np.uint8), origin=(x, y))
        shapes = [(box(x, y - 50, x + SHAPE[1], y), "1"), (box(x, y - 80, x + SHAPE[1], y - 50), "2")]
        write_polygons(folder / f"{name}.gpkg", shapes)
    plain = {
        "name": "fields",
        "root": str(folder),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
        "bands": ["red", "nir"],
        "legend": "fields",
        "labels": {"attribute": "code"},
        "patches": {"size": 16, "stride": 12, "shard": 16},
        "experiments": ["none"],
    }
    return Fields(Dataset.model_validate({**plain, **changed}), home)
