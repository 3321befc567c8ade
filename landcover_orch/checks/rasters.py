"""Checks of a raster by itself: CRS, bands, dtype, size, whole blocks, values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from landcover_orch.config import Dataset
from landcover_orch.errors import RasterError
from landcover_orch.grid import blocks
from landcover_orch.raster import Raster, reader, truncated_blocks
from landcover_orch.tiles import imagery
from landcover_orch.tiles.issues import Sheet
from landcover_orch.tiles.tile import Tile

SMALL = 2**24
"""Pixels up to which a raster is read whole by every check; deep checks hold this many in memory at once."""


def check_image(sheet: Sheet, dataset: Dataset, tile: Tile, *, deep: bool) -> Raster | None:
    """Writes down what is wrong with the files of a tile's image; the orthophoto's own facts, None if unreadable."""
    image: Raster | None = None
    added = tuple(band for file in dataset.tiles.further for band in file.bands)
    try:
        image = imagery.orthophoto(dataset, tile.image)
        _check_file(sheet, dataset, image, dataset.bands[: len(dataset.bands) - len(added)], deep=deep)
        _dtype(sheet, dataset, tile, image)
    except RasterError as error:
        sheet.problems_of(error)
    for i, path in enumerate(tile.further):
        sheet.attempt(partial(_check_further, sheet, dataset, i, path, image, deep=deep))
    return image


def _check_further(sheet: Sheet, dataset: Dataset, index: int, path: Path, image: Raster | None, *, deep: bool) -> None:
    file = imagery.added(dataset, index, path, image)
    problem = imagery.misfit(file, image) if image else None
    if problem:
        sheet.problem(problem.where, problem.found, problem.expected, problem.fix)
    _check_file(sheet, dataset, file, dataset.tiles.further[index].bands, deep=deep)


def _check_file(sheet: Sheet, dataset: Dataset, raster: Raster, names: Sequence[str], *, deep: bool) -> None:
    check_place(sheet, dataset, raster)
    _bands(sheet, raster, names)
    if check_blocks(sheet, raster) and (deep or is_small(raster)):
        _values(sheet, dataset, raster)


def check_place(sheet: Sheet, dataset: Dataset, raster: Raster) -> None:
    """Writes down a missing CRS or georeference, and a raster beyond the dataset's limit of pixels."""
    if raster.crs is None and dataset.crs != "none":
        fix = (
            "state it for all files by the dataset's `crs` (EPSG:n, or none with a `resolution`), or in the file with "
        )
        sheet.problem(raster.path, "no CRS", "a coordinate reference system", f"{fix}gdal_edit.py -a_srs EPSG:n")
    if raster.grid.affine.is_identity and dataset.crs != "none":
        fix = "add it with gdal_edit.py -a_ullr or a world file (.tfw), or set the dataset's `crs: none`"
        sheet.problem(raster.path, "no georeference", "the corner's coordinates and the size of a pixel", fix)
    height, width = raster.shape
    if height * width > dataset.limits.max_pixels:
        sheet.problem(
            raster.path,
            f"{height} x {width} = {height * width:,} pixels",
            f"at most {dataset.limits.max_pixels:,} (`limits.max_pixels`)",
            "cut the tile, or raise the limit",
        )


def _bands(sheet: Sheet, raster: Raster, names: Sequence[str]) -> None:
    if raster.mask == "alpha" and raster.count + 1 == len(names):
        # GDAL tags the fourth band of a uint8 file as transparency unless it is told otherwise
        sheet.problem(
            raster.path,
            f"{raster.count} bands and one tagged as transparency (alpha)",
            f"{len(names)}: {', '.join(names)}",
            f"name the band for what it is, by number in `tiles.select` or in the file: "
            f"gdal_edit.py -colorinterp_{len(names)} undefined {raster.path}",
        )
    elif raster.count != len(names):
        sheet.problem(
            raster.path,
            f"{raster.count} bands",
            f"{len(names)}: {', '.join(names)}",
            "correct the dataset's `bands`, or take some of the file's with `select`",
        )


def _dtype(sheet: Sheet, dataset: Dataset, tile: Tile, raster: Raster) -> None:
    """Writes down another dtype than the dataset's; beside further files, one whose values always fit will do."""
    stored = tile.stored_dtype or dataset.dtype
    if raster.dtype != stored and not (tile.further and np.can_cast(raster.dtype, stored)):
        sheet.problem(
            raster.path,
            f"pixels of {raster.dtype}",
            stored,
            f"correct the dataset's `dtype`, or set `tiles.overrides.{tile.name}.dtype: {raster.dtype}` "
            f"where every value fits {dataset.dtype}",
        )


def is_small(raster: Raster) -> bool:
    """Whether every check reads the raster whole."""
    return raster.shape[0] * raster.shape[1] <= SMALL


def check_blocks(sheet: Sheet, raster: Raster) -> bool:
    """Whether the file holds all its blocks; writes down how many its end cuts off, and where the first lies."""
    cut = truncated_blocks(raster)
    if cut:
        sheet.problem(
            raster.path,
            f"{len(cut)} blocks lie beyond the file's end, the first at row {cut[0].row}, column {cut[0].col}",
            "a whole file",
            "copy the file again from its source",
        )
    return not cut


def check_readable(sheet: Sheet, raster: Raster) -> None:
    """Reads every block and writes down the rows that cannot be read."""
    height = _strip_height(raster)
    with reader(raster, nodata="none") as source:
        for box in blocks(raster.shape, height, raster.shape[1]):
            sheet.attempt(partial(source.read, box))


def _values(sheet: Sheet, dataset: Dataset, raster: Raster) -> None:
    """Reads every block in the dataset's dtype; counts pixels that a nodata tag names in a band, and in all bands."""
    tagged = hidden = 0
    misfits: dict[str, RasterError] = {}
    with reader(raster, dataset.dtype, "none") as source:
        for box in blocks(raster.shape, _strip_height(raster), raster.shape[1]):
            try:
                hit = source.read(box) == raster.nodata
            except RasterError as error:
                misfits.setdefault(error.problems[0].where, error)
                continue
            tagged += int(hit.any(axis=0).sum())
            hidden += int(hit.all(axis=0).sum())
    for misfit in misfits.values():
        sheet.problems_of(misfit)
    if raster.nodata is not None:
        _tag(sheet, dataset, raster, tagged, hidden)


def _tag(sheet: Sheet, dataset: Dataset, raster: Raster, tagged: int, hidden: int) -> None:
    found = f"{raster.path}: the nodata tag {raster.nodata:g} is the value of a band in {tagged} pixels"
    if dataset.nodata == "none" and tagged:
        sheet.note(f"{found}; they count as data, as `nodata: none` says")
    elif dataset.nodata == "file" and tagged > hidden:
        sheet.note(f"{found}, but of all bands in {hidden}: if it is a legal value, set `nodata: none`")


def _strip_height(raster: Raster) -> int:
    block = raster.block[0]
    return max(1, SMALL // raster.shape[1] // block) * block
