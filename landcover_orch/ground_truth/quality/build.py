"""Label quality: where the labels of a tile lie, how well they cover it, and whether any area was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Dataset, file_label
from landcover_orch.errors import Problem, pluralise
from landcover_orch.grid import in_metres, resolution, unit_of_area
from landcover_orch.ground_truth import build as truth
from landcover_orch.ground_truth.areas import area_problems
from landcover_orch.ground_truth.quality import VERSION
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
from landcover_orch.pages.links import asset_link
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import CLASS_RASTER, GROUND_TRUTH, LABEL_QUALITY, PAGE, PREVIEW, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage, current, publish
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

SURFACE = "surface.npy"
SCAN = 4096
"""Longer side of the reduced class raster in which label borders are searched for."""

Row = dict[str, Any]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """What was cut from a tile: the version of its patches, and how to count their pixels, each once.

    `count` gives pixels by value (0 to 255) of the patches and of the class raster at the same pixels, and how many
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
    ground_truth = current(home / dataset.name / GROUND_TRUTH, tile.name)
    present = partial(recipe, dataset, tile, ground_truth, cut, home)
    folder = home / dataset.name / LABEL_QUALITY

    def write(stage: Stage) -> None:
        _write(stage, dataset, legend, tile, ground_truth, cut)

    return publish(folder, tile.name, present(), write, present=present)


def recipe(dataset: Dataset, tile: Tile, ground_truth: Product, cut: Cut, home: Path) -> Recipe:
    """The build key of a tile's examination; the ground truth's version says how its labels are read."""
    image, label = tile_fingerprints(tile, home / MEMORY)
    return Recipe(
        asset=LABEL_QUALITY,
        version=VERSION,
        inputs={"image": image, "label": label, "ground_truth": ground_truth.fingerprint, "patches": cut.fingerprint},
        configuration={"imagery": dataset.imagery},
    )


def _write(stage: Stage, dataset: Dataset, legend: Legend, tile: Tile, ground_truth: Product, cut: Cut) -> None:
    image = imagery.inspect(dataset, tile.images)
    small = picture.display(raster.thumbnail(image, pictures.TILE_SIDE), dataset.bands)
    if tile.label is None:
        summary: Row = {"tile": tile.name, "notes": ["no labels: nothing to examine"]}
        drawn = pictures.Pictures(small, None, None)
    else:
        summary, drawn = examine(stage, dataset, legend, tile, image, ground_truth, cut, small)
    stage.write_json(SUMMARY, summary)
    (stage.path / PREVIEW).write_bytes(picture.small_png(drawn.preview))
    title = f"{dataset.name}: labels of tile {tile.name}"
    metric = image.grid.crs is not None and in_metres(image.grid)
    links = [asset_link(dataset.name, LABEL_QUALITY, tile.name)]
    html = page.render("label_quality.html", links=links, title=title, summary=summary, pictures=drawn, metric=metric)
    (stage.path / PAGE).write_text(html, encoding="utf-8")


def examine(
    stage: Stage,
    dataset: Dataset,
    legend: Legend,
    tile: Tile,
    image: raster.Raster,
    ground_truth: Product,
    cut: Cut,
    small: picture.RGB,
) -> tuple[Row, pictures.Pictures]:
    """The summary and the pictures of a tile with labels; the correlation is written as surface.npy.

    Args:
        small: the tile's image, reduced.
    """
    measured = measure(dataset, legend, tile, image, ground_truth)
    topology = topologies.examine(measured.polygons, measured.grid, measured.codes) if measured.polygons else None
    truth_summary = ground_truth.json(SUMMARY)
    advice = advised(dataset, tile.shift, measured.shift)
    if measured.shift is not None:
        np.save(stage.path / SURFACE, measured.shift.surface, allow_pickle=False)
    shift = measured.shift.row if measured.shift is not None and measured.shift.certain else None
    summary = {
        "tile": tile.name,
        "shift": shift,
        "shift_pixels": shift and shift["pixels"],
        "confidence": None if measured.shift is None else round(measured.shift.confidence, 2),
        "moved": list(tile.shift),
        "advice": advice and line({tile.name: advice}),
        "pixel": resolution(image.grid),
        "unit_of_area": unit_of_area(image.grid),
        **(topology.facts if topology else {}),
        "worst": list(topology.worst) if topology else None,
        "codes": truth_summary["codes"],
        "classes": class_areas(legend, truth_summary, cut.count(), resolution(image.grid) ** 2),
        "notes": [*truth_summary["notes"], *remarks(measured.shift, topology)],
    }
    return summary, pictures.draw(small, measured.block, measured.shift, tile.shift, advice, topology, image.shape)


@dataclass
class Measurements:
    """What was measured of a tile's labels: their shift, the block with most borders, and the polygons if any.

    `grid` is where the orthophoto's grid lies among the labels.
    """

    shift: Shift | None
    block: pictures.Block | None
    polygons: Polygons | None
    grid: GeoBox
    codes: Coding


@dataclass
class DensestBlock:
    """Running maximum: keeps the block that holds most label borders, for the pictures."""

    bands: Sequence[str]
    _image: NDArray[Any] | None = None
    _edges: shifts.Plane = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def add(self, image: NDArray[Any], classes: NDArray[np.uint8]) -> None:
        """Takes note of a block: image (band, y, x) and classes (y, x)."""
        edges = shifts.label_edges(classes)
        if edges.sum() > self._edges.sum():
            self._image, self._edges = image, edges

    def block(self) -> pictures.Block | None:
        """The block as a picture; None where no block had borders."""
        if self._image is None:
            return None
        return pictures.Block(picture.display(self._image, self.bands), self._edges > 0)


def measure(dataset: Dataset, legend: Legend, tile: Tile, image: raster.Raster, ground_truth: Product) -> Measurements:
    """Measures the shift of a tile's labels on blocks of its image."""
    codes = truth.code_numbers(dataset, legend, tile)
    windows = shifts.spread_blocks(image.shape, reduced_edges(ground_truth.file(CLASS_RASTER)))
    labels = truth.read_labels(dataset, legend, tile, image, windows, codes)
    densest = DensestBlock(dataset.bands)
    with raster.reader(image, nodata=dataset.nodata) as pixels:

        def blocks() -> Iterator[tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8]]]:
            for window, strip in zip(windows, labels.strips, strict=True):
                data, classes = pixels.read(window), to_classes(strip, codes)
                densest.add(data, classes)
                yield data, pixels.valid(window, data), classes

        shift = shifts.measure(blocks())
    return Measurements(shift, densest.block(), labels.polygons, labels.grid, codes)


def reduced_edges(classes: Path) -> shifts.Plane:
    """Where classes change in a reduced picture of a class raster, ignored bands along borders included."""
    shown = raster.thumbnail(raster.inspect(classes), SCAN)[0]
    edges = np.zeros(shown.shape, np.float32)
    edges[1:] += shown[1:] != shown[:-1]
    edges[:, 1:] += shown[:, 1:] != shown[:, :-1]
    return edges


def advised(dataset: Dataset, before: tuple[float, float], shift: Shift | None) -> tuple[float, float] | None:
    """The `shift` (right, down) that puts labels right which have `before`; None where nothing better is known."""
    if shift is None or not shift.certain:
        return None
    advice = shifts.advised(shift, before, step=0.5 if dataset.labels.kind == "vector" else 1.0)
    return None if advice == tuple(before) else advice


def line(advice: Mapping[str, tuple[float, float]]) -> str:
    """The line of a dataset's YAML that moves the labels of tiles."""
    tiles = ", ".join(f"{name}: {{shift: [{right:g}, {down:g}]}}" for name, (right, down) in advice.items())
    return f"tiles: {{overrides: {{{tiles}}}}}"


def remarks(shift: Shift | None, topology: Topology | None) -> list[str]:
    """What could not be measured, and why."""
    confidence = 0.0 if shift is None else shift.confidence
    texts = {
        "shift: no borders between classes to measure it by": shift is None,
        f"shift: nothing can be said (confidence {confidence:.1f}, {shifts.LEAST_CONFIDENCE:g} needed) of this tile "
        "alone; the check `common_shift` asks all tiles together": shift is not None and not shift.certain,
        "topology: labels are no polygons": topology is None,
        "overlaps: there are more, the examination stopped at its limit": topology is not None
        and not topology.complete,
    }
    return [text for text, holds in texts.items() if holds]


def class_areas(
    legend: Legend, summary: Mapping[str, Any], counts: tuple[Counts, Counts, int], unit: float
) -> list[Row]:
    """Area of each class in the labels, the class raster and the patches, a row each; a last one for ignored pixels.

    The labels' area is that of the class's codes. What the patches hold is compared with the class raster at the pixels
    that they cover, each pixel once, and must be the same.

    Args:
        summary: of the ground truth.
        counts: as of `Cut.count`.
        unit: area of a pixel.
    """
    held, covered, different = counts
    names = [*legend.names, IGNORE_NAME]
    numbers = [*(c.id for c in legend.classes), IGNORE]
    raster_pixels = [*(row["pixels"] for row in summary["classes"]), summary["pixels"] - summary["labelled_pixels"]]
    areas = dict.fromkeys(names, 0.0)
    class_names = {c.id: c.name for c in legend.classes}
    class_of_code = {code: class_names.get(number, IGNORE_NAME) for code, number in legend.class_of_code.items()}
    for row in summary["codes"]:
        areas[row.get("class") or class_of_code[row["code"]]] += row["polygon_area"]
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


def shift_problems(dataset: Dataset, summary: Row) -> list[Problem]:
    """What the check refuses: labels further beside the image than the dataset's limit."""
    shift = summary.get("shift")
    if not shift or shift["pixels"] <= dataset.limits.max_shift:
        return []
    where = f"tile {summary['tile']}: labels lie {shift['pixels']:.1f} px beside the image"
    expected = f"at most {dataset.limits.max_shift:g} px (`limits.max_shift`)"
    actual = f"{shift['right']:g} px right and {shift['down']:g} px down would put them right"
    fix = f"look at the page; then set `{summary['advice']}` in {file_label('datasets', dataset.name)}"
    return [Problem(where, f"{actual} (confidence {summary['confidence']:g})", expected, fix)]


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


def area_words(summary: Row, kind: str) -> str:
    """Area of the faults of a kind with its unit; a small one with the digits that it has."""
    area = summary[f"{kind}_area"]
    return f"{area:,.1f} {summary['unit_of_area']}" if area >= 1 else f"{area:.2g} {summary['unit_of_area']}"


def topology_problems(summary: Row) -> list[Problem]:
    """What the check warns of: gaps between polygons, overlaps, and slivers."""
    return [
        Problem(
            f"tile {summary['tile']}",
            f"{pluralise(summary[kind], kind[:-1])} ({area_words(summary, kind)})",
            f"no {kind}",
            "correct the worst polygons that the page lists, at their source",
        )
        for kind in ("gaps", "overlaps", "slivers")
        if summary.get(kind)
    ]
