"""Ranking of polygons for label review by how far the evidence speaks against their label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from landcover_orch.review import confident_learning, naive_bayes
from landcover_orch.review.evidence import Evidence, sum_evidence

MIN_PIXELS = 16
"""Minimum of counted pixels of a polygon: of fewer, most lie on its border and look like its neighbours."""

NATS = 0.1
"""Weight of a nat of the evidence of naive Bayes in probability. Chosen, with the rest of `scores`, on plantings of
mislabelled polygons of which no stated figure is."""

COLUMNS = (
    "rank", "tile", "polygon", "code", "label", "suggestion", "m2", "pixels", "margin", "label_probability",
    "suggestion_probability", "disagreement", "loss", "flagged",
)  # fmt: skip


@dataclass(frozen=True)
class Polygon:
    """A polygon of the labels on a tile: its name, code and class, and its index among all that lie on the tile."""

    tile: str
    name: str
    code: str
    label: int
    index: int


@dataclass(frozen=True)
class ReviewedPolygons:
    """Reviewed polygons with their evidence from maps; arrays of one length.

    `probabilities` (polygon, class) are means over `pixels` counted pixels, each of `pixel_m2` square metres.
    """

    polygons: tuple[Polygon, ...]
    pixels: NDArray[np.float64]
    pixel_m2: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    disagreement: NDArray[np.float64]
    loss: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class id of each polygon's label."""
        return np.array([polygon.label for polygon in self.polygons], np.int64)

    @property
    def m2(self) -> NDArray[np.float64]:
        """Area of the counted pixels of each polygon."""
        return self.pixels * self.pixel_m2

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Which polygons confident learning takes to be mislabelled: prune by noise rate, each polygon one example."""
        return confident_learning.prune_by_noise_rate(self.labels, self.probabilities)

    @property
    def joint(self) -> confident_learning.Joint:
        """Estimated joint distribution (given, true) of labels, over polygons."""
        return confident_learning.joint(self.labels, self.probabilities)

    def __len__(self) -> int:
        return len(self.polygons)


@dataclass(frozen=True)
class TilePolygons:
    """Polygons of a tile, in burn order, the evidence on each, and the extent of the tile among them.

    `listed` are those to review, by their identities (see `comparison.identities`), on whichever tile they lie.
    """

    listed: Mapping[Hashable, Polygon]
    evidence: Evidence
    geometry: NDArray[Any]
    extent: Any
    pixel_m2: float

    @property
    def index(self) -> NDArray[np.int64]:
        """Indices of the listed polygons among all."""
        return np.array([polygon.index for polygon in self.listed.values()], np.int64)


def combine_tiles(tiles: Sequence[TilePolygons], seeds: int = 1) -> ReviewedPolygons:
    """Combines the polygons of all tiles, each once: the evidence of several tiles on one is summed.

    Such a polygon stands under the tile with most of its pixels, of equals the first. Where tiles overlap it counts
    once: it has no more pixels than fit on its area on all of them. Polygons of too few pixels are left out.

    Args:
        tiles: their polygons.
        seeds: how many models map each pixel.
    """
    number = {key: i for i, key in enumerate(dict.fromkeys(key for tile in tiles for key in tile.listed))}
    which = np.array([number[key] for tile in tiles for key in tile.listed], np.int64)
    evidence = sum_evidence([(tile.evidence, tile.index) for tile in tiles], which)
    pixels = np.concatenate([tile.evidence.counted()[tile.index] / seeds for tile in tiles])
    pixel_m2 = np.repeat([tile.pixel_m2 for tile in tiles], [len(tile.listed) for tile in tiles])
    order = np.lexsort((-pixels, which))
    largest = order[np.flatnonzero(np.diff(which[order], prepend=-1))]  # of equals the first
    unit = pixel_m2[largest]
    capped = np.minimum(np.bincount(which, pixels * (pixel_m2 / unit[which])), area_on_tiles(tiles, which) / unit)
    listed = [polygon for tile in tiles for polygon in tile.listed.values()]
    polygons, enough = [listed[i] for i in largest.tolist()], capped >= MIN_PIXELS
    labels = np.array([polygon.label for polygon in polygons], np.int64)
    return ReviewedPolygons(
        tuple(polygon for polygon, valid in zip(polygons, enough, strict=True) if valid),
        capped[enough],
        unit[enough],
        evidence.probabilities()[enough],
        evidence.disagreement(labels)[enough],
        evidence.loss(labels)[enough],
    )


def area_on_tiles(tiles: Sequence[TilePolygons], which: NDArray[np.int64]) -> NDArray[np.float64]:
    """Area of each polygon on the union of its tiles, in square metres; infinite where it lies on one alone.

    Args:
        tiles: their polygons.
        which: the polygon that each listed one of all tiles is, numbered from 0.
    """
    shared, shapes, extents = np.bincount(which) > 1, dict[int, Any](), dict[int, list[Any]]()
    pairs = ((tile, polygon) for tile in tiles for polygon in tile.listed.values())
    for (tile, polygon), number in zip(pairs, which.tolist(), strict=True):
        if shared[number]:
            shapes[number] = tile.geometry[polygon.index]
            extents.setdefault(number, []).append(tile.extent)
    area = np.full(shared.size, np.inf)
    for number, shape in shapes.items():
        area[number] = shapely.intersection(shape, shapely.union_all(extents[number])).area
    return area


def scores(labels: confident_learning.Labels, probabilities: confident_learning.Probabilities) -> NDArray[np.float64]:
    """Class scores (polygon, class): how well each class fits what the maps show; what polygons are ranked by.

    Probabilities less what polygons of the class typically reach, which see how far maps go against a label, and a
    tenth of the evidence of naive Bayes, which sees whether they show what they show of other polygons labelled so.
    """
    return np.asarray(
        confident_learning.adjusted(labels, probabilities) + NATS * naive_bayes.evidence(labels, probabilities)
    )


def rows(reviewed: ReviewedPolygons, names: Sequence[str], *, by_area: bool = False) -> list[dict[str, Any]]:
    """Ranked rows, a polygon each, the most suspicious first: `COLUMNS`, and its `index` on its tile.

    margin: that of the label to the suggestion, the other class of the highest score (see `scores`); by area, the most
    probable other class, in probabilities. disagreement: fraction of pixels mapped as another class;
    loss: mean cross-entropy of the label in nats.

    Args:
        reviewed: the polygons.
        names: of the classes.
        by_area: rank by area times the suggestion's lead, and leave out polygons whose label leads; else by the margin
            alone, the smallest first. Of equals the larger comes first.
    """
    if not len(reviewed):
        return []
    labels, flagged, m2 = reviewed.labels, reviewed.flagged, reviewed.m2
    class_scores = reviewed.probabilities if by_area else scores(labels, reviewed.probabilities)
    margin, other = (
        confident_learning.margins(labels, class_scores).round(9),
        confident_learning.suggested(labels, class_scores),
    )
    order = np.lexsort((np.arange(len(reviewed)), -m2, margin * m2 if by_area else margin))
    if by_area:
        order = order[margin[order] < 0]
    listed = []
    for rank, i in enumerate(order.tolist(), start=1):
        polygon, p = reviewed.polygons[i], reviewed.probabilities[i]
        sums = (margin[i], p[polygon.label], p[other[i]], reviewed.disagreement[i], reviewed.loss[i])
        values = (
            *(rank, polygon.tile, polygon.name, polygon.code, names[polygon.label], names[other[i]]),
            *(round(float(m2[i]), 2), round(float(reviewed.pixels[i]))),
            *(round(float(value), 6) for value in sums),
            bool(flagged[i]),
        )
        listed.append({**dict(zip(COLUMNS, values, strict=True)), "index": polygon.index})
    return listed


def flagged_rows(listed: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that confident learning flags."""
    return [row for row in listed if row["flagged"]]
