"""Pictures of rasters as arrays of red, green, blue (y, x, 3) uint8, and as PNG. No files are read or written."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from landcover_orch.legend import IGNORE

RGB = NDArray[np.uint8]
Palette = Mapping[int, tuple[int, int, int]]


def display(image: NDArray[Any], bands: Sequence[str]) -> RGB:
    """An orthophoto (band, y, x) as people expect it: red, green, blue, stretched from the 2nd to the 98th percentile.

    One stretch for all three, so that grey stays grey. The bands are found by name; without such names, the first
    three; of fewer bands, the first alone as grey.
    """
    chosen = image[_colour_bands(bands)]
    if chosen.dtype.kind == "f":
        chosen = np.where(np.isfinite(chosen), chosen, 0)
    low, high = np.percentile(chosen, (2, 98))
    scaled = (chosen - low) / max(high - low, 1e-9) * 255
    return np.moveaxis(scaled.clip(0, 255).astype(np.uint8), 0, -1)


def _colour_bands(bands: Sequence[str]) -> list[int]:
    names = [band.lower() for band in bands]
    for triple in (("red", "green", "blue"), ("r", "g", "b"), ("b04", "b03", "b02")):
        if all(name in names for name in triple):
            return [names.index(name) for name in triple]
    return [0, 1, 2] if len(names) >= 3 else [0, 0, 0]


def colourise(classes: NDArray[np.uint8], palette: Palette) -> RGB:
    """A class raster (y, x) in the legend's colours; ignored and unknown pixels are black."""
    table = np.zeros((256, 3), np.uint8)
    for value, rgb in palette.items():
        table[value] = rgb
    return table[classes]


def overlay(image: RGB, classes: NDArray[np.uint8], palette: Palette, opacity: float = 0.45) -> RGB:
    """The classes drawn over the picture; ignored pixels show the picture alone."""
    mixed = (1 - opacity) * image + opacity * colourise(classes, palette)
    return np.where((classes == IGNORE)[..., None], image, mixed).astype(np.uint8)


def interpreted(image: RGB, classes: NDArray[np.uint8]) -> RGB:
    """Labelled pixels in the orthophoto's colours, unlabelled ones black (as in the PNOA/SIOSE system)."""
    return np.where((classes == IGNORE)[..., None], 0, image).astype(np.uint8)


def errors(actual: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> RGB:
    """Where a map is right (light grey) and wrong (red); unlabelled pixels are black."""
    labelled, wrong = actual != IGNORE, actual != predicted
    picture = np.zeros((*actual.shape, 3), np.uint8)
    picture[labelled] = (225, 225, 225)
    picture[labelled & wrong] = (215, 25, 28)
    return picture


def hstack(pictures: Sequence[RGB], gap: int = 6) -> RGB:
    """Pictures of one height in a row, white between them."""
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, white)][:-1]
    return np.concatenate(parts, axis=1)


def shrink(picture: RGB, side: int) -> RGB:
    """The picture with its longer side reduced to at most `side` pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return np.asarray(image)


def png(picture: RGB, colours: int | None = None) -> bytes:
    """The picture as PNG; `colours` (at most 256) makes it smaller."""
    image = Image.fromarray(picture)
    if colours is not None:
        image = image.quantize(colours, Image.Quantize.FASTOCTREE)  # 80 times as fast as the default, and as good
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def small_png(picture: RGB, limit: int = 75_000) -> bytes:
    """A PNG of at most `limit` bytes: fewer colours first, then fewer pixels (Dagster takes 100 KB as base64)."""
    while True:
        data = png(picture, colours=128)
        if len(data) <= limit:
            return data
        scale = min(0.9, (limit / len(data)) ** 0.5)
        picture = shrink(picture, int(max(picture.shape[:2]) * scale))


def data_uri(data: bytes) -> str:
    """A PNG as data: address, for pages and markdown that stand alone."""
    return "data:image/png;base64," + base64.b64encode(data).decode()
