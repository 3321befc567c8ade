"""The shift that tiles have in common, each of which is too small to tell it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_orch.config import Dataset
from landcover_orch.errors import Problem
from landcover_orch.ground_truth.quality import build as quality
from landcover_orch.ground_truth.quality import shift
from landcover_orch.ground_truth.quality.build import ASSET, SUMMARY, SURFACE, Row
from landcover_orch.ground_truth.quality.figures import correlation
from landcover_orch.ground_truth.quality.shift import Shift
from landcover_orch.pages import picture
from landcover_orch.store.publish import Product, current
from landcover_orch.tiles.tile import Tile


@dataclass(frozen=True)
class Common:
    """What tiles tell together of how far their labels lie beside the image, where each alone tells nothing.

    They are of one year, one year of labels and one pixel size. `moved` is by how much each was moved before it was
    measured; `shift` is None where they are too few.
    """

    moved: Mapping[str, tuple[float, float]]
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
        found = self.shift
        nothing = {"right": None, "down": None, "pixels": None}
        return {
            "year": self.year,
            "label year": self.label_year,
            "tiles": len(self.moved),
            **(quality.row_of(found) if found is not None and found.certain else nothing),
            "confidence": None if found is None else round(found.confidence, 2),
        }


def common(dataset: Dataset, tiles: Sequence[Tile], home: Path) -> list[Common]:
    """What the tiles that are examined, and whose own shift is not known, tell together, for each flight."""
    folder = home / dataset.name / ASSET
    groups: dict[tuple[int | None, int | None, float], dict[str, Product]] = {}
    for tile in tiles:
        product = current(folder, tile.name) if (folder / tile.name).is_symlink() else None
        if product and SURFACE in product.files and product.json(SUMMARY)["shift"] is None:
            flight = (tile.year, tile.label_year, product.json(SUMMARY)["pixel"])
            groups.setdefault(flight, {})[tile.name] = product
    return [
        Common(
            {name: tuple(product.json(SUMMARY)["moved"]) for name, product in held.items()},
            year,
            label_year,
            shift.common([np.load(product.file(SURFACE), allow_pickle=False) for product in held.values()]),
        )
        for (year, label_year, _), held in groups.items()
    ]


def problems(dataset: Dataset, found: Sequence[Common]) -> list[Problem]:
    """What the check refuses: labels that lie further beside the image than the limit, as tiles tell together."""
    wrong = []
    for one in found:
        by = one.shift
        if by is None or not by.certain or by.length <= dataset.limits.max_shift:
            continue
        where = f"{len(one.moved)} tiles together: labels lie {by.length:.1f} px beside the image"
        expected = f"at most {dataset.limits.max_shift:g} px (`limits.max_shift`)"
        told = f"{by.right:.1f} px right and {by.down:.1f} px down would put them right"
        advice = {name: quality.advised(dataset, moved, by) or moved for name, moved in one.moved.items()}
        fix = f"look at some of their pages; then set `{quality.line(advice)}` in configs/datasets/{dataset.name}.yaml"
        wrong.append(Problem(where, f"{told} (confidence {by.confidence:.1f})", expected, fix))
    return wrong
