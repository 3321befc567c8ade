"""Common shift: what tiles show together of how far their labels lie off, each too small to show it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_orch.config import Dataset, file_label
from landcover_orch.errors import Problem
from landcover_orch.ground_truth.quality import build as quality
from landcover_orch.ground_truth.quality import shift
from landcover_orch.ground_truth.quality.build import SURFACE, Row
from landcover_orch.ground_truth.quality.figures import correlation
from landcover_orch.ground_truth.quality.shift import Shift
from landcover_orch.pages import picture
from landcover_orch.store.products import LABEL_QUALITY, SUMMARY
from landcover_orch.store.publish import Product, current
from landcover_orch.tiles.tile import Tile


@dataclass(frozen=True)
class Common:
    """What tiles show together of how far their labels lie off the image, where each alone shows nothing.

    They are of one year, one year of labels and one pixel size. `before` is the `shift` (right, down) that each had
    when it was measured; `shift` is None where they are too few.
    """

    before: Mapping[str, tuple[float, float]]
    year: int | None
    label_year: int | None
    shift: Shift | None

    @property
    def png(self) -> bytes | None:
        """The correlation by shift, as on a tile's page; None where they are too few."""
        return None if self.shift is None else picture.small_png(correlation(self.shift))

    @property
    def row(self) -> Row:
        """For people; pixels are None where nothing can be said."""
        shift = self.shift
        uncertain = {"right": None, "down": None, "pixels": None}
        return {
            "year": self.year,
            "label year": self.label_year,
            "tiles": len(self.before),
            **(shift.row if shift is not None and shift.certain else uncertain),
            "confidence": None if shift is None else round(shift.confidence, 2),
        }


def common(dataset: Dataset, tiles: Sequence[Tile], home: Path) -> list[Common]:
    """What the tiles that are examined, and each of which shows no shift, show together, for each flight."""
    folder = home / dataset.name / LABEL_QUALITY
    groups: dict[tuple[int | None, int | None, float], dict[str, Product]] = {}
    for tile in tiles:
        product = current(folder, tile.name) if (folder / tile.name).is_symlink() else None
        if product and SURFACE in product.files and product.json(SUMMARY)["shift"] is None:
            flight = (tile.year, tile.label_year, product.json(SUMMARY)["pixel"])
            groups.setdefault(flight, {})[tile.name] = product
    return [
        Common(
            {name: tuple(product.json(SUMMARY)["moved"]) for name, product in products.items()},
            year,
            label_year,
            shift.common([np.load(product.file(SURFACE), allow_pickle=False) for product in products.values()]),
        )
        for (year, label_year, _), products in groups.items()
    ]


def problems(dataset: Dataset, groups: Sequence[Common]) -> list[Problem]:
    """What the check refuses: labels that lie further off the image than the limit, as tiles show together."""
    refused = []
    for group in groups:
        by = group.shift
        if by is None or not by.certain or by.length <= dataset.limits.max_shift:
            continue
        where = f"{len(group.before)} tiles together: labels lie {by.length:.1f} px beside the image"
        expected = f"at most {dataset.limits.max_shift:g} px (`limits.max_shift`)"
        actual = f"{by.right:.1f} px right and {by.down:.1f} px down would put them right"
        advice = {name: quality.advised(dataset, before, by) or before for name, before in group.before.items()}
        file = file_label("datasets", dataset.name)
        fix = f"look at some of their pages; then set `{quality.line(advice)}` in {file}"
        refused.append(Problem(where, f"{actual} (confidence {by.confidence:.1f})", expected, fix))
    return refused
