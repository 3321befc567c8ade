"""Ranking of polygons for label review by how far the evidence speaks against their label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from landcover_orch.review import confident_learning, naive_bayes
from landcover_orch.review.evidence import Evidence, summed

FEWEST = 16
"""Pixels that count, which a polygon needs at least: of fewer, most lie on its border and look like its neighbours."""

NATS = 0.1
"""What a nat of the evidence of naive Bayes is worth in probability. Chosen, with the rest of `scores`, on plantings of
wrong polygons of which no stated figure is."""

COLUMNS = (
    "rank", "tile", "polygon", "code", "label", "suggestion", "m2", "pixels", "margin", "label_probability",
    "suggestion_probability", "disagreement", "loss", "flagged",
)  # fmt: skip


@dataclass(frozen=True)
class Polygon:
    """A polygon of the labels on a tile: its name, code and class, and its place among all that lie on the tile."""

    tile: str
    name: str
    code: str
    label: int
    index: int


@dataclass(frozen=True)
class Examined:
    """Polygons with what maps say of them; arrays of one length.

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
class Part:
    """The polygons of a tile, in burn order, what maps say of each, and the ground of the tile among them.

    `listed` are those that are looked at, by what tells each from all others, whichever tile it lies on.
    """

    listed: Mapping[Hashable, Polygon]
    evidence: Evidence
    geometry: NDArray[Any]
    extent: Any
    pixel_m2: float

    @property
    def index(self) -> NDArray[np.int64]:
        """The places of the listed polygons."""
        return np.array([polygon.index for polygon in self.listed.values()], np.int64)


def examined(parts: Sequence[Part], seeds: int = 1) -> Examined:
    """The polygons that enough pixels tell of, each once: what the maps of several tiles say of one is summed.

    Such a polygon stands under the tile with most of its pixels, of equals the first. Ground that tiles share counts
    once: it has no more pixels than fit on its ground on all of them.

    Args:
        parts: the tiles.
        seeds: how many models tell of each pixel.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(name for part in parts for name in part.listed))}
    which = np.array([number[name] for part in parts for name in part.listed], np.int64)
    evidence = summed([(part.evidence, part.index) for part in parts], which)
    pixels = np.concatenate([part.evidence.counted()[part.index] / seeds for part in parts])
    pixel_m2 = np.repeat([part.pixel_m2 for part in parts], [len(part.listed) for part in parts])
    shown = _most(which, pixels)
    unit = pixel_m2[shown]
    capped = np.minimum(np.bincount(which, pixels * (pixel_m2 / unit[which])), _area_on_tiles(parts, which) / unit)
    polygons = [polygon for part in parts for polygon in part.listed.values()]
    return _examined([polygons[i] for i in shown], evidence, capped, unit)


def _most(which: NDArray[np.int64], pixels: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of each polygon's most pixels, of equals the first."""
    order = np.lexsort((-pixels, which))
    return np.asarray(order[np.flatnonzero(np.diff(which[order], prepend=-1))], np.int64)


def _area_on_tiles(parts: Sequence[Part], which: NDArray[np.int64]) -> NDArray[np.float64]:
    """Area of each polygon on all its tiles in square metres; infinite where it lies on one alone."""
    shared, shapes, extents = np.bincount(which) > 1, dict[int, Any](), dict[int, list[Any]]()
    each = ((part, polygon) for part in parts for polygon in part.listed.values())
    for (part, polygon), number in zip(each, which.tolist(), strict=True):
        if shared[number]:
            shapes[number] = part.geometry[polygon.index]
            extents.setdefault(number, []).append(part.extent)
    area = np.full(shared.size, np.inf)
    for number, shape in shapes.items():
        area[number] = shapely.intersection(shape, shapely.union_all(extents[number])).area
    return area


def _examined(
    polygons: Sequence[Polygon], evidence: Evidence, pixels: NDArray[np.float64], pixel_m2: NDArray[np.float64]
) -> Examined:
    labels = np.array([polygon.label for polygon in polygons], np.int64)
    enough = pixels >= FEWEST
    return Examined(
        tuple(polygon for polygon, keep in zip(polygons, enough, strict=True) if keep),
        pixels[enough],
        pixel_m2[enough],
        evidence.probabilities()[enough],
        evidence.disagreement(labels)[enough],
        evidence.loss(labels)[enough],
    )


def scores(labels: confident_learning.Labels, probabilities: confident_learning.Probabilities) -> NDArray[np.float64]:
    """How well each class fits what the maps show of each polygon (polygon, class); what polygons are ranked by.

    Probabilities less what polygons of the class typically reach, which see how far maps go against a label, and a
    tenth of the evidence of naive Bayes, which sees whether they show what they show of other polygons labelled so.
    """
    return np.asarray(
        confident_learning.levelled(labels, probabilities) + NATS * naive_bayes.evidence(labels, probabilities)
    )


def rows(examined_polygons: Examined, names: Sequence[str], *, by_area: bool = False) -> list[dict[str, Any]]:
    """A row a polygon, the most suspicious first: `COLUMNS`, and its `index` among the polygons of its tile.

    margin: that of the label to the suggestion, the other class of the highest score (see `scores`); by area, the most
    probable other class, in probabilities. disagreement: share of pixels whose mapped class is another than the label;
    loss: mean cross-entropy of the label in nats.

    Args:
        examined_polygons: the polygons.
        names: of the classes.
        by_area: rank by area times the suggestion's lead, and leave out polygons whose label leads; else by the margin
            alone, the smallest first. Of equals the larger comes first.
    """
    if not len(examined_polygons):
        return []
    labels, flagged, m2 = examined_polygons.labels, examined_polygons.flagged, examined_polygons.m2
    class_scores = examined_polygons.probabilities if by_area else scores(labels, examined_polygons.probabilities)
    margin, other = (
        confident_learning.margins(labels, class_scores).round(9),
        confident_learning.suggested(labels, class_scores),
    )
    order = np.lexsort((np.arange(len(examined_polygons)), -m2, margin * m2 if by_area else margin))
    if by_area:
        order = order[margin[order] < 0]
    listed = []
    for rank, i in enumerate(order.tolist(), start=1):
        polygon, p = examined_polygons.polygons[i], examined_polygons.probabilities[i]
        sums = (margin[i], p[polygon.label], p[other[i]], examined_polygons.disagreement[i], examined_polygons.loss[i])
        values = (
            *(rank, polygon.tile, polygon.name, polygon.code, names[polygon.label], names[other[i]]),
            *(round(float(m2[i]), 2), round(float(examined_polygons.pixels[i]))),
            *(round(float(value), 6) for value in sums),
            bool(flagged[i]),
        )
        listed.append({**dict(zip(COLUMNS, values, strict=True)), "index": polygon.index})
    return listed


def flagged_rows(listed: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that confident learning flags."""
    return [row for row in listed if row["flagged"]]
