"""ISPRS_semantic_labeling_Vaihingen in small: TIFFs without any georeference, a sixteenth of the tiles' sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.datasets.isprs_scenes import colours, photograph, surface, town
from tests.scenes import write_plain_tiff

SIZES = {
    "1": (1919, 2569),
    "3": (2006, 3007),
    "5": (1887, 2557),
    "7": (1887, 2557),
    "11": (1893, 2566),
    "13": (2818, 2558),
    "15": (1919, 2565),
    "17": (2336, 1281),
    "21": (1903, 2546),
    "23": (1903, 2546),
    "26": (2995, 1783),
    "28": (1917, 2567),
    "30": (1934, 2563),
    "32": (1980, 2555),
    "34": (1388, 2555),
    "37": (1996, 1995),
}
"""Published sizes of the labelled tiles in pixels."""
UNLABELLED = {"2": (2428, 2767), "4": (1887, 2557)}
"""Sizes of two of the 17 tiles whose labels the contest kept back."""
SCALE = 16


GROUND = 270.0
"""Metres of the ground above the sea."""


def write(folder: Path) -> dict[str, np.ndarray]:
    """Writes top, dsm, ndsm and gts_for_participants; gives the classes (y, x) of each labelled tile."""
    rng, drawn = np.random.default_rng(0), {}
    for name, size in (SIZES | UNLABELLED).items():
        classes = town((size[0] // SCALE, size[1] // SCALE), rng)
        write_plain_tiff(
            folder / f"top/top_mosaic_09cm_area{name}.tif", photograph(classes, ("nir", "red", "green"), rng)
        )
        write_plain_tiff(folder / f"dsm/dsm_09cm_matching_area{name}.tif", surface(classes, ground=GROUND))
        above = (surface(classes, ground=0.0) * 10).astype(np.uint8)
        write_plain_tiff(folder / f"ndsm/ndsm_09cm_matching_area{name}.bmp", above, driver="BMP")
        if name in SIZES:
            write_plain_tiff(folder / f"gts_for_participants/top_mosaic_09cm_area{name}.tif", colours(classes))
            drawn[name] = classes
    return drawn
