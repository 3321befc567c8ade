"""Comparison of labels with maps: every polygon of the label files, with the zonal statistics of the maps."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Splits
from landcover_orch.errors import IncompleteError, LabelError, Problem
from landcover_orch.evaluation.evaluate import labels_of
from landcover_orch.grid import resolution
from landcover_orch.ground_truth import build as truth
from landcover_orch.labels.codes import Coding
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.labels.polygons import Polygons
from landcover_orch.labels.rasterise import translated
from landcover_orch.legend import IGNORE
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.review import train_fraction
from landcover_orch.review.evidence import MapLayer, collect_evidence
from landcover_orch.review.ranking import Polygon, ReviewedPolygons, TilePolygons, combine_tiles
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

SIMPLE = "simple"
"""Decision on a polygon that has one cover alone; see `ground_truth.composites`."""

COMPOSITE, IGNORED, FEW = "with several covers", "of a code that is ignored", "with too few pixels that count"


@dataclass(frozen=True)
class Subject:
    """Labels and maps to compare: the tiles of a manifest with their files, and the maps of each.

    `seeds` is how many maps show the same pixel.
    """

    manifest: DatasetManifest
    tiles: Mapping[str, Tile]
    map_layers: Mapping[str, Sequence[MapLayer]]
    home: Path
    seeds: int = 1

    @property
    def entries(self) -> list[TileEntry]:
        """The tiles that have maps and labels."""
        return [e for e in self.manifest.tiles if self.map_layers.get(e.name) and e.label_fingerprint is not None]

    def years(self, entry: TileEntry) -> tuple[int | None, int | None]:
        """The year that a tile's maps show, and that of its labels."""
        return raster.year(self.map_layers[entry.name][0].classes.path) or entry.year, entry.label_year


@dataclass(frozen=True)
class Outlines:
    """Outlines of a tile's polygons on its orthophoto, translated as its `shift` says, and that grid."""

    geometry: NDArray[Any]
    label_grid: GeoBox


@dataclass(frozen=True)
class Comparison:
    """Reviewed polygons, their outlines by tile, and how many are left out and why."""

    polygons: ReviewedPolygons
    outlines: Mapping[str, Outlines]
    left_out: Mapping[str, int]

    def train_fractions(
        self, splits: Splits | None, entry: TileEntry, index: NDArray[np.int64]
    ) -> list[float] | list[None]:
        """Train fraction of polygons of a tile, by their index; None of each where the splits are not known."""
        if splits is None:
            return [None] * len(index)
        outlines = self.outlines[entry.name]
        shapes = outlines.geometry[index]
        fractions = train_fraction.train_fractions(splits, entry.name, entry.grid, shapes, outlines.label_grid)
        return [round(float(fraction), 4) for fraction in fractions]


def compare(subject: Subject) -> Comparison:
    """Compares every polygon with one cover and enough pixels, each once, however many tiles it lies on.

    Raises:
        LabelError: labels are no polygons, or cannot be read.
        IncompleteError: labels have changed since the manifest was made.
        GridError: a map does not lie on its labels' grid.
    """
    require_current_polygons(subject)
    tiles, outlines, reasons = [], {}, dict[Hashable, str]()
    for entry in subject.entries:
        tile, skipped, outlines[entry.name] = compare_tile(subject, entry)
        tiles.append(tile)
        reasons |= skipped
    polygons, counts = combine_tiles(tiles, subject.seeds), Counter(reasons.values())
    few = len({key for tile in tiles for key in tile.listed}) - len(polygons)
    return Comparison(polygons, outlines, {COMPOSITE: counts[COMPOSITE], IGNORED: counts[IGNORED], FEW: few})


def require_current_polygons(subject: Subject) -> None:
    """Raises LabelError where labels are no polygons, IncompleteError where they are not those of the manifest."""
    dataset = subject.manifest.dataset
    where = f"dataset {dataset.name}"
    if dataset.labels.kind != "vector":
        fix = "leave out `label_review`, or vectorise the labels once"
        raise LabelError(Problem(where, f"labels of kind {dataset.labels.kind}", "polygons to review", fix))
    memory = subject.home / MEMORY
    present = {entry.name: tile_fingerprints(subject.tiles[entry.name], memory)[1] for entry in subject.entries}
    stale = [entry.name for entry in subject.entries if present[entry.name] != entry.label_fingerprint]
    if not subject.entries or stale:
        message = f"labels of {stale} are not those of the manifest" if stale else "no map of a tile with labels"
        raise IncompleteError(Problem(where, message, "maps and labels that belong together", "materialise it again"))


def compare_tile(subject: Subject, entry: TileEntry) -> tuple[TilePolygons, dict[Hashable, str], Outlines]:
    """Polygons of a tile with their evidence, why each other one is left out, and the outlines of all."""
    manifest, tile = subject.manifest, subject.tiles[entry.name]
    legend, codes = manifest.legend, truth.code_numbers(manifest.dataset, manifest.legend, tile)
    image = imagery.inspect(manifest.dataset, entry.images)
    labels = truth.read_labels(manifest.dataset, legend, tile, image, [], codes)
    polygons = labels.polygons
    if polygons is None:
        raise LabelError(Problem(str(tile.label), "no polygons", "polygons to review", "leave out `label_review`"))
    evidence = collect_evidence(
        entry.name,
        polygons.geometry,
        labels.grid,
        labels_of(entry, subject.home),
        subject.map_layers[entry.name],
        len(legend.classes),
        all_touched=legend.all_touched,
    )
    listed, skipped = select_polygons(tile, polygons, codes)
    extent, pixel_m2 = labels.grid.extent.geom, resolution(image.grid) ** 2
    with_evidence = TilePolygons(listed, evidence, polygons.geometry, extent, pixel_m2)
    return with_evidence, skipped, Outlines(translated(polygons.geometry, labels.grid, image.grid), image.grid)


def select_polygons(
    tile: Tile, polygons: Polygons, codes: Coding
) -> tuple[dict[Hashable, Polygon], dict[Hashable, str]]:
    """Polygons to review, and why each other one is not, by their identities (see `identities`)."""
    simple = [decision.how == SIMPLE for decision in polygons.decisions] or [True] * len(polygons.names)
    classes, keys = codes.classes[polygons.number].tolist(), identities(tile, polygons)
    codes_of = polygons.values or [codes.codes[number] for number in polygons.number]
    listed, skipped = dict[Hashable, Polygon](), dict[Hashable, str]()
    for i, key in enumerate(keys):
        if simple[i] and classes[i] != IGNORE:
            listed[key] = Polygon(tile.name, polygons.names[i], codes_of[i], classes[i], i)
        else:
            skipped[key] = IGNORED if simple[i] else COMPOSITE
    return listed, skipped


def identities(tile: Tile, polygons: Polygons) -> list[Hashable]:
    """Identity of each polygon, on whichever tile it lies: file, name, code and hash of its geometry."""
    outlines = (hashlib.sha256(outline).digest() for outline in shapely.to_wkb(polygons.geometry))
    file = tile.label, tile.layer
    return [(file, *key) for key in zip(polygons.names, polygons.number.tolist(), outlines, strict=True)]
