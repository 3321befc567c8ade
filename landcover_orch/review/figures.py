"""Pictures of a polygon under review: the photograph, the labels and the maps around it, each with its outline."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import numpy as np
import shapely
from PIL import Image, ImageDraw

from landcover_orch import raster
from landcover_orch.evaluation.evaluate import labels_of
from landcover_orch.grid import Window
from landcover_orch.labels.rasterise import in_pixels
from landcover_orch.legend import IGNORE
from landcover_orch.pages import picture
from landcover_orch.pages.picture import RGB
from landcover_orch.patches.manifest import TileEntry
from landcover_orch.review.comparison import Outlines, Subject
from landcover_orch.tiles import imagery

SIDE = 176
"""Side that the longer side of each picture is drawn with, in pixels."""

LARGEST = 1024
"""Pixels of the tile that a picture shows at most; of a larger polygon it shows the middle."""

MARGIN_FRACTION, MIN_MARGIN = 0.35, 12
"""Margin around a polygon: a fraction of its longer side, and pixels at least."""


def pictures(subject: Subject, entry: TileEntry, outlines: Outlines, index: int) -> list[RGB]:
    """Image chips around a polygon: photograph, labels, and maps where they count, each with the polygon's outline."""
    shape = in_pixels(outlines.geometry[index : index + 1], outlines.label_grid)[0]
    window = window_around(shape, entry.shape)
    dataset, palette = subject.manifest.dataset, subject.manifest.legend.palette
    with raster.reader(imagery.inspect(dataset, entry.images), nodata=dataset.nodata) as pixels:
        photo = picture.display(pixels.read(window), dataset.bands)
    labels = _read(labels_of(entry, subject.home), window)
    mapped = np.full((window.height, window.width), IGNORE, np.uint8)
    for layer in subject.map_layers[entry.name]:  # of several seeds the last
        mapped = np.where(layer.counted(entry.name, window), _read(layer.classes, window), mapped)
    classes = (labels, mapped)
    return [draw_outline(drawn, shape, window) for drawn in (photo, *(picture.colourise(c, palette) for c in classes))]


def window_around(shape: Any, tile: tuple[int, int]) -> Window:
    """Window of a tile (height, width) that shows a geometry in pixels, with a margin around it."""
    left, top, right, bottom = shapely.bounds(shape).tolist()
    margin = max(MIN_MARGIN, MARGIN_FRACTION * max(right - left, bottom - top))
    spans = []
    for low, high, length in ((top, bottom, tile[0]), (left, right, tile[1])):
        low, high = max(low, 0), min(high, length)
        middle, half = (low + high) / 2, min((high - low) / 2 + margin, LARGEST / 2)
        first = min(max(floor(middle - half), 0), length - 1)
        spans.append((first, max(min(ceil(middle + half), length) - first, 1)))
    (row, height), (col, width) = spans
    return Window(row, col, height, width)


def _read(source: raster.Raster, window: Window) -> Any:
    with raster.reader(source, nodata="none") as pixels:
        return pixels.read(window)[0]


def draw_outline(drawn: RGB, shape: Any, window: Window) -> RGB:
    """Outline overlay: the picture at its final size with the outline of a geometry in pixels, white on black."""
    scale = SIDE / max(window.height, window.width)
    size = (max(round(window.width * scale), 1), max(round(window.height * scale), 1))
    image = Image.fromarray(drawn).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        for ring in shapely.get_rings(shapely.get_parts([shape])):
            corners = shapely.get_coordinates(ring)
            pen.line([((x - window.col) * scale, (y - window.row) * scale) for x, y in corners], colour, width)
    return np.asarray(image)


def contact_sheet(pictures_drawn: Sequence[RGB], columns: int = 4) -> RGB:
    """Contact sheet: pictures side by side on squares of white, row by row; one empty square for none."""
    rows = max(-(-len(pictures_drawn) // columns), 1)
    board = np.full((rows * SIDE, min(columns, max(len(pictures_drawn), 1)) * SIDE, 3), 255, np.uint8)
    for i, drawing in enumerate(pictures_drawn):
        top, left = i // columns * SIDE, i % columns * SIDE
        board[top : top + drawing.shape[0], left : left + drawing.shape[1]] = drawing
    return board
