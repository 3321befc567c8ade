"""Train fraction of polygons: how much of each a model was trained on; there its map leans to the old label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.config import Splits
from landcover_orch.grid import Window
from landcover_orch.labels.rasterise import in_pixels
from landcover_orch.patches.manifest import TileEntry
from landcover_orch.patches.splits import held_out


def train_fractions(
    splits: Splits, tile: str, grid: GeoBox, geometry: NDArray[Any], label_grid: GeoBox
) -> NDArray[np.float64]:
    """Train fraction of each polygon: of its area on a tile, that of the train split; 0 for one outside the tile.

    Args:
        splits: those that the model was trained with.
        tile: its name.
        grid: of the tile.
        geometry: the polygons, in the CRS of `label_grid`.
        label_grid: where the tile's grid lies among them (see `comparison.Outlines`).
    """
    height, width = (int(side) for side in grid.shape)
    shapes = shapely.make_valid(in_pixels(geometry, label_grid))
    inside = _areas(shapes, [Window(0, 0, height, width)])
    held = _areas(shapes, held_out(splits, tile, grid))
    return np.asarray(np.clip((inside - held) / np.where(inside > 0, inside, 1), 0, 1))


def of_tile(splits: Splits, entry: TileEntry) -> float:
    """Train fraction of a tile: of its pixels, those of the train split."""
    held = sum(window.height * window.width for window in held_out(splits, entry.name, entry.grid))
    return round(1 - held / (entry.shape[0] * entry.shape[1]), 4)


def _areas(shapes: NDArray[Any], windows: Sequence[Window]) -> NDArray[np.float64]:
    """Area of each shape in windows that do not overlap, in pixels."""
    boxes = np.array([shapely.box(w.col, w.row, w.col + w.width, w.row + w.height) for w in windows], object)
    shape, box = shapely.STRtree(boxes).query(shapes)
    areas = shapely.area(shapely.intersection(shapes[shape], boxes[box]))
    return np.asarray(np.bincount(shape, areas, len(shapes)), np.float64)
