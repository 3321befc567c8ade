"""The Potsdam delivery in small: orthophotos with a CRS, labels without, heights under names of their own.

As delivered, one label tile was re-encoded with loss, in another most cars are off their colour, the normalised heights
are JPEG files without a place, and tile 3_13 lacks the last column of its heights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.datasets.isprs_scenes import colours, photograph, surface, town
from tests.scenes import write_geotiff, write_plain_tiff

COLUMNS = {
    2: range(10, 15),
    3: range(10, 15),
    4: range(10, 16),
    5: range(10, 16),
    6: range(7, 16),
    7: range(7, 14),
}
"""Row of tiles -> its columns: 38 in all."""
LOSSY, CARS, SHORT = "4_12", "6_7", "3_13"
SIDE, RESOLUTION, CRS = 80, 0.05, "EPSG:32633"
ORIGIN = (366_000.0, 5_809_000.0)
GROUND = 35.0
"""Metres of the ground above the sea."""
BANDS: dict[str, tuple[str, ...]] = {
    "2_Ortho_RGB": ("red", "green", "blue"),
    "3_Ortho_IRRG": ("nir", "red", "green"),
    "4_Ortho_RGBIR": ("red", "green", "blue", "nir"),
}


def tiles() -> list[str]:
    """Names of all tiles."""
    return [f"{row}_{col}" for row, cols in COLUMNS.items() for col in cols]


def write(folder: Path, *parts: str, names: Sequence[str], heights: bool = False) -> dict[str, NDArray[np.uint8]]:
    """Writes folders of orthophotos, the labels, and the heights if wanted; gives the classes (y, x) of each tile."""
    rng, drawn = np.random.default_rng(0), {}
    for name in names:
        row, col = map(int, name.split("_"))
        drawn[name] = town((SIDE, SIDE), rng)
        corner = (ORIGIN[0] + col * SIDE * RESOLUTION, ORIGIN[1] - row * SIDE * RESOLUTION)
        for part in parts:
            path = folder / part / f"top_potsdam_{name}_{part.split('_')[-1]}.tif"
            data = photograph(drawn[name], BANDS[part], rng)
            # the fourth band is no transparency: GDAL would tag it so
            write_geotiff(path, data, crs=CRS, origin=corner, resolution=RESOLUTION, photometric="rgb", alpha="no")
        write_plain_tiff(folder / f"5_Labels_all/top_potsdam_{name}_label.tif", _labels(name, drawn[name], rng))
        if heights:
            _write_heights(folder, f"{row:02}_{col:02}", drawn[name][:, : SIDE - (name == SHORT)], corner)
    return drawn


def _labels(name: str, classes: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    found = colours(classes)
    if name == LOSSY:
        noise = rng.integers(0, 80, found.shape)
        return np.where(found > 0, 255 - noise, noise).astype(np.uint8)
    if name == CARS:
        found[0][classes == 4] = 252
    return found


def _write_heights(folder: Path, name: str, classes: NDArray[np.uint8], corner: tuple[float, float]) -> None:
    dsm = folder / f"1_DSM/dsm_potsdam_{name}.tif"
    write_geotiff(dsm, surface(classes, ground=GROUND), crs=CRS, origin=corner, resolution=RESOLUTION)
    above = (surface(classes, ground=0.0) * 10).astype(np.uint8)  # decimetres
    jpeg = folder / f"1_DSM_normalisation/dsm_potsdam_{name}_normalized_lastools.jpg"
    write_plain_tiff(jpeg, above, driver="JPEG", quality=95)
