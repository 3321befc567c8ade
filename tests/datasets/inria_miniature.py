"""AerialImageDataset in small: GeoTIFF images of three bands and masks of 0 and 255, five cities, each its own CRS."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.scenes import write_geotiff

CITIES = {
    "austin": ("EPSG:26914", (616_500.0, 3_345_000.0)),
    "chicago": ("EPSG:26916", (437_500.0, 4_633_500.0)),
    "kitsap": ("EPSG:26910", (507_500.0, 5_258_500.0)),
    "tyrol-w": ("EPSG:31254", (75_600.0, 236_000.0)),
    "vienna": ("EPSG:31256", (2_500.0, 341_000.0)),
}
SIDE = 80
"""Pixels of a tile; 5000 in the real data."""
ROOF = (20, 36)
"""Height and width of the building that each tile has, in pixels."""


LABELLED, UNLABELLED = 6, 2
"""Tiles of each city with a mask, and tiles without one; 36 and 180 in the real data."""


def write(folder: Path) -> None:
    """Writes train/images, train/gt and test/images."""
    rng = np.random.default_rng(0)
    for city, (crs, origin) in CITIES.items():
        for i in range(LABELLED):
            image, mask = _tile(rng)
            place = (origin[0] + i * SIDE * 0.3, origin[1])
            for part, data in (("images", image), ("gt", mask)):
                write_geotiff(folder / f"train/{part}/{city}{i + 1}.tif", data, crs=crs, origin=place, resolution=0.3)
    for i in range(UNLABELLED):
        place = (320_000.0 + i * SIDE * 0.3, 4_730_000.0)
        path = folder / f"test/images/bellingham{i + 1}.tif"
        write_geotiff(path, _tile(rng)[0], crs="EPSG:26910", origin=place, resolution=0.3)


def _tile(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    row, col = rng.integers(0, SIDE - np.array(ROOF))
    mask[row : row + ROOF[0], col : col + ROOF[1]] = 255
    image = np.where(mask[None] > 0, 170, 80) + rng.integers(0, 40, (3, SIDE, SIDE))
    return image.astype(np.uint8), mask
