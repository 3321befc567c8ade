"""Image registration: the shift between label borders and image edges of a tile, by phase correlation on gradients.

Phase correlation: Kuglin and Hines 1975, "The phase correlation image alignment method". Here the cross-power spectrum
is divided by the square root of its magnitude alone: borders drawn by people are smooth and miss their edge by some
pixels, so that their fine detail, which full whitening raises to the weight of all else, is noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.grid import Window, starts
from landcover_orch.legend import IGNORE

SIDE = 512
"""Side of the blocks that are compared, in pixels."""

BLOCKS = 200
"""Blocks of a tile that are compared at most."""

REACH = 16
"""Pixels within which a shift is searched for, in every direction."""

LEAST_CONFIDENCE = 7.0
"""Below it nothing is said. On tiles of 640 px exact labels reached 12 to 19, labels of another place at most 5.9 (792
pairs); labels whose borders wander by 2.5 px (root mean square) 3.4 to 6.6, and were 15 px wrong at up to 6.4."""

FEWEST = 4
"""Tiles that a common shift needs at least. Of such labels (7 landscapes) 88 % of draws of 4 tiles were certain of
it and 1.5 px wrong at most, 97 % of 6 tiles (1.3 px), all of 12 (0.7 px); labels of another place (5,940 draws of 4, 6
or 9 tiles) reached 6.8."""

WANDER = 2.0
"""Pixels (standard deviation) by which the correlation of several tiles is smoothed: about as far as drawn borders
wander, which blurs its peak by as much."""

PEAK = 8
"""Pixels around the peak of that correlation that are no part of what it has to stand out from."""

WHITENING = 0.5
BRIGHT = 98.0
"""Percentile at which gradients are cut off, so that a few glaring edges do not decide."""

Classes = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Shift:
    """How far the labels have to be moved, in pixels to the right and down, to lie on the edges of the image.

    `confidence` is how many standard deviations the peak of the correlation stands above its mean within `REACH`;
    `surface` (down, right) is that correlation, from -`REACH` to `REACH` pixels, 1 at its peak.
    """

    right: float
    down: float
    confidence: float
    surface: Plane

    @property
    def length(self) -> float:
        """The distance in pixels."""
        return float(np.hypot(self.right, self.down))

    @property
    def certain(self) -> bool:
        """Whether the peak stands out, inside the range that was searched."""
        return self.confidence >= LEAST_CONFIDENCE and max(abs(self.right), abs(self.down)) < REACH - 0.5

    @classmethod
    def at_peak(cls, near: NDArray[np.float64], apart: float = -1) -> Shift:
        """The shift at the peak of a correlation (down, right) within `REACH`.

        Its confidence is against what lies more than `apart` pixels from there.
        """
        down, right = np.unravel_index(int(near.argmax()), near.shape)
        rows, cols = np.ogrid[: near.shape[0], : near.shape[1]]
        others = near[np.hypot(rows - down, cols - right) > apart]
        peak, spread = float(near.max()), float(others.std())
        return cls(
            right=float(right) - REACH + parabola_peak(near[down], int(right)),
            down=float(down) - REACH + parabola_peak(near[:, right], int(down)),
            confidence=(peak - float(others.mean())) / spread if spread > 0 else 0.0,
            surface=(near / peak).astype(np.float32) if peak > 0 else near.astype(np.float32),
        )

    @property
    def row(self) -> dict[str, float]:
        """The shift in pixels, rounded for people."""
        return {"right": round(self.right, 2), "down": round(self.down, 2), "pixels": round(self.length, 2)}


def block_shape(shape: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width of the blocks that a tile is compared in; None where it is too small to be compared."""
    height, width = (min(length, SIDE) for length in shape)
    return (height, width) if min(height, width) >= 4 * REACH else None


def spread_blocks(shape: tuple[int, int], edges: Plane, limit: int = BLOCKS) -> list[Window]:
    """Blocks of a tile, row by row; at most `limit`: in each cell of an even grid the one that holds most label edges.

    Args:
        edges: label edges (y, x) of the whole tile, at any scale.
    """
    side = block_shape(shape)
    if side is None:
        return []
    rows, cols = (starts(length, block, block) for length, block in zip(shape, side, strict=True))
    scale = (edges.shape[0] / shape[0], edges.shape[1] / shape[1])
    sums = np.pad(edges.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)

    def edge_sum(window: Window) -> float:
        top, bottom = (round(row * scale[0]) for row in (window.row, window.row + window.height))
        left, right = (round(col * scale[1]) for col in (window.col, window.col + window.width))
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    grid_rows, grid_cols = cell_counts(len(rows), len(cols), limit)
    windows = []
    for cell_rows in np.array_split(rows, grid_rows):
        for cell_cols in np.array_split(cols, grid_cols):
            inside = [Window(int(row), int(col), *side) for row in cell_rows for col in cell_cols]
            windows.append(max(inside, key=edge_sum))
    return windows


def cell_counts(rows: int, cols: int, limit: int) -> tuple[int, int]:
    """Rows and columns of cells, at most `limit` cells and about as square as the blocks are."""
    if rows * cols <= limit:
        return rows, cols
    down = min(rows, max(1, round((limit * rows / cols) ** 0.5)))
    return down, max(1, min(cols, limit // down))


def label_edges(classes: Classes) -> Plane:
    """Where the class changes (y, x): half a weight on both sides of each change; ignored pixels change nothing."""
    edges = np.zeros(classes.shape, np.float32)
    for here, before in NEIGHBOURS:
        first, second = classes[here], classes[before]
        change = 0.5 * ((first != second) & (first != IGNORE) & (second != IGNORE))
        edges[here] += change
        edges[before] += change
    return edges


NEIGHBOURS = (np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])
"""Pixels below and above each other, and right and left of each other."""


def image_edges(image: NDArray[Any], valid: NDArray[np.bool_]) -> Plane:
    """Gradient magnitude (y, x) of an image (band, y, x), each band in units of its spread; 0 beside missing data."""
    squares = np.zeros(valid.shape, np.float32)
    for band in image:
        plane = np.where(valid, band, 0).astype(np.float32)
        variance = float(plane[valid].var(dtype=np.float64)) if valid.any() else 0.0
        if variance > 0:
            down, right = np.gradient(plane)
            squares += (down * down + right * right) / np.float32(variance)
    edges, inside = np.sqrt(squares), valid.copy()
    for here, before in NEIGHBOURS:  # pixels whose four neighbours hold data, too
        inside[here] &= valid[before]
        inside[before] &= valid[here]
    edges[~inside] = 0
    return np.minimum(edges, np.float32(np.percentile(edges, BRIGHT)))


def measure(blocks: Iterable[tuple[NDArray[Any], NDArray[np.bool_], Classes]]) -> Shift | None:
    """The shift over blocks of one shape: image (band, y, x), where it holds data (y, x), classes (y, x).

    None where no block holds a border between two classes. The cross-power spectra of the blocks are summed.
    """
    from scipy import fft  # here, as the planner of all builds imports this

    power: NDArray[np.complexfloating[Any, Any]] | None = None
    shape = (0, 0)
    for image, valid, classes in blocks:
        edges = label_edges(classes)
        if not edges.any():
            continue
        shape = edges.shape
        spectrum = windowed_spectrum(image_edges(image, valid)) * windowed_spectrum(edges).conj()
        power = spectrum if power is None else power + spectrum
    if power is None or not power.any():
        return None
    magnitude = np.abs(power)
    whitened = power / np.maximum(magnitude, magnitude.max() * 1e-9) ** WHITENING
    correlation = np.fft.fftshift(fft.irfft2(whitened, shape))
    row, col = (length // 2 for length in correlation.shape)
    near = correlation[row - REACH : row + REACH + 1, col - REACH : col + REACH + 1]
    return Shift.at_peak(np.asarray(near, np.float64))


@cache
def hann_window(shape: tuple[int, int]) -> Plane:
    """Hann window (y, x), which fades a block out towards its rim."""
    return np.outer(*(np.hanning(length) for length in shape)).astype(np.float32)


def windowed_spectrum(edges: Plane) -> NDArray[np.complexfloating[Any, Any]]:
    """Fourier transform of edges less their mean, under a Hann window."""
    from scipy import fft

    height, width = edges.shape
    spectrum: NDArray[Any] = fft.rfft2((edges - edges.mean()) * hann_window((height, width)))
    return spectrum


def common(surfaces: Sequence[Plane]) -> Shift | None:
    """The shift that tiles of one flight and one label source share, each too small to show it alone.

    The tiles' surfaces, in units of their own spread, are summed and smoothed: what they share adds up, what misled
    one of them does not. The confidence is the peak-to-sidelobe ratio (Bolme et al. 2010, "Visual object tracking using
    adaptive correlation filters"): mean and spread are those of what lies more than `PEAK` pixels from the peak, which
    is as wide as borders wander. None of fewer than `FEWEST` tiles.
    """
    from scipy import ndimage

    if len(surfaces) < FEWEST:
        return None
    standardised = []
    for surface in surfaces:
        plane = surface.astype(np.float64)
        standardised.append(np.asarray((plane - plane.mean()) / max(float(plane.std()), 1e-12)))
    near = np.sum(standardised, axis=0)
    return Shift.at_peak(ndimage.gaussian_filter(near, WANDER, mode="nearest"), PEAK)


def parabola_peak(line: NDArray[np.float64], peak: int) -> float:
    """Sub-pixel peak: where the top of the parabola through a peak and its neighbours lies, in pixels from the peak."""
    if not 0 < peak < line.size - 1:
        return 0.0
    before, top, after = line[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def advised(shift: Shift, before: Sequence[float], *, step: float) -> tuple[float, float]:
    """The `shift` (right, down), in steps of pixels, that puts labels right which were shifted by `before` already."""
    right, down = (
        round((old + more) / step) * step for old, more in zip(before, (shift.right, shift.down), strict=True)
    )
    return right, down
