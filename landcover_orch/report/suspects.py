"""Suspicious polygons: those whose label the evidence speaks against, ranked, and flagged by confident learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.report import confident
from landcover_orch.report.evidence import Evidence

FEWEST = 16
"""Pixels that count, which a polygon needs at least: of fewer, most lie on its border and look like its neighbours."""

COLUMNS = (
    "rank", "tile", "polygon", "code", "label", "suggestion", "m2", "pixels", "margin", "label_probability",
    "suggestion_probability", "disagreement", "loss", "flagged",
)  # fmt: skip


@dataclass(frozen=True)
class Polygon:
    """A polygon of the labels on a tile: its name, code and class, and its place among the tile's evidence."""

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
        return np.array([one.label for one in self.polygons], np.int64)

    @property
    def m2(self) -> NDArray[np.float64]:
        """Area of the counted pixels of each polygon."""
        return self.pixels * self.pixel_m2

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Which polygons confident learning takes to be mislabelled: prune by noise rate, each polygon one example."""
        return confident.prune_by_noise_rate(self.labels, self.probabilities)

    @property
    def joint(self) -> confident.Joint:
        """Estimated joint distribution (given, true) of labels, over polygons."""
        return confident.joint(self.labels, self.probabilities)

    def __len__(self) -> int:
        return len(self.polygons)


def examined(polygons: Sequence[Polygon], evidence: Evidence, pixel_m2: float, seeds: int = 1) -> Examined:
    """The polygons of a tile that enough pixels tell of.

    Args:
        polygons: those to look at, with a class.
        evidence: on all polygons of the tile.
        pixel_m2: area of a pixel.
        seeds: how many models tell of each pixel.
    """
    pixels = evidence.counted() / seeds
    kept = [one for one in polygons if pixels[one.index] >= FEWEST]
    index = np.array([one.index for one in kept], np.int64)
    label_of = np.zeros(evidence.polygons, np.int64)
    label_of[index] = [one.label for one in kept]
    return Examined(
        tuple(kept),
        pixels[index],
        np.full(len(kept), pixel_m2),
        evidence.probabilities()[index],
        evidence.disagreement(label_of)[index],
        evidence.loss(label_of)[index],
    )


def together(parts: Sequence[Examined]) -> Examined:
    """The polygons of several tiles; one that lies on two of them stands for itself in each."""
    arrays = ("pixels", "pixel_m2", "probabilities", "disagreement", "loss")
    polygons = tuple(one for part in parts for one in part.polygons)
    return Examined(polygons, *(np.concatenate([getattr(part, name) for part in parts]) for name in arrays))


def rows(found: Examined, names: Sequence[str], *, by_area: bool = False) -> list[dict[str, Any]]:
    """A row a polygon, the most suspicious first: `COLUMNS`, and its `index` among the polygons of its tile.

    margin: that of the label to the suggestion, the most probable other class, in probabilities less what their
    classes typically reach (see `confident.levelled`); by area, in the probabilities themselves. disagreement: share
    of pixels whose mapped class is another than the label; loss: mean cross-entropy of the label in nats.

    Args:
        found: the polygons.
        names: of the classes.
        by_area: rank by area times the suggestion's lead, and leave out polygons whose label leads; else by the margin
            alone, the smallest first. Of equals the larger comes first.
    """
    if not len(found):
        return []
    labels, flagged, m2 = found.labels, found.flagged, found.m2
    level = found.probabilities if by_area else confident.levelled(labels, found.probabilities)
    margin, other = confident.margins(labels, level).round(9), confident.suggested(labels, level)
    order = np.lexsort((np.arange(len(found)), -m2, margin * m2 if by_area else margin))
    if by_area:
        order = order[margin[order] < 0]
    listed = []
    for rank, i in enumerate(order.tolist(), start=1):
        one, p = found.polygons[i], found.probabilities[i]
        sums = (margin[i], p[one.label], p[other[i]], found.disagreement[i], found.loss[i])
        values = (
            *(rank, one.tile, one.name, one.code, names[one.label], names[other[i]]),
            *(round(float(m2[i]), 2), round(float(found.pixels[i]))),
            *(round(float(value), 6) for value in sums),
            bool(flagged[i]),
        )
        listed.append({**dict(zip(COLUMNS, values, strict=True)), "index": one.index})
    return listed


def flagged_rows(listed: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that confident learning flags."""
    return [row for row in listed if row["flagged"]]
