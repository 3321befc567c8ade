"""The labels of a dataset beside maps of it: every polygon of the label files, with what the maps say of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

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
from landcover_orch.review.evidence import Look, gather
from landcover_orch.review.ranking import Examined, Part, Polygon, examined
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

SIMPLE = "simple"
"""How a polygon was decided that has one cover alone; see `ground_truth.composites`."""

COMPOSITE, IGNORED, FEW = "with several covers", "of a code that is ignored", "with too few pixels that count"


@dataclass(frozen=True)
class Subject:
    """What is compared: the tiles of a manifest with their files, and the maps of each.

    `seeds` is how many maps tell of the same pixel.
    """

    manifest: DatasetManifest
    tiles: Mapping[str, Tile]
    looks: Mapping[str, Sequence[Look]]
    home: Path
    seeds: int = 1

    @property
    def entries(self) -> list[TileEntry]:
        """The tiles that have maps and labels."""
        return [e for e in self.manifest.tiles if self.looks.get(e.name) and e.label_fingerprint is not None]


@dataclass(frozen=True)
class Outlines:
    """Polygons of a tile on the ground of its orthophoto, moved as its `shift` says, and that grid."""

    geometry: NDArray[Any]
    place: GeoBox


@dataclass(frozen=True)
class Compared:
    """The polygons that maps tell of, their outlines by tile, and how many are left out and why."""

    found: Examined
    outlines: Mapping[str, Outlines]
    left_out: Mapping[str, int]


def compare(subject: Subject) -> Compared:
    """Every polygon with one cover that enough pixels tell of, each once, however many tiles it lies on.

    Raises:
        LabelError: labels are no polygons, or cannot be read.
        IncompleteError: labels have changed since the manifest was made.
        GridError: a map does not lie on its labels' grid.
    """
    _require_polygons(subject)
    parts, outlines, why = [], {}, dict[Hashable, str]()
    for entry in subject.entries:
        part, skipped, outlines[entry.name] = _of_tile(subject, entry)
        parts.append(part)
        why |= skipped
    found, counts = examined(parts, subject.seeds), Counter(why.values())
    few = len({name for part in parts for name in part.listed}) - len(found)
    return Compared(found, outlines, {COMPOSITE: counts[COMPOSITE], IGNORED: counts[IGNORED], FEW: few})


def _require_polygons(subject: Subject) -> None:
    dataset = subject.manifest.dataset
    where = f"dataset {dataset.name}"
    if dataset.labels.kind != "vector":
        fix = "leave out `label_review`, or vectorise the labels once"
        raise LabelError(Problem(where, f"labels of kind {dataset.labels.kind}", "polygons to look at", fix))
    memory = subject.home / MEMORY
    present = {entry.name: tile_fingerprints(subject.tiles[entry.name], memory)[1] for entry in subject.entries}
    stale = [entry.name for entry in subject.entries if present[entry.name] != entry.label_fingerprint]
    if not subject.entries or stale:
        found = f"labels of {stale} are not those of the manifest" if stale else "no map of a tile with labels"
        raise IncompleteError(Problem(where, found, "maps and labels that belong together", "materialise it again"))


def _of_tile(subject: Subject, entry: TileEntry) -> tuple[Part, dict[Hashable, str], Outlines]:
    manifest, tile = subject.manifest, subject.tiles[entry.name]
    legend, codes = manifest.legend, truth.code_numbers(manifest.dataset, manifest.legend, tile)
    image = imagery.inspect(manifest.dataset, entry.images)
    labels = truth.read_labels(manifest.dataset, legend, tile, image, [], codes)
    found = labels.polygons
    if found is None:
        raise LabelError(Problem(str(tile.label), "no polygons", "polygons to look at", "leave out `label_review`"))
    evidence = gather(
        entry.name,
        found.geometry,
        labels.grid,
        labels_of(entry, subject.home),
        subject.looks[entry.name],
        len(legend.classes),
        all_touched=legend.all_touched,
    )
    listed, skipped = _listed(tile, found, codes)
    ground, pixel_m2 = labels.grid.extent.geom, resolution(image.grid) ** 2
    part = Part(listed, evidence, found.geometry, ground, pixel_m2)
    return part, skipped, Outlines(translated(found.geometry, labels.grid, image.grid), image.grid)


def _listed(tile: Tile, found: Polygons, codes: Coding) -> tuple[dict[Hashable, Polygon], dict[Hashable, str]]:
    """The polygons that are looked at, and why each other one is not, by what tells them from all others."""
    simple = [decision.how == SIMPLE for decision in found.decisions] or [True] * len(found.names)
    classes, names = codes.classes[found.number].tolist(), _names(tile, found)
    said = found.values or [codes.codes[number] for number in found.number]
    listed, skipped = dict[Hashable, Polygon](), dict[Hashable, str]()
    for i, name in enumerate(names):
        if simple[i] and classes[i] != IGNORE:
            listed[name] = Polygon(tile.name, found.names[i], said[i], classes[i], i)
        else:
            skipped[name] = IGNORED if simple[i] else COMPOSITE
    return listed, skipped


def _names(tile: Tile, found: Polygons) -> list[Hashable]:
    """What tells each polygon from all others, whichever tile it lies on: file, name, code and geometry."""
    outlines = (hashlib.sha256(outline).digest() for outline in shapely.to_wkb(found.geometry))
    file = tile.label, tile.layer
    return [(file, *one) for one in zip(found.names, found.number.tolist(), outlines, strict=True)]
