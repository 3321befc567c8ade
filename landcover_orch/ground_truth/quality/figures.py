"""Figures of label quality: label borders over the image, the correlation, holes, overlaps and slivers."""

from __future__ import annotations

from dataclasses import dataclass

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

TILE_SIDE = 480
"""Longer side of the picture of a tile, in pixels."""

CLOSE_UP = 240
"""Side of the part that is shown at full size, in pixels, and twice that on the page."""

BORDER, HOLE, OVERLAP, SLIVER = (255, 214, 0), (255, 0, 200), (255, 60, 30), (0, 225, 255)


@dataclass(frozen=True)
class Block:
    """A block of a tile at full size: the image, and where label borders lie (y, x)."""

    image: RGB
    borders: NDArray[np.bool_]


@dataclass(frozen=True)
class Pictures:
    """A tile with its faults, a close-up of its borders as they are and as advised, and the correlation.

    `borders` holds one or two pictures in a row, `surface` the correlation; None where there is nothing to show.
    """

    tile: RGB
    borders: RGB | None
    surface: RGB | None

    @property
    def preview(self) -> RGB:
        """The close-up where there is one, else the tile."""
        return self.tile if self.borders is None else self.borders

    @property
    def uris(self) -> dict[str, str | None]:
        """The pictures as addresses for a page that stands alone."""
        shown = {"whole": self.tile, "borders": self.borders, "surface": self.surface}
        return {name: None if rgb is None else picture.data_uri(picture.png(rgb, 256)) for name, rgb in shown.items()}


def draw(
    small: RGB,
    block: Block | None,
    shift: Shift | None,
    before: tuple[float, float],
    advice: tuple[float, float] | None,
    topology: Topology | None,
    shape: tuple[int, int],
) -> Pictures:
    """The pictures of a tile of `shape`; `small` is its image, reduced."""
    tile = small if topology is None else draw_faults(small, topology, shape)
    if block is None:
        return Pictures(tile, None, None)
    moves = [(0, 0)]
    if advice is not None:
        moves.append((round(advice[0] - before[0]), round(advice[1] - before[1])))
    corner = densest_corner(block.borders)
    borders = picture.hstack([draw_borders(block, corner, *move) for move in moves])
    return Pictures(tile, borders, None if shift is None else correlation(shift))


def draw_faults(small: RGB, topology: Topology, shape: tuple[int, int]) -> RGB:
    """Holes, overlaps and slivers over a reduced picture of a tile of `shape`."""
    scale = shape[0] / small.shape[0], shape[1] / small.shape[1]
    grid = GeoBox(small.shape[:2], Affine(scale[1], 0, 0, 0, scale[0], 0), None)
    shown = small.copy()
    for shapes, colour, strength in (
        (topology.holes, HOLE, 0.45),
        (topology.overlaps, OVERLAP, 1.0),
        (topology.slivers, SLIVER, 1.0),
    ):
        areal = shapes[shapely.area(shapes) > 0]
        mask = raster.burn([(shape, 1) for shape in areal], grid, all_touched=True, fill=0) > 0
        shown[mask] = (1 - strength) * shown[mask] + strength * np.array(colour)
    return shown


def densest_corner(borders: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of the close-up, on a grid of half close-ups, that holds most borders."""
    height, width = borders.shape
    corners = [
        (row, col)
        for row in range(0, max(height - CLOSE_UP, 0) + 1, CLOSE_UP // 2)
        for col in range(0, max(width - CLOSE_UP, 0) + 1, CLOSE_UP // 2)
    ]
    return max(corners, key=lambda at: int(borders[at[0] : at[0] + CLOSE_UP, at[1] : at[1] + CLOSE_UP].sum()))


def draw_borders(block: Block, corner: tuple[int, int], right: int, down: int) -> RGB:
    """The close-up, twice enlarged, with the borders shifted by some pixels."""
    shifted = np.zeros_like(block.borders)
    height, width = shifted.shape
    shifted[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = block.borders[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    rows, cols = slice(corner[0], corner[0] + CLOSE_UP), slice(corner[1], corner[1] + CLOSE_UP)
    shown = np.repeat(np.repeat(block.image[rows, cols], 2, axis=0), 2, axis=1)
    shown[thin_lines(shifted[rows, cols])] = BORDER
    return shown


def thin_lines(borders: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Borders, two pixels wide, as a line in a picture of twice the size: the middle between both sides."""
    twice = np.repeat(np.repeat(borders, 2, axis=0), 2, axis=1)
    inner = twice.copy()
    inner[1:] &= twice[:-1]
    inner[:-1] &= twice[1:]
    inner[:, 1:] &= twice[:, :-1]
    inner[:, :-1] &= twice[:, 1:]
    return inner


def correlation(shift: Shift) -> RGB:
    """The correlation from low (dark) to high (bright), no shift in the middle (white cross), the peak in yellow."""
    surface = shift.surface
    low, high = float(surface.min()), float(surface.max())
    level = (surface - low) / max(high - low, 1e-9)
    ramp = np.stack([level**0.8 * 255, level**1.6 * 220, 70 + 60 * level], axis=-1)
    times = 2 * CLOSE_UP // surface.shape[0]
    shown = np.asarray(Image.fromarray(ramp.astype(np.uint8)).resize([s * times for s in surface.shape])).copy()
    _cross(shown, REACH, REACH, times, (255, 255, 255))
    down, right = np.unravel_index(int(surface.argmax()), surface.shape)
    _cross(shown, int(down), int(right), times, BORDER)
    return shown


def _cross(shown: RGB, row: int, col: int, times: int, colour: tuple[int, int, int]) -> None:
    y, x = row * times + times // 2, col * times + times // 2
    shown[max(y - 10, 0) : y + 11, x] = colour
    shown[y, max(x - 10, 0) : x + 11] = colour
