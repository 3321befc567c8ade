"""Orthophotos of any size for benchmarks: generated blocks, repeated and varied, streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.grid import Window
from landcover_orch.raster import write_tiled
from landcover_orch.synthetic.camera import BANDS
from landcover_orch.synthetic.landscape import CRS, ORIGIN, scene

BLOCK = 512
"""Side of a repeated block in pixels: two TIFF blocks."""

SIDE = 4
"""Blocks along the side of the scene that they are cut from."""


def write_mosaic(path_image: Path, path_label: Path, height: int, width: int, bands: int = 3, seed: int = 0) -> None:
    """Writes an image (at most 4 bands of uint8) and its class ids 0 to 4 as two tiled deflate GeoTIFFs.

    Blocks of a generated landscape are mirrored and made brighter or darker at random, row of blocks by row of
    blocks, so that memory holds one row (about 80 MB at a width of 38,000) whatever the height.
    """
    grid = GeoBox((height, width), Affine(0.5, 0, ORIGIN[0], 0, -0.5, ORIGIN[1]), CRS)
    source = scene(SIDE * BLOCK, SIDE * BLOCK, seed=seed)
    layers = np.concatenate([source.image, source.truth[None]])  # (layer, y, x): bands, then class ids
    cuts = [slice(i * BLOCK, (i + 1) * BLOCK) for i in range(SIDE)]
    blocks = [layers[:, rows, cols] for rows in cuts for cols in cuts]
    write_tiled(path_image, grid, "uint8", BANDS[:bands], block_rows(blocks, (height, width), seed, slice(0, bands)))
    write_tiled(path_label, grid, "uint8", ("class",), block_rows(blocks, (height, width), seed, slice(-1, None)))


def block_rows(
    blocks: list[NDArray[np.uint8]], shape: tuple[int, int], seed: int, layers: slice
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """Whole rows of blocks from top to bottom; the same seed draws the same blocks for every choice of layers."""
    rng = np.random.default_rng((seed, 4))
    height, width = shape
    for row in range(0, height, BLOCK):
        pieces = [augment(blocks[rng.integers(len(blocks))], rng)[layers] for _ in range(0, width, BLOCK)]
        tall = min(BLOCK, height - row)
        yield Window(row, 0, tall, width), np.concatenate(pieces, axis=2)[:, :tall, :width]


def augment(block: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Augmentation: a block (layer, y, x) mirrored or not, its bands brighter or darker by up to a tenth."""
    turned = block[:, :: rng.choice((1, -1)), :: rng.choice((1, -1))]
    gain = np.clip(np.arange(256) * rng.uniform(0.9, 1.1), 0, 255).astype(np.uint8)
    return np.concatenate([gain[turned[:-1]], turned[-1:]])
