"""Ground truth of a tile: its labels as classes on the orthophoto's grid, and what was decided on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.grid import Window, blocks, resolution, unit_of_area
from landcover_orch.ground_truth import VERSION, areas, borders
from landcover_orch.labels import components, composites, compositions, corrections, polygons, rasterise, rasters
from landcover_orch.labels.codes import Coding, Strip, coding, tally, to_classes
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.labels.polygons import Features, Polygons
from landcover_orch.legend import IGNORE, IGNORE_NAME, Legend
from landcover_orch.pages import picture
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import CLASS_RASTER, GROUND_TRUTH, PREVIEW, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage, publish
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

POLYGONS = "polygons.tif"
COMPOSITION = "composition.parquet"
RADIOMETRY = "radiometry.png"
STRIP_ROWS = 512
"""Rows worked on at a time; as many as a block of the class raster has, and more than the widest border band."""

PREVIEW_SIDE = 320


def build(dataset: Dataset, legend: Legend, tile: Tile, home: Path) -> Product:
    """The published ground truth of a tile: classes.tif, summary.json and preview.png; all ignored without labels.

    Where the tile's radiometry is matched to another's, also radiometry.png: before and after.

    Where the legend keeps the fractions of composites, also polygons.tif (uint32, 0 = none) and composition.parquet
    (see `compositions.write_fractions`): each labelled polygon and the fraction of it that each class takes. Where
    labels are component rasters, all pixels of one combination of covers stand for a polygon.

    Works strip by strip, so that memory does not grow with the tile's height.

    Raises:
        UnknownCodeError: codes that the legend lacks, all of them with counts and first positions.
        LabelError: labels that cannot be read as the dataset says, or that lie on another grid.
    """
    folder = home / dataset.name / GROUND_TRUTH
    present = partial(recipe, dataset, legend, tile, home)
    return publish(folder, tile.name, present(), lambda stage: _write(stage, dataset, legend, tile), present=present)


def recipe(dataset: Dataset, legend: Legend, tile: Tile, home: Path) -> Recipe:
    """What the ground truth of a tile is made of."""
    image, label = tile_fingerprints(tile, home / MEMORY)
    return Recipe(
        asset=GROUND_TRUTH,
        version=VERSION,
        inputs={"image": image, "label": label},
        configuration={
            "labels": dataset.labels,
            "layer": tile.layer,
            "legend": legend.model_dump(mode="json", exclude={"description"}),
            "imagery": dataset.imagery,
        },
    )


@dataclass(frozen=True)
class LabelStrips:
    """Labels of a tile ready to be read: strips of code numbers for windows of the orthophoto's grid.

    `polygons` are the polygons, where labels are some, and `grid` is where the orthophoto's grid lies among them:
    another one, where the tile's labels are shifted. `components` are the component rasters, where labels are some.
    """

    strips: Iterator[Strip]
    polygons: Polygons | None
    grid: GeoBox
    shift: tuple[float, float]
    corrected: corrections.Corrected | None = None
    components: components.Components | None = None

    @property
    def notes(self) -> list[str]:
        """What was done to the labels."""
        right, down = self.shift
        moved_by = [f"labels moved by {right:g} px to the right and {down:g} px down, as `shift` says"]
        return [*([] if self.polygons is None else self.polygons.notes), *(moved_by if any(self.shift) else [])]


def _write(stage: Stage, dataset: Dataset, legend: Legend, tile: Tile) -> None:
    image = imagery.inspect(dataset, tile.images)
    codes = code_numbers(dataset, legend, tile)
    windows = blocks(image.shape, STRIP_ROWS, image.shape[1])
    labels = read_labels(dataset, legend, tile, image, windows, codes)
    counts, width = TruthCounts(codes), borders.widths(legend, image.grid)
    with raster.reader(image, nodata=dataset.nodata) as pixels:
        strips = counts.classes(labels.strips, windows, pixels)
        raster.write_cog(
            stage.path / CLASS_RASTER,
            image.grid,
            zip(windows, counts.without_borders(strips, width), strict=True),
            band="class",
            palette=legend.palette,
            names=legend.names,
            nodata=IGNORE,
        )
    if legend.composites.fractions_kept and decides(dataset):
        write_fractions(stage, dataset, legend, labels, image, windows)
    code_areas = check_areas(dataset, legend, labels, counts, codes)
    summary = summarise(tile, legend, image.grid, code_areas, counts, labels.notes)
    if decides(dataset):
        summary["decisions"] = areas.decision_rows(code_areas, image.grid)
    if width.any():
        summary["borders"] = borders.pair_rows(counts.borders(len(legend.names)), width, legend.names, image.grid)
    if labels.corrected:
        summary |= corrections_summary(legend, labels.corrected, labels.grid, windows, codes)
    stage.write_json(SUMMARY, summary)
    (stage.path / PREVIEW).write_bytes(preview(stage.path / CLASS_RASTER, image, dataset, legend))
    if image.tables:
        (stage.path / RADIOMETRY).write_bytes(before_and_after(image, dataset))


def code_numbers(dataset: Dataset, legend: Legend, tile: Tile) -> Coding:
    """Numbers for what strips hold: the legend's codes, or the decisions on composites."""
    unlabelled = dataset.labels.unlabelled if tile.label else IGNORE_NAME
    return (composites.coding if decides(dataset) else coding)(legend, unlabelled)


def decides(dataset: Dataset) -> bool:
    """Whether labels may hold several covers, so that a table of decisions is part of the summary."""
    return dataset.labels.composite or dataset.labels.kind == "components"


def read_labels(
    dataset: Dataset, legend: Legend, tile: Tile, image: raster.Raster, windows: Sequence[Window], codes: Coding
) -> LabelStrips:
    """The labels of a tile, shifted as its `shift` says, in windows of its orthophoto's grid.

    Raises:
        LabelError: labels that cannot be read as the dataset says, or that lie on another grid.
    """
    if tile.label is None:
        bare = (np.full((w.height, w.width), codes.unlabelled, np.uint16) for w in windows)
        return LabelStrips(bare, None, image.grid, (0.0, 0.0))
    right, down = tile.shift
    label_grid = image.grid.translate_pix(-right, -down) if any(tile.shift) else image.grid
    read: rasters.Read[np.uint16]
    parts: components.Components | None = None
    match dataset.labels.kind:
        case "vector":
            outlines, corrected = read_polygons(dataset, legend, tile, tile.label, image.grid, label_grid, codes)
            touched = legend.all_touched
            strips = rasterise.strips(outlines, label_grid, windows, all_touched=touched, fill=codes.unlabelled)
            return LabelStrips(strips, outlines, label_grid, tile.shift, corrected)
        case "components":
            components.require_alignment(dataset, tile, tile.label, image)
            parts = components.Components(tile.components, legend, codes)
            read = parts.strips
        case "raster":
            source = label_raster(dataset, tile.label, image)
            read = partial(rasters.strips, source, legend=legend, coding=codes)
        case "rgb":
            source = label_raster(dataset, tile.label, image)
            read = partial(rasters.colour_strips, source, legend=legend, coding=codes)
        case _:
            assert_never(dataset.labels.kind)
    strips = _shifted(read, windows, image, tile.shift, np.uint16(codes.unlabelled))
    return LabelStrips(strips, None, label_grid, tile.shift, components=parts)


def label_raster(dataset: Dataset, path: Path, image: raster.Raster) -> raster.Raster:
    """A label raster of codes or colours, which must lie on its orthophoto's grid.

    Raises:
        LabelError: it lies on another one.
    """
    source = imagery.placed(dataset, raster.inspect(path), image)
    rasters.require_grid(source, image.grid)
    return source


def _shifted(
    read: rasters.Read[rasters.Numbers],
    windows: Sequence[Window],
    image: raster.Raster,
    shift: tuple[float, float],
    fill: rasters.Numbers,
) -> Iterator[NDArray[rasters.Numbers]]:
    right, down = shift
    if not any(shift):
        return read(windows)
    return rasters.shifted(read, windows, image.shape, (round(right), round(down)), fill)


def read_polygons(
    dataset: Dataset, legend: Legend, tile: Tile, path: Path, grid: GeoBox, label_grid: GeoBox, codes: Coding
) -> tuple[Polygons, corrections.Corrected | None]:
    """The polygons of a tile, corrected where somebody corrected them, and what the corrections did.

    Args:
        path: the label file.
        grid: of the orthophoto.
        label_grid: where that grid lies among the labels.
    """
    labels = dataset.labels
    column = labels.id if labels.content == "values" else labels.attribute
    features = polygons.read(path, tile.layer, column, label_grid, name=labels.id)

    def encode(features: Features) -> Polygons:
        match labels.content:
            case "code":
                return polygons.coded(features, legend, codes)
            case "siose" | "largest" | "values":
                return compositions.decided(features, path, labels, legend, codes)
            case _:
                assert_never(labels.content)

    corrected = corrections.corrected(features, tile.corrections, labels, grid, label_grid, encode)
    return (corrected.after if corrected else encode(features)), corrected


def corrections_summary(
    legend: Legend, corrected: corrections.Corrected, grid: GeoBox, windows: Sequence[Window], codes: Coding
) -> dict[str, Any]:
    """How many polygons were replaced and drawn over, and how many pixels went from which code to which."""
    before, after = (
        rasterise.strips(outlines, grid, windows, all_touched=legend.all_touched, fill=codes.unlabelled)
        for outlines in (corrected.before, corrected.after)
    )
    return {
        "corrected_polygons": {"replaced": corrected.replaced, "drawn": corrected.drawn},
        "corrections": corrections.changes(before, after, codes, grid),
    }


def write_fractions(
    stage: Stage,
    dataset: Dataset,
    legend: Legend,
    labels: LabelStrips,
    image: raster.Raster,
    windows: Sequence[Window],
) -> None:
    """Writes the raster of polygon numbers, 0 where the image has no data, and the table of their class fractions.

    Numbers (y, x) are those of polygons, or of combinations of components, from 1. Nothing without any.
    """
    names: Sequence[str] = ()
    strips: Iterator[NDArray[np.uint32]]
    if labels.components:
        names, decisions = labels.components.names, labels.components.decisions
        strips = _shifted(labels.components.numbered, windows, image, labels.shift, np.uint32(0))
    elif labels.polygons:
        names, decisions = labels.polygons.names, labels.polygons.decisions
        numbers, shapes = np.arange(1, len(names) + 1, dtype=np.uint32), labels.polygons.geometry
        strips = rasterise.rasterise(shapes, numbers, labels.grid, windows, all_touched=legend.all_touched, fill=0)
    if not names:
        return
    with raster.reader(image, nodata=dataset.nodata) as pixels:
        pieces = (
            (window, np.where(pixels.valid(window), strip, np.uint32(0))[None])
            for window, strip in zip(windows, strips, strict=True)
        )
        raster.write_tiled(stage.path / POLYGONS, image.grid, "uint32", ("polygon",), pieces)
    compositions.write_fractions(stage.path / COMPOSITION, names, decisions)


class TruthCounts:
    """Pixel counts: turns strips of code numbers into classes and counts every decision on the way, each pixel once."""

    def __init__(self, codes: Coding) -> None:
        self._codes = codes
        self.pixels = np.zeros(len(codes.codes) + 1, np.int64)
        self.class_pixels = np.zeros(IGNORE + 1, np.int64)
        self.image_nodata = 0
        self._borders = np.zeros((IGNORE + 1) ** 2, np.int64)

    def classes(
        self, strips: Iterable[Strip], windows: Sequence[Window], image: raster.Reader
    ) -> Iterator[NDArray[np.uint8]]:
        """Class ids (y, x) of each strip, 255 where the legend ignores the code or the image has no data."""
        for strip, window in zip(strips, windows, strict=True):
            self.pixels += tally(strip, self.pixels.size)
            classes = to_classes(strip, self._codes)
            if image.may_be_invalid:
                lost = ~image.valid(window) & (classes != IGNORE)
                classes[lost] = IGNORE
                self.image_nodata += int(lost.sum())
            yield classes

    def without_borders(
        self, strips: Iterable[NDArray[np.uint8]], width: borders.Widths
    ) -> Iterator[NDArray[np.uint8]]:
        """The strips with the band along class borders ignored."""
        for classes, near in borders.bands(strips, width):
            border = near != IGNORE
            joint = classes[border].astype(np.uint16) << 8 | near[border]
            self._borders += tally(joint, self._borders.size)
            final = np.where(border, np.uint8(IGNORE), classes)
            self.class_pixels += tally(final, IGNORE + 1)
            yield final

    def borders(self, classes: int) -> NDArray[np.int64]:
        """Pixels of each class that are ignored for the class across a border (class, class)."""
        return self._borders.reshape(IGNORE + 1, IGNORE + 1)[:classes, :classes]

    def ignored(self) -> dict[str, int]:
        """Ignored pixels by the rule that ignored them; each counts under the first rule that meets it."""
        by_code = self._codes.classes == IGNORE
        undecided = np.zeros(len(self._codes.codes), bool)
        if self._codes.decisions:
            undecided[:] = [decision.how in composites.UNDECIDED for decision in self._codes.decisions]
        return {
            "code ignored by the legend": int(self.pixels[:-1][by_code[:-1] & ~undecided].sum()),
            **({"composite": int(self.pixels[:-1][undecided].sum())} if undecided.any() else {}),
            "unlabelled": int(self.pixels[-1]) if by_code[-1] else 0,
            "image without data": self.image_nodata,
            "border between classes": int(self._borders.sum()),
        }


def check_areas(
    dataset: Dataset, legend: Legend, labels: LabelStrips, counts: TruthCounts, codes: Coding
) -> list[areas.CodeArea]:
    """Area check of each code of the legend or, where labels hold several covers, of each decision that was taken."""
    tolerance = dataset.labels.area_tolerance
    if labels.polygons is None:
        rows = areas.raster_areas(counts.pixels, labels.grid, codes, tolerance)
    else:
        rows = areas.area_check(
            labels.polygons, labels.grid, counts.pixels, codes, all_touched=legend.all_touched, tolerance=tolerance
        )
    return [row for row in rows if row.polygons or row.pixels] if decides(dataset) else rows


def summarise(
    tile: Tile, legend: Legend, grid: GeoBox, code_areas: list[areas.CodeArea], counts: TruthCounts, notes: list[str]
) -> dict[str, Any]:
    """The summary of a tile's ground truth: pixels by class and by code, and why pixels are ignored."""
    total, unit = int(counts.class_pixels.sum()), resolution(grid) ** 2
    labelled = total - int(counts.class_pixels[IGNORE])
    names = {**{c.id: c.name for c in legend.classes}, IGNORE: IGNORE_NAME}
    class_of_code = {code: names[number] for code, number in legend.class_of_code.items()}
    return {
        "tile": tile.name,
        "pixels": total,
        "labelled_pixels": labelled,
        "labelled": labelled / total,
        "classes": [
            {"class": c.name, "pixels": int(n), "area": round(int(n) * unit, 3), "share": int(n) / max(labelled, 1)}
            for c, n in zip(legend.classes, counts.class_pixels, strict=False)
        ],
        "codes": [area.row(area.decision.name if area.decision else class_of_code[area.code]) for area in code_areas],
        "areas_agree": all(area.agrees for area in code_areas),
        "unit_of_area": unit_of_area(grid),
        IGNORE_NAME: counts.ignored(),
        "unlabelled_pixels": int(counts.pixels[-1]),
        "notes": notes,
    }


def preview(classes: Path, image: raster.Raster, dataset: Dataset, legend: Legend) -> bytes:
    """Preview picture (PNG): the image, what of it is labelled, and the classes over it."""
    truth = raster.thumbnail(raster.inspect(classes), PREVIEW_SIDE)[0]
    shown = picture.display(raster.thumbnail(image, PREVIEW_SIDE), dataset.bands)
    over = picture.overlay(shown, truth, legend.palette)
    return picture.small_png(picture.hstack([shown, picture.interpreted(shown, truth), over]))


def before_and_after(image: raster.Raster, dataset: Dataset) -> bytes:
    """The image as its file is and as it is read (PNG), equally stretched, so that what was matched is what differs."""
    pair = [raster.thumbnail(version, PREVIEW_SIDE) for version in (image.unmatched, image)]
    shown = picture.display(np.concatenate(pair, axis=2), dataset.bands)
    return picture.small_png(shown)
