"""A dataset of a few tiny tiles, for tests of the lineage: two classes that differ in colour, quick to train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from shapely.geometry import box

from landcover_orch import config
from landcover_orch.config import Dataset
from tests.scenes import ORIGIN, write_geotiff, write_polygons

NAME, EXPERIMENT, SIDE = "tiny", "quick", 64
LEGEND = {
    "name": NAME,
    "classes": [{"id": 0, "name": "field", "colour": "#e6c229"}, {"id": 1, "name": "water", "colour": "#2166ac"}],
    "codes": {"10": "field", "20": "water"},
    "burn_order": ["10", "20"],
}
RECIPE = {
    "name": EXPERIMENT,
    "model": {"name": "unet", "width": 4, "levels": 2},
    "optimiser": {"name": "adam", "lr": 0.01},
    "epochs": 2,
    "batch_size": 4,
    "precision": "float32",
    "prediction": {"window": 32, "stride": 24},
}


def write(configs: Path, raw: Path, tiles: int = 3, **settings: Any) -> Dataset:
    """Writes the dataset's files below `raw` and its configuration below `configs`; the last tile is test."""
    names = [f"t{i}" for i in range(tiles)]
    for i, name in enumerate(names):
        write_tile(raw, name, column=i)
    described = {
        "name": NAME,
        "root": str(raw),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg", **settings.pop("tiles_settings", {})},
        "bands": ["red", "green", "blue"],
        "legend": NAME,
        "labels": {"attribute": "code"},
        "splits": {"validation": {"tiles": names[-2:-1]}, "test": {"tiles": names[-1:]}},
        "patches": {"size": 32, "stride": 32},
        "experiments": [EXPERIMENT],
        "baselines": [],
        **settings,
    }
    for kind, content in (("datasets", described), ("legends", LEGEND), ("experiments", RECIPE)):
        save(configs, kind, content)
    return config.load_dataset(NAME)


def save(configs: Path, kind: str, content: dict[str, object]) -> None:
    """Writes one configuration file."""
    (configs / kind / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))


def write_tile(raw: Path, name: str, column: int, *, lake: float = 0.4) -> None:
    """One tile: bright field, dark lake over `lake` of its width, both noisy; tiles lie side by side."""
    noise = np.random.default_rng(column).normal(0, 12, (3, SIDE, SIDE))
    base = np.full((3, SIDE, SIDE), 150.0)
    edge = int(SIDE * lake)
    base[:, :, :edge] = 60
    x, y = ORIGIN[0] + column * SIDE, ORIGIN[1]
    raw.mkdir(parents=True, exist_ok=True)
    write_geotiff(raw / f"{name}.tif", (base + noise).clip(0, 255).astype(np.uint8), origin=(x, y))
    (raw / f"{name}.gpkg").unlink(missing_ok=True)
    field, water = box(x, y - SIDE, x + SIDE, y), box(x, y - SIDE, x + edge, y)
    write_polygons(raw / f"{name}.gpkg", [(field, "10"), (water, "20")])
