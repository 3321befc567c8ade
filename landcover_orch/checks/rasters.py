"""Raster checks: CRS, bands, dtype, size, complete blocks, values of a raster by itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from landcover_orch.config import Dataset
from landcover_orch.errors import RasterError, pluralise
from landcover_orch.grid import blocks
from landcover_orch.raster import Raster, reader, truncated_blocks
from landcover_orch.tiles import imagery
from landcover_orch.tiles.issues import IssueLog
from landcover_orch.tiles.tile import Tile

SMALL = 2**24
"""Pixels up to which a raster is read whole by every check; deep checks hold this many in memory at once."""


def check_image(log: IssueLog, dataset: Dataset, tile: Tile, *, deep: bool) -> Raster | None:
    """Writes down what is wrong with the files of a tile's image; the orthophoto's metadata, None if unreadable."""
    image: Raster | None = None
    added = tuple(band for file in dataset.tiles.further for band in file.bands)
    try:
        image = imagery.orthophoto(dataset, tile.image)
        _check_file(log, dataset, image, dataset.bands[: len(dataset.bands) - len(added)], deep=deep)
        check_dtype(log, dataset, tile, image)
    except RasterError as error:
        log.error(error)
    for i, path in enumerate(tile.further):
        log.catch(partial(check_further, log, dataset, i, path, image, deep=deep))
    return image


def check_further(log: IssueLog, dataset: Dataset, index: int, path: Path, image: Raster | None, *, deep: bool) -> None:
    """Writes down what is wrong with a file of further bands, by itself and against its orthophoto."""
    file = imagery.added(dataset, index, path, image)
    problem = imagery.misfit(file, image) if image else None
    if problem:
        log.problem(problem.where, problem.found, problem.expected, problem.fix)
    _check_file(log, dataset, file, dataset.tiles.further[index].bands, deep=deep)


def _check_file(log: IssueLog, dataset: Dataset, raster: Raster, names: Sequence[str], *, deep: bool) -> None:
    check_place(log, dataset, raster)
    check_bands(log, raster, names)
    if check_blocks(log, raster) and (deep or is_small(raster)):
        check_values(log, dataset, raster)


def check_place(log: IssueLog, dataset: Dataset, raster: Raster) -> None:
    """Writes down a missing CRS or georeference, and a raster beyond the dataset's limit of pixels."""
    if raster.crs is None and dataset.crs != "none":
        fix = (
            "state it for all files by the dataset's `crs` (EPSG:n, or none with a `resolution`), or in the file with "
        )
        log.problem(raster.path, "no CRS", "a coordinate reference system", f"{fix}gdal_edit.py -a_srs EPSG:n")
    if raster.grid.affine.is_identity and dataset.crs != "none":
        fix = "add it with gdal_edit.py -a_ullr or a world file (.tfw), or set the dataset's `crs: none`"
        log.problem(raster.path, "no georeference", "the corner's coordinates and the size of a pixel", fix)
    height, width = raster.shape
    if height * width > dataset.limits.max_pixels:
        log.problem(
            raster.path,
            f"{height} x {width} = {height * width:,} pixels",
            f"at most {dataset.limits.max_pixels:,} (`limits.max_pixels`)",
            "cut the tile, or raise the limit",
        )


def check_bands(log: IssueLog, raster: Raster, names: Sequence[str]) -> None:
    """Writes down another number of bands than the dataset has."""
    if raster.mask == "alpha" and raster.count + 1 == len(names):
        # GDAL tags the fourth band of a uint8 file as transparency by default
        log.problem(
            raster.path,
            f"{pluralise(raster.count, 'band')} and one tagged as transparency (alpha)",
            f"{len(names)}: {', '.join(names)}",
            f"name the band for what it is, by number in `tiles.select` or in the file: "
            f"gdal_edit.py -colorinterp_{len(names)} undefined {raster.path}",
        )
    elif raster.count != len(names):
        log.problem(
            raster.path,
            pluralise(raster.count, "band"),
            f"{len(names)}: {', '.join(names)}",
            "correct the dataset's `bands`, or take some of the file's with `select`",
        )


def check_dtype(log: IssueLog, dataset: Dataset, tile: Tile, raster: Raster) -> None:
    """Writes down another dtype than the dataset's; beside further files, one whose values always fit will do."""
    stored = tile.stored_dtype or dataset.dtype
    if raster.dtype != stored and not (tile.further and np.can_cast(raster.dtype, stored)):
        log.problem(
            raster.path,
            f"pixels of {raster.dtype}",
            stored,
            f"correct the dataset's `dtype`, or set `tiles.overrides.{tile.name}.dtype: {raster.dtype}` "
            f"where every value fits {dataset.dtype}",
        )


def is_small(raster: Raster) -> bool:
    """Whether every check reads the raster whole."""
    return raster.shape[0] * raster.shape[1] <= SMALL


def check_blocks(log: IssueLog, raster: Raster) -> bool:
    """Whether the file holds all its blocks; writes down how many its end cuts off, and where the first lies."""
    cut = truncated_blocks(raster)
    if cut:
        lost = pluralise(len(cut), "block lies", "blocks lie")
        log.problem(
            raster.path,
            f"{lost} beyond the file's end, the first at row {cut[0].row}, column {cut[0].col}",
            "a whole file",
            "copy the file again from its source",
        )
    return not cut


def check_readable(log: IssueLog, raster: Raster) -> None:
    """Reads every block and writes down the rows that cannot be read."""
    height = _strip_height(raster)
    with reader(raster, nodata="none") as source:
        for box in blocks(raster.shape, height, raster.shape[1]):
            log.catch(partial(source.read, box))


def check_values(log: IssueLog, dataset: Dataset, raster: Raster) -> None:
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
        log.error(misfit)
    if raster.nodata is None:
        return
    note = f"{raster.path}: the nodata tag {raster.nodata:g} is the value of a band in {tagged} pixels"
    if dataset.nodata == "none" and tagged:
        log.note(f"{note}; they count as data, as `nodata: none` says")
    elif dataset.nodata == "file" and tagged > hidden:
        log.note(f"{note}, but of all bands in {hidden}: if it is a legal value, set `nodata: none`")


def _strip_height(raster: Raster) -> int:
    block = raster.block[0]
    return max(1, SMALL // raster.shape[1] // block) * block
