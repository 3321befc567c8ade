"""Raster checks: CRS, bands, dtype, size, complete blocks, values of a raster by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config import Dataset
from landcover_orch.errors import RasterError, pluralise
from landcover_orch.grid import blocks
from landcover_orch.raster import Raster, control_points, missing_blocks, reader, truncated_blocks
from landcover_orch.raster.band_names import band_name_problems
from landcover_orch.tiles import imagery
from landcover_orch.tiles.issues import IssueLog
from landcover_orch.tiles.tile import Tile

SMALL = 2**24
"""Pixels up to which a raster is read whole by every check; deep checks hold this many in memory at once."""


GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}
"""A dataset's dtypes -> what GDAL calls them."""

EXTREME = 1e30
"""Magnitude that no measurement has: float32's least number, -3.4e38, is what programs write where there is none."""

USUAL_NODATA = (-9999.0, -32768.0, -32767.0)


@dataclass
class ValueCounts:
    """Counts of pixels over blocks: whose bands hold nodata, and values that look like it and are not tagged."""

    tagged: int = 0
    hidden: int = 0
    extremes: Counter[float] = field(default_factory=Counter)
    usual: Counter[float] = field(default_factory=Counter)

    def add(self, data: NDArray[Any], tag: float | None, nodata: float | None) -> None:
        """Counts the pixels (band, y, x) of a block, as the file holds them.

        Args:
            data: the pixels.
            tag: nodata value that the file states.
            nodata: nodata value by which it is read.
        """
        if tag is not None:
            hit = data == tag
            self.tagged += int(hit.any(axis=0).sum())
            self.hidden += int(hit.all(axis=0).sum())
        if data.dtype.kind == "u":
            return
        if data.dtype.kind == "f":
            extreme = data[np.isfinite(data) & (np.abs(data) >= EXTREME)]
            values, times = np.unique(extreme, return_counts=True)
            self.extremes.update({float(v): int(n) for v, n in zip(values, times, strict=True) if v != nodata})
        for value in USUAL_NODATA:
            pixels = int((data == value).sum()) if nodata is None else 0
            self.usual.update({value: pixels} if pixels else {})


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
    check_names(log, dataset, raster, names)
    if check_blocks(log, raster) and (deep or is_small(raster)):
        check_values(log, dataset, raster)


def check_place(log: IssueLog, dataset: Dataset, raster: Raster) -> None:
    """Writes down a missing CRS or georeference, and a raster beyond the dataset's limit of pixels."""
    if raster.crs is None and dataset.crs != "none":
        fix = (
            "state it for all files by the dataset's `crs` (EPSG:n, or none with a `resolution`), or in the file with "
        )
        log.problem(raster.path, "no CRS", "a coordinate reference system", f"{fix}gdal_edit.py -a_srs EPSG:n")
    if raster.grid.affine.is_identity and dataset.crs != "none" and (points := control_points(raster)):
        fix = f"warp it by them, once: gdalwarp -r bilinear {raster.path.name} warped.tif (or set `crs: none`)"
        actual = f"no georeference but {points} ground control points"
        log.problem(raster.path, actual, "pixels that lie upright on a grid", fix)
    elif raster.grid.affine.is_identity and dataset.crs != "none":
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


def check_names(log: IssueLog, dataset: Dataset, raster: Raster, names: Sequence[str]) -> None:
    """Writes down band names and colours of a file that contradict the dataset's, and indices into a colour table."""
    if any(colour != (value,) * 3 for value, colour in raster.palette.items()):  # a grey ramp holds the values
        fix = f"expand it once: gdal_translate -expand rgb {raster.path.name} expanded.tif"
        log.problem(raster.path, "indices into a palette (colour table)", "pixels that are measured values", fix)
    if dataset.band_names == "check":
        for problem in band_name_problems(raster, names):
            log.problem(problem.where, problem.found, problem.expected, problem.fix)


def check_dtype(log: IssueLog, dataset: Dataset, tile: Tile, raster: Raster) -> None:
    """Writes down another dtype than the dataset's; beside further files, one whose values always fit will do."""
    stored = tile.stored_dtype or dataset.dtype
    if raster.dtype == stored or (tile.further and np.can_cast(raster.dtype, stored)):
        return
    if (raster.dtype, dataset.dtype) == ("float64", "float32"):
        log.note(f"{raster.path}: pixels of float64 are rounded to float32")
        return
    override = f"set `tiles.overrides.{tile.name}.dtype: {raster.dtype}` where every value fits {dataset.dtype}"
    convert = f"store them in one with gdal_translate -ot {GDAL_TYPES[dataset.dtype]}"
    fix = f"correct the dataset's `dtype`, or {override}" if raster.dtype in GDAL_TYPES else f"{convert}, or {override}"
    log.problem(raster.path, f"pixels of {raster.dtype}", stored, fix)


def is_small(raster: Raster) -> bool:
    """Whether every check reads the raster whole."""
    return raster.shape[0] * raster.shape[1] <= SMALL


def check_blocks(log: IssueLog, raster: Raster) -> bool:
    """Whether the file holds all its blocks; writes down how many its end cuts off, and where the first lies.

    Blocks that were never written are nodata where the file has a nodata value or a mask: a note. Elsewhere they would
    be read as 0, and trained on.
    """
    missing, blocks_of_file = missing_blocks(raster) if raster.driver == "GTiff" else (0, 0)
    if (missing == blocks_of_file and missing) or (missing and raster.mask == "none"):
        log.problem(
            raster.path,
            f"{missing} of {blocks_of_file} blocks were never written (a sparse file, or one of a program that ended)",
            "every block",
            "copy or make the file again; blocks that are to be empty need a nodata value: gdal_edit.py -a_nodata",
        )
        return False
    if missing:
        log.note(f"{raster.path}: {missing} of {blocks_of_file} blocks were never written: they count as nodata")
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
    """Reads every block in the dataset's dtype; counts nodata in a band and in all bands, and extreme values."""
    counts = ValueCounts()
    misfits: dict[str, RasterError] = {}
    with reader(raster, dataset.dtype, dataset.nodata) as source:
        for box in blocks(raster.shape, _strip_height(raster), raster.shape[1]):
            try:
                stored = source.stored(box)
                counts.add(stored, raster.nodata, source.raster.nodata)
                source.cast(stored)
            except RasterError as error:
                misfits.setdefault(error.problems[0].where, error)
    for misfit in misfits.values():
        log.error(misfit)
    check_extremes(log, raster, counts)
    if raster.nodata is None:
        return
    note = f"{raster.path}: the nodata tag {raster.nodata:g} is the value of a band in {counts.tagged} pixels"
    if dataset.nodata == "none" and counts.tagged:
        log.note(f"{note}; they count as data, as `nodata: none` says")
    elif dataset.nodata == "file" and counts.tagged > counts.hidden:
        legal = "if it is a legal value, set `nodata: none`"
        if dataset.nodata_rule == "all":
            log.note(
                f"{note}, but of all bands in {counts.hidden}, which alone are hidden: `nodata_bands: any` hides "
                f"them all; {legal}"
            )
        else:
            log.note(
                f"{note}, which are hidden, and of all bands in {counts.hidden}: `nodata_bands: all` hides those "
                f"alone; {legal}"
            )


def check_extremes(log: IssueLog, raster: Raster, counts: ValueCounts) -> None:
    """Writes down values that no measurement has, and usual nodata values, which no tag says to be nodata."""
    for value, pixels in sorted(counts.extremes.items()):
        fix = f"if they are pixels without data, set the dataset's `nodata: {value:g}`, or gdal_edit.py -a_nodata"
        log.problem(raster.path, f"{value:g} in {pixels} pixels", "measured values, or a nodata tag", fix)
    for value, pixels in sorted(counts.usual.items()):
        log.note(
            f"{raster.path}: {value:g} in {pixels} pixels, a usual nodata value that no tag names: if it is one, "
            f"set `nodata: {value:g}`"
        )


def _strip_height(raster: Raster) -> int:
    block = raster.block[0]
    return max(1, SMALL // raster.shape[1] // block) * block
