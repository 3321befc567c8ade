"""The Sentinel-2 challenge's archive in small: TIFFs without any georeference, numbered, test images without masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.scenes import write_plain_tiff

SIDE = 32
"""Pixels of an image; 256 in the real data."""
FIRST = 10_000
"""The first number of all; test images lie among the others, as in the archive."""
TRAINED, TESTED = 24, 4
"""Pictures with and without a mask; 18,491 and 5,043 in the real data."""
MEAN = np.array([300, 500, 600, 500, 400, 350, 550, 700, 3000, 250])
"""Brightness of the classes in the visible bands; the fourth band is brighter over plants."""
NIR = np.array([0, 900, 1500, 2700, 3200, 2300, 3000, 1200, 2500, 200])


def write(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Writes train/images, train/masks and test/images; gives the mask (y, x) of each train image."""
    rng, masks = np.random.default_rng(0), {}
    tested = {FIRST + 1 + 5 * i for i in range(TESTED)}
    for number in range(FIRST, FIRST + TRAINED + TESTED):
        mask, name = _mask(rng), f"{number}.tif"
        side = "test" if number in tested else "train"
        write_plain_tiff(folder / side / "images" / name, _image(mask, rng), photometric="minisblack")
        if side == "train":
            write_plain_tiff(folder / "train/masks" / name, mask)
            masks[str(number)] = mask
    return masks


def _mask(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Fields of classes 2 to 9, snow and clouds rarely, no_data never: as in the challenge."""
    shares = np.array([0, 0.02, 0.08, 0.3, 0.2, 0.1, 0.2, 0.04, 0.01, 0.05])
    fields = rng.choice(10, (4, 4), p=shares)
    return np.kron(fields, np.ones((SIDE // 4, SIDE // 4))).astype(np.uint8)


def _image(mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint16]:
    visible = np.stack([MEAN[mask]] * 3)
    values = np.concatenate([visible, NIR[mask][None]])
    return np.asarray((values + rng.normal(0, 60, values.shape)).clip(1, 24_356), np.uint16)
