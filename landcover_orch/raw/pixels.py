"""Checks of a raster by itself: CRS, bands, dtype, size, whole blocks, values."""

from __future__ import annotations

from functools import partial

from landcover_orch.config import Dataset
from landcover_orch.errors import RasterError
from landcover_orch.grid import blocks
from landcover_orch.raster import Raster, reader, truncated_blocks
from landcover_orch.raw.catalogue import Tile
from landcover_orch.raw.findings import Sheet

SMALL = 2**24
"""Pixels up to which a raster is read whole by every check; deep checks hold this many in memory at once."""


def check_image(sheet: Sheet, dataset: Dataset, tile: Tile, raster: Raster, *, deep: bool) -> None:
    """Writes down what is wrong with an orthophoto."""
    check_place(sheet, dataset, raster)
    _bands(sheet, dataset, raster)
    _dtype(sheet, dataset, tile, raster)
    if check_blocks(sheet, raster) and (deep or is_small(raster)):
        _values(sheet, dataset, raster)


def check_place(sheet: Sheet, dataset: Dataset, raster: Raster) -> None:
    """Writes down a missing CRS or georeference, and a raster beyond the dataset's limit of pixels."""
    if raster.crs is None:
        fix = "state it once with gdal_edit.py -a_srs EPSG:n"
        sheet.problem(raster.path, "no CRS", "a coordinate reference system", fix)
    if raster.grid.affine.is_identity:
        fix = "add it with gdal_edit.py -a_ullr"
        sheet.problem(raster.path, "no georeference", "the corner's coordinates and the size of a pixel", fix)
    height, width = raster.shape
    if height * width > dataset.limits.max_pixels:
        sheet.problem(
            raster.path,
            f"{height} x {width} = {height * width:,} pixels",
            f"at most {dataset.limits.max_pixels:,} (`limits.max_pixels`)",
            "cut the tile, or raise the limit",
        )


def _bands(sheet: Sheet, dataset: Dataset, raster: Raster) -> None:
    if raster.mask == "alpha" and raster.count + 1 == len(dataset.bands):
        # GDAL tags the fourth band of a uint8 file as transparency unless it is told otherwise
        sheet.problem(
            raster.path,
            f"{raster.count} bands and one tagged as transparency (alpha)",
            f"{len(dataset.bands)}: {', '.join(dataset.bands)}",
            f"name the band for what it is: gdal_edit.py -colorinterp_{len(dataset.bands)} undefined {raster.path}",
        )
    elif raster.count != len(dataset.bands):
        sheet.problem(
            raster.path,
            f"{raster.count} bands",
            f"{len(dataset.bands)}: {', '.join(dataset.bands)}",
            "correct the dataset's `bands`, or select the bands with gdal_translate -b",
        )


def _dtype(sheet: Sheet, dataset: Dataset, tile: Tile, raster: Raster) -> None:
    stored = tile.stored_dtype or dataset.dtype
    if raster.dtype != stored:
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
