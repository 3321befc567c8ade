"""The ground truth of a tile: its labels as classes on the orthophoto's grid, and what was decided on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.grid import Window, blocks, moved, resolution
from landcover_orch.ground_truth import VERSION, areas, borders
from landcover_orch.labels import components, composites, compositions, corrections, polygons, rasterise, rasters
from landcover_orch.labels.codes import Coding, Strip, coding, tally, to_classes
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.legend import IGNORE, IGNORE_NAME, Legend
from landcover_orch.pages import picture
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.publish import Product, Recipe, Stage, publish
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

ASSET = "ground_truth"
CLASSES = "classes.tif"
POLYGONS = "polygons.tif"
COMPOSITION = "composition.parquet"
SUMMARY = "summary.json"
PREVIEW = "preview.png"
RADIOMETRY = "radiometry.png"
STRIP_ROWS = 512
"""Rows worked on at a time; as many as a block of the class raster has, and more than the widest border band."""

PREVIEW_SIDE = 320


def build(dataset: Dataset, legend: Legend, tile: Tile, home: Path) -> Product:
    """The published ground truth of a tile: classes.tif, summary.json and preview.png; all ignored without labels.

    Where the tile's radiometry is matched to another's, also radiometry.png: before and after.

    Where the legend keeps the shares of composites, also polygons.tif (uint32, 0 = none) and composition.parquet (see
    `compositions.write_shares`): each labelled polygon and the share of it that each class takes. Where labels are
    component rasters, all pixels of one combination of covers stand for a polygon.

    Works strip by strip, so that memory does not grow with the tile's height.

    Raises:
        UnknownCodeError: codes that the legend lacks, all of them with counts and first positions.
        LabelError: labels that cannot be read as the dataset says, or that lie on another grid.
    """
    folder = home / dataset.name / ASSET
    return publish(
        folder, tile.name, recipe(dataset, legend, tile, home), lambda stage: _write(stage, dataset, legend, tile)
    )


def recipe(dataset: Dataset, legend: Legend, tile: Tile, home: Path) -> Recipe:
    """What the ground truth of a tile is made of."""
    image, label = tile_fingerprints(tile, home / MEMORY)
    return Recipe(
        asset=ASSET,
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

    `found` are the polygons, where labels are some, and `place` is where the orthophoto's grid lies among them: beside
    itself, where the tile's labels are moved. `components` are the component rasters, where labels are some.
    """

    strips: Iterator[Strip]
    found: polygons.Polygons | None
    place: GeoBox
    shift: tuple[float, float]
    corrected: corrections.Corrected | None = None
    components: components.Components | None = None

    @property
    def notes(self) -> list[str]:
        """What was done to the labels."""
        right, down = self.shift
        told = [f"labels moved by {right:g} px to the right and {down:g} px down, as `shift` says"]
        return [*([] if self.found is None else self.found.notes), *(told if any(self.shift) else [])]


def _write(stage: Stage, dataset: Dataset, legend: Legend, tile: Tile) -> None:
    image = imagery.inspect(dataset, tile.images)
    codes = code_numbers(dataset, legend, tile)
    windows = blocks(image.shape, STRIP_ROWS, image.shape[1])
    labels = read_labels(dataset, legend, tile, image, windows, codes)
    tally, width = _Tally(codes), borders.widths(legend, image.grid)
    with raster.reader(image, nodata=dataset.nodata) as pixels:
        strips = tally.classes(labels.strips, windows, pixels)
        raster.write_cog(
            stage.path / CLASSES,
            image.grid,
            zip(windows, tally.without_borders(strips, width), strict=True),
            band="class",
            palette=legend.palette,
            names=legend.names,
            nodata=IGNORE,
        )
    if legend.composites.fractions_kept and decides(dataset):
        _write_shares(stage, dataset, legend, labels, image, windows)
    rows = _rows(dataset, legend, labels, tally, codes)
    summary = _summary(tile, legend, image.grid, rows, tally, labels.notes)
    if decides(dataset):
        summary["decisions"] = areas.decisions(rows, image.grid)
    if width.any():
        summary["borders"] = borders.pair_rows(tally.borders(len(legend.names)), width, legend.names, image.grid)
    if labels.corrected:
        summary |= _corrections(legend, labels.corrected, labels.place, windows, codes)
    stage.write_json(SUMMARY, summary)
    (stage.path / PREVIEW).write_bytes(_preview(stage.path / CLASSES, image, dataset, legend))
    if image.tables:
        (stage.path / RADIOMETRY).write_bytes(_before_and_after(image, dataset))


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
    """The labels of a tile, moved as its `shift` says, in windows of its orthophoto's grid.

    Raises:
        LabelError: labels that cannot be read as the dataset says, or that lie on another grid.
    """
    if tile.label is None:
        bare = (np.full((w.height, w.width), codes.unlabelled, np.uint16) for w in windows)
        return LabelStrips(bare, None, image.grid, (0.0, 0.0))
    right, down = tile.shift
    place = moved(image.grid, -right, -down) if any(tile.shift) else image.grid
    if dataset.labels.kind == "vector":
        found, corrected = _polygons(dataset, legend, tile, tile.label, image.grid, place, codes)
        burnt = rasterise.strips(found, place, windows, all_touched=legend.all_touched, fill=codes.unlabelled)
        return LabelStrips(burnt, found, place, tile.shift, corrected)
    unlabelled = np.uint16(codes.unlabelled)
    if dataset.labels.kind == "components":
        components.require_place(dataset, tile, tile.label, image)
        parts = components.Components(tile.components, legend, codes)
        strips = _shifted(parts.strips, windows, image, tile.shift, unlabelled)
        return LabelStrips(strips, None, place, tile.shift, components=parts)
    read = _raster_labels(dataset, legend, tile.label, image, codes)
    return LabelStrips(_shifted(read, windows, image, tile.shift, unlabelled), None, place, tile.shift)


def _raster_labels(
    dataset: Dataset, legend: Legend, label: Path, image: raster.Raster, codes: Coding
) -> rasters.Read[np.uint16]:
    source = imagery.placed(dataset, raster.inspect(label), image)
    rasters.require_grid(source, image.grid)
    read = rasters.strips if dataset.labels.kind == "raster" else rasters.colour_strips
    return lambda windows: read(source, windows, legend, codes)


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
    return rasters.moved(read, windows, image.shape, (round(right), round(down)), fill)


def _polygons(
    dataset: Dataset, legend: Legend, tile: Tile, path: Path, grid: GeoBox, place: GeoBox, codes: Coding
) -> tuple[polygons.Polygons, corrections.Corrected | None]:
    labels = dataset.labels
    column = labels.id if labels.content == "values" else labels.attribute
    found = polygons.read(path, tile.layer, column, place, name=labels.id)

    def turned(features: polygons.Features) -> polygons.Polygons:
        if labels.composite:
            return compositions.decided(features, path, labels, legend, codes)
        return polygons.coded(features, legend, codes)

    corrected = corrections.corrected(found, tile.corrections, labels, grid, place, turned)
    return (corrected.after if corrected else turned(found)), corrected


def _corrections(
    legend: Legend, corrected: corrections.Corrected, place: GeoBox, windows: Sequence[Window], codes: Coding
) -> dict[str, Any]:
    """How many polygons were replaced and drawn over, and what became of which ground."""
    before, after = (
        rasterise.strips(found, place, windows, all_touched=legend.all_touched, fill=codes.unlabelled)
        for found in (corrected.before, corrected.after)
    )
    changed = corrections.changes(before, after, codes, place)
    return {
        "corrected_polygons": {"replaced": corrected.replaced, "drawn": corrected.drawn},
        "corrections": changed,
    }


def _write_shares(
    stage: Stage,
    dataset: Dataset,
    legend: Legend,
    labels: LabelStrips,
    image: raster.Raster,
    windows: Sequence[Window],
) -> None:
    """The raster of polygons, 0 where the image has no data, and the table of their shares; nothing without any."""
    names, decisions, strips = _numbered(legend, labels, image, windows)
    if not names:
        return
    with raster.reader(image, nodata=dataset.nodata) as pixels:
        pieces = (
            (window, np.where(pixels.valid(window), strip, np.uint32(0))[None])
            for window, strip in zip(windows, strips, strict=True)
        )
        raster.write_tiled(stage.path / POLYGONS, image.grid, "uint32", ("polygon",), pieces)
    compositions.write_shares(stage.path / COMPOSITION, names, decisions)


def _numbered(
    legend: Legend, labels: LabelStrips, image: raster.Raster, windows: Sequence[Window]
) -> tuple[Sequence[str], Sequence[composites.Decision], Iterator[NDArray[np.uint32]]]:
    """Names of and decisions on polygons, or on the combinations of components, and their numbers (y, x) from 1."""
    parts, found = labels.components, labels.found
    if parts:
        return parts.names, parts.decisions, _shifted(parts.numbered, windows, image, labels.shift, np.uint32(0))
    if not found:
        return (), (), iter(())
    numbers = np.arange(1, len(found.names) + 1, dtype=np.uint32)
    strips = rasterise.burnt(found.geometry, numbers, labels.place, windows, all_touched=legend.all_touched, fill=0)
    return found.names, found.decisions, strips


class _Tally:
    """Turns strips of code numbers into classes and counts every decision on the way, each pixel once."""

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
        undecided = np.array([code.split(": ")[0] in composites.UNDECIDED for code in self._codes.codes])
        return {
            "code ignored by the legend": int(self.pixels[:-1][by_code[:-1] & ~undecided].sum()),
            **({"composite": int(self.pixels[:-1][undecided].sum())} if undecided.any() else {}),
            "unlabelled": int(self.pixels[-1]) if by_code[-1] else 0,
            "image without data": self.image_nodata,
            "border between classes": int(self._borders.sum()),
        }


def _rows(dataset: Dataset, legend: Legend, labels: LabelStrips, tally: _Tally, codes: Coding) -> list[areas.Row]:
    tolerance, grid = dataset.labels.area_tolerance, labels.place
    if labels.found is None:
        rows = areas.counted(tally.pixels, grid, codes, tolerance)
    else:
        rows = areas.area_check(
            labels.found, grid, tally.pixels, codes, all_touched=legend.all_touched, tolerance=tolerance
        )
    names = {**{c.id: c.name for c in legend.classes}, IGNORE: IGNORE_NAME}
    rows = [{**row, "class": names[int(number)]} for row, number in zip(rows, codes.classes, strict=False)]
    return [row for row in rows if row["polygons"] or row["pixels"]] if decides(dataset) else rows


def _summary(
    tile: Tile, legend: Legend, grid: GeoBox, rows: list[areas.Row], tally: _Tally, notes: list[str]
) -> dict[str, Any]:
    total, unit = int(tally.class_pixels.sum()), resolution(grid) ** 2
    labelled = total - int(tally.class_pixels[IGNORE])
    return {
        "tile": tile.name,
        "pixels": total,
        "labelled_pixels": labelled,
        "labelled": labelled / total,
        "classes": [
            {"class": c.name, "pixels": int(n), "area": round(int(n) * unit, 3), "share": int(n) / max(labelled, 1)}
            for c, n in zip(legend.classes, tally.class_pixels, strict=False)
        ],
        "codes": rows,
        "areas_agree": all(row["agrees"] for row in rows),
        IGNORE_NAME: tally.ignored(),
        "unlabelled_pixels": int(tally.pixels[-1]),
        "notes": notes,
    }


def _preview(classes: Path, image: raster.Raster, dataset: Dataset, legend: Legend) -> bytes:
    truth = raster.thumbnail(raster.inspect(classes), PREVIEW_SIDE)[0]
    shown = picture.display(raster.thumbnail(image, PREVIEW_SIDE), dataset.bands)
    over = picture.overlay(shown, truth, legend.palette)
    return picture.small_png(picture.hstack([shown, picture.interpreted(shown, truth), over]))


def _before_and_after(image: raster.Raster, dataset: Dataset) -> bytes:
    """The image as its file is and as it is read, stretched alike, so that what was matched is what differs."""
    pair = [raster.thumbnail(found, PREVIEW_SIDE) for found in (image.delivered, image)]
    shown = picture.display(np.concatenate(pair, axis=2), dataset.bands)
    return picture.small_png(shown)
