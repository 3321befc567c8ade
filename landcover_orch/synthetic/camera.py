"""Image simulation: an orthophoto of a generated terrain in red, green, blue, near infrared, with shadow and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage
from shapely import affinity

from landcover_orch.grid import resolution
from landcover_orch.raster import burn
from landcover_orch.synthetic.terrain import Parcel, Terrain

BANDS = ("red", "green", "blue", "nir")
SUN = np.array([-0.78, 0.62])
"""Unit vector on the ground (x, y) towards the sun, in the north-west."""

SHADOW_M = 1.15
"""Length of a shadow per metre of height."""

SHADE = (0.40, 0.43, 0.55, 0.36)
"""What a shadow leaves of each band: the sky's blue light reaches into it."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Appearance:
    """Mean of each band (0-255), strength of rows (and their period in metres) and of mottles."""

    colour: tuple[int, int, int, int]
    rows: float = 0.0
    period: float = 1.0
    mottle: float = 0.06


# Roofs, roads and bare soil share their colours on purpose: what a pixel is shows in its surroundings alone.
APPEARANCES = {
    "meadow": Appearance((98, 118, 74, 168), mottle=0.16),
    "wheat": Appearance((172, 154, 106, 148), rows=0.05, period=2.2, mottle=0.08),
    "maize": Appearance((68, 96, 58, 188), rows=0.15, period=2.6, mottle=0.07),
    "bare": Appearance((152, 126, 100, 150), rows=0.03, period=3.1, mottle=0.10),
    "ploughed": Appearance((116, 94, 76, 118), rows=0.12, period=2.1, mottle=0.10),
    "broadleaved": Appearance((62, 88, 50, 178), mottle=0.12),
    "conifer": Appearance((44, 64, 46, 122), mottle=0.08),
    "river": Appearance((52, 70, 66, 22), mottle=0.10),
    "pond": Appearance((44, 62, 52, 18), mottle=0.08),
    "asphalt": Appearance((124, 122, 120, 118), mottle=0.05),
    "track": Appearance((158, 136, 110, 148), mottle=0.12),
    "tiles": Appearance((162, 104, 80, 128), mottle=0.05),
    "grey roof": Appearance((128, 126, 123, 120), mottle=0.03),
    "light roof": Appearance((206, 203, 197, 192), mottle=0.02),
    "brown roof": Appearance((146, 120, 98, 140), mottle=0.05),
    "slate": Appearance((84, 86, 92, 84), mottle=0.04),
    "light car": Appearance((220, 220, 222, 200)),
    "dark car": Appearance((46, 47, 52, 44)),
    "red car": Appearance((150, 44, 40, 90)),
    "tree": Appearance((66, 90, 52, 176), mottle=0.12),
}
CROWNS = {"broadleaved": 3.6, "conifer": 2.3}
"""Radius of a crown in metres."""


def photograph(land: Terrain, grid: GeoBox, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The terrain as a camera sees it on a grid: bands red, green, blue, nir (band, y, x) uint8."""
    drawn = (*land.parcels, *land.things)
    index = burn([(parcel.shape, i) for i, parcel in enumerate(drawn)], grid, all_touched=False, fill=0)
    light = (
        crop_texture(drawn, index, grid, rng)
        * relief_shading(drawn, index, grid)
        * crown_shading(drawn, index, grid, rng)
    )
    light *= (1 + 0.035 * _noise(grid, 350, rng)).astype(np.float32)  # haze and sun angle change slowly
    shadow = cast_shadows(drawn, index, grid)
    colours = parcel_colours(drawn, rng)
    bands = [sensor_response(colours[index, b] * light * (1 - (1 - SHADE[b]) * shadow), rng) for b in range(len(BANDS))]
    return np.stack(bands)


def sensor_response(band: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What optics and sensor make of one band: blur, photon noise that grows with light, read noise, rounding."""
    blurred: Floats = ndimage.gaussian_filter(band, 0.6)
    noise = rng.standard_normal(band.shape, np.float32) * np.sqrt(2.0 + 0.06 * np.maximum(blurred, 0))
    pixels: NDArray[np.uint8] = np.clip(np.rint(blurred + noise), 1, 254).astype(np.uint8)
    return pixels


def parcel_colours(drawn: Sequence[Parcel], rng: np.random.Generator) -> Floats:
    """Colour of each parcel (parcel, band): that of its appearance, brighter or darker, and tinted a little."""
    means = np.array([APPEARANCES[parcel.appearance].colour for parcel in drawn], np.float32)
    bright = rng.normal(1, 0.09, (len(drawn), 1))
    tint = rng.normal(1, 0.022, means.shape)
    return (means * bright * tint).astype(np.float32)


def crop_texture(drawn: Sequence[Parcel], index: NDArray[np.uint16], grid: GeoBox, rng: np.random.Generator) -> Floats:
    """Light (y, x) by rows of crops, tracks and mottles."""
    appearances = [APPEARANCES[parcel.appearance] for parcel in drawn]
    angles = np.array([parcel.angle for parcel in drawn])
    period = np.array([appearance.period for appearance in appearances])
    along = np.stack([-np.sin(angles), np.cos(angles)]) / period
    x, y = _metres(grid)
    turns = along[0].astype(np.float32)[index] * x + along[1].astype(np.float32)[index] * y
    strength = np.array([appearance.rows for appearance in appearances], np.float32)[index]
    mottle = np.array([appearance.mottle for appearance in appearances], np.float32)[index]
    tracks = (strength > 0) & (np.mod(turns, 9) < 0.35)
    uneven = 0.6 + 0.4 * _noise(grid, 25, rng)
    light = 1 + strength * uneven * np.sin(2 * np.pi * turns) + mottle * fractal_noise(grid, rng)
    marked: Floats = np.where(tracks, light * 0.86, light).astype(np.float32)
    return marked


def _metres(grid: GeoBox) -> tuple[Floats, Floats]:
    """x and y of pixel centres from the grid's corner, in metres, as a row and a column."""
    size = resolution(grid)
    height, width = grid.shape
    x = (np.arange(width) + 0.5) * size
    y = -(np.arange(height) + 0.5) * size
    return x[None].astype(np.float32), y[:, None].astype(np.float32)


def _noise(grid: GeoBox, scale: float, rng: np.random.Generator) -> Floats:
    """Smooth noise (y, x) of standard deviation about 1 that changes over `scale` metres."""
    step = max(1.0, scale / resolution(grid))
    height, width = grid.shape
    coarse = rng.standard_normal((int(height / step) + 4, int(width / step) + 4)).astype(np.float32)
    rows, cols = np.arange(height) / step + 1, np.arange(width) / step + 1
    return interpolate(interpolate(coarse, rows).T, cols).T * 1.5


def interpolate(values: Floats, at: NDArray[np.float64]) -> Floats:
    """Values along the first axis at fractional positions, eased so that no kinks show."""
    low = at.astype(int)
    part = (at - low)[:, None]
    ease = (part * part * (3 - 2 * part)).astype(np.float32)
    mixed: Floats = values[low] * (1 - ease) + values[low + 1] * ease
    return mixed


def fractal_noise(grid: GeoBox, rng: np.random.Generator) -> Floats:
    """Fractal noise, of several scales: patches in a field as well as grain of the soil."""
    scales = ((40.0, 0.55), (12.0, 0.45), (4.0, 0.35), (1.2, 0.35), (0.5, 0.35))
    total = np.zeros(tuple(grid.shape), np.float32)
    for scale, weight in scales:
        total += weight * _noise(grid, scale, rng)
    return total


def relief_shading(drawn: Sequence[Parcel], index: NDArray[np.uint16], grid: GeoBox) -> Floats:
    """Light on pitched roofs (bright towards the sun, dark away) and on single crowns (domes)."""
    x, y = _metres(grid)
    centres = np.array([parcel.shape.centroid.coords[0] for parcel in drawn]) - (grid.affine.c, grid.affine.f)
    dx, dy = (x - centres[:, 0].astype(np.float32)[index]), (y - centres[:, 1].astype(np.float32)[index])
    roof = np.array([parcel.code == "510" for parcel in drawn])[index]
    tree = np.array([parcel.appearance == "tree" for parcel in drawn])[index]
    normal = np.array([(-np.sin(parcel.angle), np.cos(parcel.angle)) for parcel in drawn], np.float32)
    side = np.sign(normal[index, 0] * dx + normal[index, 1] * dy)
    faces = 1 + 0.16 * side * (normal @ SUN.astype(np.float32))[index]
    domes = 0.85 + 0.14 * (dx * SUN[0] + dy * SUN[1])
    return np.where(roof, faces, np.where(tree, np.clip(domes, 0.4, 1.4), 1)).astype(np.float32)


def crown_shading(drawn: Sequence[Parcel], index: NDArray[np.uint16], grid: GeoBox, rng: np.random.Generator) -> Floats:
    """Light (y, x) on the crowns of forests; 1 elsewhere."""
    light = np.ones(index.shape, np.float32)
    for appearance, radius in CROWNS.items():
        inside = np.array([parcel.appearance == appearance for parcel in drawn])[index]
        if inside.any():
            light[inside] = canopy_shading(grid, radius, rng)[inside]
    return light


def canopy_shading(grid: GeoBox, radius: float, rng: np.random.Generator) -> Floats:
    """Light on a closed canopy (y, x): domes about scattered stems, lit from the sun's side, dark between them."""
    step = radius * 1.55 / resolution(grid)
    height, width = grid.shape
    rows, cols = np.mgrid[0 : int(height / step) + 2, 0 : int(width / step) + 2]
    stems = np.stack([rows, cols]).reshape(2, -1) * step + rng.uniform(-0.42, 0.42, (2, rows.size)) * step
    row, col = np.rint(stems).astype(int)
    seen = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    free = np.ones((height, width), bool)
    free[row[seen], col[seen]] = False
    bright = np.zeros((height, width), np.float32)
    bright[row[seen], col[seen]] = rng.normal(1, 0.13, int(seen.sum()))
    near = ndimage.distance_transform_edt(free, return_distances=False, return_indices=True)
    dy = (near[0] - np.arange(height)[:, None]).astype(np.float32) * resolution(grid) / radius
    dx = (np.arange(width) - near[1]).astype(np.float32) * resolution(grid) / radius
    dome = 1.12 - 0.55 * (dx * dx + dy * dy) + 0.36 * (dx * SUN[0] + dy * SUN[1])
    light: Floats = np.clip(dome, 0.3, 1.5) * bright[near[0], near[1]]
    return light


def cast_shadows(drawn: Sequence[Parcel], index: NDArray[np.uint16], grid: GeoBox) -> Floats:
    """How much of the sun is gone (y, x), 0 to 1, beside buildings, cars, trees and the edges of forests."""
    casts = [(shadow_polygon(parcel), 1) for parcel in drawn if parcel.height]
    dark = burn(casts, grid, all_touched=False, fill=0) > 0
    roofs = np.array([parcel.height > 0 for parcel in drawn])[index]
    forest = np.array([parcel.appearance in CROWNS for parcel in drawn])[index]
    reach = np.rint(7.0 * SHADOW_M / resolution(grid) * SUN).astype(int)
    edge = np.zeros_like(forest)
    for part in (0.34, 0.67, 1.0):
        edge |= shift_mask(forest, int(part * reach[1]), -int(part * reach[0]))
    on_ground = (dark | edge) & ~forest & ~roofs
    soft: Floats = ndimage.gaussian_filter(on_ground.astype(np.float32), 0.5)
    return soft


def shadow_polygon(parcel: Parcel) -> Any:
    """The area in a parcel's shadow: everything between its outline and the outline of its top."""
    x, y = -SUN * parcel.height * SHADOW_M
    steps = [affinity.translate(parcel.shape, x * part, y * part) for part in (0, 0.5, 1)]
    return shapely.union_all([shapely.union_all(pair).convex_hull for pair in pairwise(steps)])


def shift_mask(mask: NDArray[np.bool_], rows: int, cols: int) -> NDArray[np.bool_]:
    """A mask (y, x) shifted down and right by some pixels; false where nothing comes from."""
    shifted = np.zeros_like(mask)
    height, width = mask.shape
    to = slice(max(rows, 0), height + min(rows, 0)), slice(max(cols, 0), width + min(cols, 0))
    of = slice(max(-rows, 0), height + min(-rows, 0)), slice(max(-cols, 0), width + min(-cols, 0))
    shifted[to] = mask[of]
    return shifted
