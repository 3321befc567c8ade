"""Labels that arrive as component rasters: their files, their tables, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError, Problem
from landcover_orch.grid import crs_name
from landcover_orch.raster import Raster, inspect
from landcover_orch.raw import label_rasters
from landcover_orch.raw.catalogue import Tile
from landcover_orch.raw.findings import Sheet
from landcover_orch.raw.imagery import placed

GEOTIFF = (".tif", ".tiff")


def check(sheet: Sheet, dataset: Dataset, tile: Tile, label: Path, image: Raster | None) -> None:
    """Writes down what is wrong with a tile's components: their place, their shapes, their tables.

    Raises:
        RasterError: a file is neither GeoTIFF nor ENVI, cut short, or states another CRS than the dataset.
    """
    place = open_raster(label)
    if image is not None:
        placed_there = placed(dataset, place, image)
        if image.crs is not None and placed_there.crs is None:
            fix = "name one of the rasters that says where it lies as `tiles.label`"
            sheet.problem(label, "no CRS", f"that of its orthophoto, {crs_name(image.grid)}", fix)
        label_rasters.check_together(sheet, image, placed_there)
    for problem in misfits(tile, place):
        sheet.problem(problem.where, problem.found, problem.expected, problem.fix)
    for component in tile.components:
        try:
            table(component.table)
        except LabelError as error:
            sheet.problems_of(error)


def open_raster(path: Path) -> Raster:
    """What a component's raster says of itself: GeoTIFF by its ending, else ENVI.

    Raises:
        RasterError: it is neither, or cut short.
    """
    return inspect(path, "GTiff" if path.suffix.lower() in GEOTIFF else "ENVI")


def misfits(tile: Tile, place: Raster) -> list[Problem]:
    """The components of a tile that are not one band on the grid of the raster that says where they lie.

    A component may say nothing of its place, but then it must have that raster's shape.
    """
    paths = [path for part in tile.components for path in (part.code, part.percent) if path]
    expected = f"one band of {place.shape[0]} x {place.shape[1]} px on the grid of {place.path.name}"
    fix = "correct `labels.components` or `tiles.label`"
    return [
        Problem(
            str(path), f"{found.count} bands of {found.shape[0]} x {found.shape[1]} px{_where(found)}", expected, fix
        )
        for path in paths
        if not _fits(found := open_raster(path), place)
    ]


def _fits(found: Raster, place: Raster) -> bool:
    return found.count == 1 and found.shape == place.shape and (found.crs is None or found.grid == place.grid)


def _where(found: Raster) -> str:
    return (
        ""
        if found.crs is None
        else f" from {found.grid.affine.c:.1f}, {found.grid.affine.f:.1f} in {crs_name(found.grid)}"
    )


def table(path: Path | None) -> dict[float, str] | None:
    """Value -> cover of a text file with lines 'cover,value'; the cover may be blank. None without a file.

    Raises:
        LabelError: no text of UTF-8, lines that are no such pair, or a value that stands there twice; all of them.
    """
    if path is None:
        return None
    found: dict[float, str] = {}
    problems = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        cover, mark, value = line.rpartition(",")
        if not line.strip():
            continue
        if not mark or not _is_number(value) or float(value) in found:
            fix = "correct the line"
            problems.append(Problem(f"{path}:{number}", repr(line), "'cover,value', each value once", fix))
            continue
        found[float(value)] = cover.strip()
    if problems:
        raise LabelError(*problems)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(Problem(str(path), str(error), "a text in UTF-8", "convert it, or correct the key")) from error


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
