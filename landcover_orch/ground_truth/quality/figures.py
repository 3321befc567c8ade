"""Pictures of the label doctor: label borders over the image, the correlation, holes, overlaps and slivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image

from landcover_orch import raster
from landcover_orch.ground_truth.quality.shift import REACH, Shift
from landcover_orch.ground_truth.quality.topology import Topology
from landcover_orch.pages import picture
from landcover_orch.pages.picture import RGB

WHOLE = 480
"""Longer side of the picture of a whole tile, in pixels."""

CROP = 240
"""Side of the ground that is shown at full size, in pixels, and twice that on the page."""

BORDER, HOLE, OVERLAP, SLIVER = (255, 214, 0), (255, 0, 200), (255, 60, 30), (0, 225, 255)


@dataclass(frozen=True)
class Close:
    """Ground at full size: the image, and where label borders lie (y, x)."""

    image: RGB
    borders: NDArray[np.bool_]


@dataclass(frozen=True)
class Pictures:
    """A tile with its faults, a close look at its borders as they are and as advised, and the correlation.

    `borders` holds one or two pictures in a row, `surface` the correlation; None where there is nothing to show.
    """

    whole: RGB
    borders: RGB | None
    surface: RGB | None

    @property
    def preview(self) -> RGB:
        """The close look where there is one, else the tile."""
        return self.whole if self.borders is None else self.borders

    @property
    def uris(self) -> dict[str, str | None]:
        """The pictures as addresses for a page that stands alone."""
        shown = {"whole": self.whole, "borders": self.borders, "surface": self.surface}
        return {name: None if rgb is None else picture.data_uri(picture.png(rgb, 256)) for name, rgb in shown.items()}


def draw(
    small: RGB,
    close: Close | None,
    found: Shift | None,
    before: tuple[float, float],
    advice: tuple[float, float] | None,
    topology: Topology | None,
    shape: tuple[int, int],
) -> Pictures:
    """The pictures of a tile of `shape`; `small` is its image, reduced."""
    whole = small if topology is None else _faults(small, topology, shape)
    if close is None:
        return Pictures(whole, None, None)
    moves = [(0, 0)]
    if advice is not None:
        moves.append((round(advice[0] - before[0]), round(advice[1] - before[1])))
    at = _busiest(close.borders)
    borders = picture.hstack([_bordered(close, at, *move) for move in moves])
    return Pictures(whole, borders, None if found is None else correlation(found))


def _faults(small: RGB, topology: Topology, shape: tuple[int, int]) -> RGB:
    scale = shape[0] / small.shape[0], shape[1] / small.shape[1]
    place = GeoBox(small.shape[:2], Affine(scale[1], 0, 0, 0, scale[0], 0), None)
    shown = small.copy()
    for shapes, colour, strength in (
        (topology.holes, HOLE, 0.45),
        (topology.overlaps, OVERLAP, 1.0),
        (topology.slivers, SLIVER, 1.0),
    ):
        met = raster.burn([(s, 1) for s in _areal(shapes)], place, all_touched=True, fill=0) > 0
        shown[met] = (1 - strength) * shown[met] + strength * np.array(colour)
    return shown


def _areal(shapes: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(shapes[shapely.area(shapes) > 0], object)


def _busiest(borders: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the crop, on a grid of half crops, that holds most borders."""
    height, width = borders.shape
    places = [
        (row, col)
        for row in range(0, max(height - CROP, 0) + 1, CROP // 2)
        for col in range(0, max(width - CROP, 0) + 1, CROP // 2)
    ]
    return max(places, key=lambda at: int(borders[at[0] : at[0] + CROP, at[1] : at[1] + CROP].sum()))


def _bordered(close: Close, at: tuple[int, int], right: int, down: int) -> RGB:
    """The crop, enlarged, with the borders moved."""
    moved = np.zeros_like(close.borders)
    height, width = moved.shape
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = close.borders[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    rows, cols = slice(at[0], at[0] + CROP), slice(at[1], at[1] + CROP)
    shown = _enlarged(close.image[rows, cols], 2)
    shown[_thin(moved[rows, cols])] = BORDER
    return shown


def _thin(borders: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Borders, two pixels wide, as a line in a picture of twice the size: the middle between both sides."""
    twice = np.repeat(np.repeat(borders, 2, axis=0), 2, axis=1)
    inner = twice.copy()
    inner[1:] &= twice[:-1]
    inner[:-1] &= twice[1:]
    inner[:, 1:] &= twice[:, :-1]
    inner[:, :-1] &= twice[:, 1:]
    return inner


def _enlarged(rgb: RGB, times: int) -> RGB:
    return np.repeat(np.repeat(rgb, times, axis=0), times, axis=1)


def correlation(found: Shift) -> RGB:
    """The correlation from low (dark) to high (bright), no shift in the middle (white cross), the peak in yellow."""
    low, high = float(found.surface.min()), float(found.surface.max())
    level = (found.surface - low) / max(high - low, 1e-9)
    ramp = np.stack([level**0.8 * 255, level**1.6 * 220, 70 + 60 * level], axis=-1)
    times = 2 * CROP // found.surface.shape[0]
    shown = np.asarray(Image.fromarray(ramp.astype(np.uint8)).resize([s * times for s in found.surface.shape])).copy()
    _cross(shown, REACH, REACH, times, (255, 255, 255))
    down, right = np.unravel_index(int(found.surface.argmax()), found.surface.shape)
    _cross(shown, int(down), int(right), times, BORDER)
    return shown


def _cross(shown: RGB, row: int, col: int, times: int, colour: tuple[int, int, int]) -> None:
    y, x = row * times + times // 2, col * times + times // 2
    shown[max(y - 10, 0) : y + 11, x] = colour
    shown[y, max(x - 10, 0) : x + 11] = colour
