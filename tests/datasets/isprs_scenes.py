"""Town as the ISPRS contest labels it, drawn: six classes in their colours, and pixels and heights that tell them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = np.array([(255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)], np.uint8)
"""Of impervious surfaces, building, low vegetation, tree, car and clutter, as the contest publishes them."""
LOOKS = {
    "red": (130, 170, 70, 50, 200, 90),
    "green": (130, 90, 100, 70, 60, 80),
    "blue": (130, 80, 70, 60, 90, 70),
    "nir": (90, 80, 170, 210, 70, 60),
}
"""Brightness of the classes in each band."""
HEIGHTS = (0.0, 9.0, 0.0, 6.0, 1.5, 0.5)
"""Metres above the ground of each class."""


def town(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Class ids (y, x): lawns, a street, and houses, trees, cars and rubbish on them."""
    height, width = shape
    classes = np.full(shape, 2, np.uint8)
    classes[height // 3 : height // 3 + height // 5] = 0
    for kind, part, times in ((1, 5, 4), (3, 8, 6), (4, 16, 5), (5, 16, 1)):
        for _ in range(times):
            row, col = rng.integers(0, height - height // part), rng.integers(0, width - width // part)
            classes[row : row + height // part, col : col + width // part] = kind
    return classes


def colours(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The classes as a label raster (band, y, x) of red, green and blue."""
    return np.moveaxis(COLOURS[classes], -1, 0)


def photograph(classes: NDArray[np.uint8], bands: tuple[str, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noisy pixels (band, y, x) of those bands."""
    base = np.stack([np.array(LOOKS[band])[classes] for band in bands])
    return np.asarray((base + rng.normal(0, 8, base.shape)).clip(0, 255), np.uint8)


def surface(classes: NDArray[np.uint8], ground: float) -> NDArray[Any]:
    """Heights (y, x) in metres, float32, of the surface on level ground."""
    return np.asarray(ground + np.array(HEIGHTS)[classes], np.float32)
