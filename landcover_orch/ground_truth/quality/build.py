"""The label doctor: where the labels of a tile lie, how well they cover its ground, and whether any area went lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.errors import Problem
from landcover_orch.grid import resolution
from landcover_orch.ground_truth import build as truth
from landcover_orch.ground_truth.areas import area_problems
from landcover_orch.ground_truth.quality import figures as pictures
from landcover_orch.ground_truth.quality import shift as shifts
from landcover_orch.ground_truth.quality import topology as topologies
from landcover_orch.ground_truth.quality.shift import Shift
from landcover_orch.ground_truth.quality.topology import Topology
from landcover_orch.labels.codes import Coding, to_classes
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.labels.polygons import Polygons
from landcover_orch.legend import IGNORE, IGNORE_NAME, Legend
from landcover_orch.pages import page, picture
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.publish import Product, Recipe, Stage, current, publish
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

ASSET = "label_quality"
SUMMARY = "summary.json"
PAGE = "index.html"
PREVIEW = "preview.png"
SURFACE = "surface.npy"
VERSION = 2
"""Raised when the same inputs would give other bytes."""

SCAN = 4096
"""Longer side of the reduced class raster in which label borders are looked for."""

Row = dict[str, Any]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """What was cut from a tile: the version of its patches, and how to count their pixels, each once.

    `count` gives pixels by value (0 to 255) of the patches and of the class raster on the same ground, and how many
    differ.
    """

    fingerprint: str
    count: Callable[[], tuple[Counts, Counts, int]]


def build(dataset: Dataset, legend: Legend, tile: Tile, home: Path, cut: Cut) -> Product:
    """The published examination of a tile's labels: summary.json, index.html, preview.png and surface.npy.

    The summary holds `shift` (pixels right and down, length, confidence; None where nothing can be said), `advice` (the
    line of the dataset's YAML that repairs it), the counts of `topology.examine` and its `worst` rows (None where
    labels are no polygons), and `codes` and `classes`: areas in the labels, the class raster and the patches.
    surface.npy is the correlation by shift (see `Shift`), and is not there where none could be measured.

    Raises:
        IncompleteError: the tile has no ground truth.
    """
    ground = current(home / dataset.name / truth.ASSET, tile.name)
    made_of = recipe(dataset, tile, ground, cut, home)
    folder = home / dataset.name / ASSET
    return publish(folder, tile.name, made_of, lambda stage: _write(stage, dataset, legend, tile, ground, cut))


def recipe(dataset: Dataset, tile: Tile, ground: Product, cut: Cut, home: Path) -> Recipe:
    """What the examination of a tile is made of; the ground truth's version says how its labels are read."""
    image, label = tile_fingerprints(tile, home / MEMORY)
    return Recipe(
        asset=ASSET,
        version=VERSION,
        inputs={"image": image, "label": label, "ground_truth": ground.fingerprint, "patches": cut.fingerprint},
        configuration={"imagery": dataset.imagery},
    )


def _write(stage: Stage, dataset: Dataset, legend: Legend, tile: Tile, ground: Product, cut: Cut) -> None:
    image = imagery.inspect(dataset, tile.images)
    small = picture.display(raster.thumbnail(image, pictures.WHOLE), dataset.bands)
    if tile.label is None:
        summary: Row = {"tile": tile.name, "notes": ["no labels: nothing to examine"]}
        drawn = pictures.Pictures(small, None, None)
    else:
        summary, drawn = _examined(stage, dataset, legend, tile, image, ground, cut, small)
    stage.write_json(SUMMARY, summary)
    (stage.path / PREVIEW).write_bytes(picture.small_png(drawn.preview))
    title = f"{dataset.name}: labels of tile {tile.name}"
    html = page.render("label_quality.html", title=title, summary=summary, pictures=drawn)
    (stage.path / PAGE).write_text(html, encoding="utf-8")


def _examined(
    stage: Stage,
    dataset: Dataset,
    legend: Legend,
    tile: Tile,
    image: raster.Raster,
    ground: Product,
    cut: Cut,
    small: picture.RGB,
) -> tuple[Row, pictures.Pictures]:
    look = _look(dataset, legend, tile, image, ground)
    topology = topologies.examine(look.polygons, look.place, look.codes) if look.polygons else None
    told = ground.json(truth.SUMMARY)
    advice = advised(dataset, tile.shift, look.shift)
    if look.shift is not None:
        np.save(stage.path / SURFACE, look.shift.surface, allow_pickle=False)
    shift = row_of(look.shift) if look.shift is not None and look.shift.certain else None
    summary = {
        "tile": tile.name,
        "shift": shift,
        "shift_pixels": shift and shift["pixels"],
        "confidence": None if look.shift is None else round(look.shift.confidence, 2),
        "moved": list(tile.shift),
        "advice": advice and line({tile.name: advice}),
        "pixel": resolution(image.grid),
        **(topology.facts if topology else {}),
        "worst": list(topology.worst) if topology else None,
        "codes": told["codes"],
        "classes": _conserved(legend, told, cut.count(), resolution(image.grid) ** 2),
        "notes": [*told["notes"], *_remarks(look.shift, topology)],
    }
    return summary, pictures.draw(small, look.best, look.shift, tile.shift, advice, topology, image.shape)


@dataclass
class _Look:
    """What was seen of a tile's labels: their shift, the block with most borders, and the polygons if they are some."""

    shift: Shift | None
    best: pictures.Close | None
    polygons: Polygons | None
    place: Any
    codes: Coding


@dataclass
class _Best:
    """Keeps the block that holds most label borders, for the pictures."""

    bands: Sequence[str]
    _image: NDArray[Any] | None = None
    _edges: shifts.Plane = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def meet(self, image: NDArray[Any], classes: NDArray[np.uint8]) -> None:
        """Takes note of a block."""
        edges = shifts.label_edges(classes)
        if edges.sum() > self._edges.sum():
            self._image, self._edges = image, edges

    def close(self) -> pictures.Close | None:
        """The block as a picture; None where no block had borders."""
        if self._image is None:
            return None
        return pictures.Close(picture.display(self._image, self.bands), self._edges > 0)


def _look(dataset: Dataset, legend: Legend, tile: Tile, image: raster.Raster, ground: Product) -> _Look:
    codes = truth.code_numbers(dataset, legend, tile)
    windows = shifts.spread_blocks(image.shape, _borders(ground.file(truth.CLASSES)))
    labels = truth.read_labels(dataset, legend, tile, image, windows, codes)
    best = _Best(dataset.bands)
    with raster.reader(image, nodata=dataset.nodata) as pixels:

        def blocks() -> Iterator[tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]]:
            for window, strip in zip(windows, labels.strips, strict=True):
                data, classes = pixels.read(window), to_classes(strip, codes)
                best.meet(data, classes)
                yield data, pixels.valid(window, data), classes

        found = shifts.measure(blocks())
    return _Look(found, best.close(), labels.polygons, labels.grid, codes)


def _borders(classes: Path) -> shifts.Plane:
    """Where classes change in a reduced picture of a class raster, ignored bands along borders included."""
    shown = raster.thumbnail(raster.inspect(classes), SCAN)[0]
    edges = np.zeros(shown.shape, np.float32)
    edges[1:] += shown[1:] != shown[:-1]
    edges[:, 1:] += shown[:, 1:] != shown[:, :-1]
    return edges


def advised(dataset: Dataset, before: tuple[float, float], found: Shift | None) -> tuple[float, float] | None:
    """The `shift` (right, down) that puts labels right which `before` was moved; None where nothing better is known."""
    if found is None or not found.certain:
        return None
    wanted = shifts.advised(found, before, whole=dataset.labels.kind != "vector")
    return None if wanted == tuple(before) else wanted


def line(advice: Mapping[str, tuple[float, float]]) -> str:
    """The line of a dataset's YAML that moves the labels of tiles."""
    tiles = ", ".join(f"{name}: {{shift: [{right:g}, {down:g}]}}" for name, (right, down) in advice.items())
    return f"tiles: {{overrides: {{{tiles}}}}}"


def row_of(found: Shift) -> Row:
    """A shift in pixels, for people."""
    return {"right": round(found.right, 2), "down": round(found.down, 2), "pixels": round(found.length, 2)}


def _remarks(found: Shift | None, topology: Topology | None) -> list[str]:
    confidence = 0.0 if found is None else found.confidence
    remarks = {
        "shift: no borders between classes to measure it by": found is None,
        f"shift: nothing can be said (confidence {confidence:.1f}, {shifts.LEAST_CONFIDENCE:g} needed) of this tile "
        "alone; the check `common_shift` asks all tiles together": found is not None and not found.certain,
        "topology: labels are no polygons": topology is None,
        "overlaps: there are more, the examination stopped at its limit": topology is not None
        and not topology.complete,
    }
    return [text for text, holds in remarks.items() if holds]


def _conserved(legend: Legend, told: Mapping[str, Any], counts: tuple[Counts, Counts, int], unit: float) -> list[Row]:
    """A row for each class: its area in the labels, the class raster, and the patches; a last one for ignored ground.

    The labels' area is that of the class's codes. What the patches hold is compared with the class raster on the ground
    that they cover, each pixel once, and must be the same.
    """
    held, covered, different = counts
    names = [*legend.names, IGNORE_NAME]
    numbers = [*(c.id for c in legend.classes), IGNORE]
    raster_pixels = [*(row["pixels"] for row in told["classes"]), told["pixels"] - told["labelled_pixels"]]
    areas = dict.fromkeys(names, 0.0)
    meaning = _classes_of(legend, told["codes"])
    for row in told["codes"]:
        areas[meaning[row["code"]]] += row["polygon_area"]
    return [
        {
            "class": name,
            "labels": round(areas[name], 3),
            "raster": round(pixels * unit, 3),
            "outside patches": round((pixels - int(covered[number])) * unit, 3),
            "patches": round(int(held[number]) * unit, 3),
            "agrees": bool(held[number] == covered[number]) and not different,
        }
        for name, number, pixels in zip(names, numbers, raster_pixels, strict=True)
    ]


def _classes_of(legend: Legend, rows: Sequence[Row]) -> dict[str, str]:
    named = {c.id: c.name for c in legend.classes}
    plain = {code: named.get(number, IGNORE_NAME) for code, number in legend.class_of_code.items()}
    return {row["code"]: row.get("class") or plain[row["code"]] for row in rows}


def shift_problems(dataset: Dataset, summary: Row) -> list[Problem]:
    """What the check refuses: labels further beside the image than the dataset's limit."""
    found = summary.get("shift")
    if not found or found["pixels"] <= dataset.limits.max_shift:
        return []
    where = f"tile {summary['tile']}: labels lie {found['pixels']:.1f} px beside the image"
    expected = f"at most {dataset.limits.max_shift:g} px (`limits.max_shift`)"
    told = f"{found['right']:g} px right and {found['down']:g} px down would put them right"
    fix = f"look at the page; then set `{summary['advice']}` in configs/datasets/{dataset.name}.yaml"
    return [Problem(where, f"{told} (confidence {summary['confidence']:g})", expected, fix)]


def conservation_problems(summary: Row) -> list[Problem]:
    """What the check refuses: areas that differ between labels, class raster and patches."""
    lost = [
        Problem(
            f"tile {summary['tile']}, class {row['class']!r}",
            f"{row['patches']:,.1f} in the patches",
            f"{row['raster'] - row['outside patches']:,.1f}, as the class raster on the same ground",
            "delete the tile's patches and materialise them again",
        )
        for row in summary.get("classes") or ()
        if not row["agrees"]
    ]
    return [*area_problems(summary), *lost] if "codes" in summary else []


def topology_problems(summary: Row) -> list[Problem]:
    """What the check warns of: gaps between polygons, overlaps, and slivers."""
    return [
        Problem(
            f"tile {summary['tile']}",
            f"{summary[kind]} {kind} ({summary[f'{kind}_area']:,.1f} in units of the CRS squared)",
            f"no {kind}",
            "correct the worst polygons that the page lists, at their source",
        )
        for kind in ("gaps", "overlaps", "slivers")
        if summary.get(kind)
    ]
