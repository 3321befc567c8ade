"""Raster reading: the metadata of a raster file, and its pixels by windows.

A rasterio dataset must not be shared between threads nor inherited by a fork (both gave silently wrong windows), so a
`Raster` here is only a description: every reader opens its own dataset.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.errors
import rasterio.windows
from numpy.typing import DTypeLike, NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Interleaving, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning

from landcover_orch.errors import Problem, RasterError, pluralise
from landcover_orch.grid import Window, blocks, crs_name
from landcover_orch.raster import value_maps
from landcover_orch.store.fingerprint import file_hash

CACHE_BYTES = 256 * 2**20
"""GDAL's block cache; its own default is 5 % of the machine's memory for every process."""

YEAR = "YEAR"
"""Name of the metadata item that says which year a map shows."""

Nodata = float | Literal["file", "none"]
Driver = Literal["GTiff", "ENVI", "JPEG", "BMP"]
PICTURES: Mapping[str, Driver] = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
"""Ending of a file's name -> the format that heights are sometimes delivered in beside a GeoTIFF."""

NodataRule = Literal["any", "all"]
MaskKind = Literal["none", "nodata", "mask band", "alpha"]

_QUIET = Lock()
"""Held while a file is opened: which warnings are shown is a setting of the whole process."""


@contextmanager
def environment(cache: int = CACHE_BYTES) -> Iterator[None]:
    """GDAL settings everything here runs under: a bounded cache (in bytes), no network, no guessing of drivers."""
    with rasterio.Env(GDAL_CACHEMAX=cache, GDAL_HTTP_TIMEOUT=1, CPL_VSIL_CURL_ALLOWED_EXTENSIONS="none"):
        yield


@dataclass(frozen=True)
class Raster:
    """Metadata of a raster file; `block` is (height, width) of its blocks.

    `bands` are the numbers, from 1, of the bands that are read, in order: all but an alpha band, or those asked for.
    Bands of `further` rasters, pixel by pixel on the same grid, follow them wherever this one is read. `tables` says
    what values of the file become wherever pixels are read (see `value_maps`); nodata must remain what it is.
    `nodata_rule` says what hides a pixel: nodata in any band, or in all that have a nodata value, of all its files.
    `scale_offset` are the tags of each band, which are compared between tiles and never applied.
    """

    path: Path
    grid: GeoBox
    bands: tuple[int, ...]
    dtype: str
    nodata: float | None
    mask: MaskKind
    block: tuple[int, int]
    descriptions: tuple[str | None, ...]
    palette: Mapping[int, tuple[int, int, int]]
    driver: Driver = "GTiff"
    further: tuple[Raster, ...] = ()
    tables: Path | None = None
    nodata_rule: NodataRule = "all"
    scale_offset: tuple[tuple[float, float], ...] = ()

    @property
    def files(self) -> tuple[Raster, ...]:
        """The rasters whose bands are read, this one first."""
        return self, *self.further

    @property
    def count(self) -> int:
        """How many bands are read, from all files."""
        return sum(len(file.bands) for file in self.files)

    @property
    def read_options(self) -> list[list[object]]:
        """What is read besides the files' bytes, as JSON values: of each file its bands and nodata; then the grid."""
        files = [[*file.bands, file.mask, None if file.nodata is None else str(file.nodata)] for file in self.files]
        matched = [file_hash(file.tables) for file in self.files if file.tables]
        rule = [["nodata", self.nodata_rule]] if self.count > 1 and self.has_nodata else []
        return [*files, [self.crs, *self.grid.affine[:6]], *rule, *([["tables", *matched]] if matched else [])]

    @property
    def has_nodata(self) -> bool:
        """Whether a file of it has a nodata value."""
        return any(file.nodata is not None for file in self.files)

    @property
    def unmatched(self) -> Raster:
        """The raster with its values as they stand in its files."""
        return replace(self, tables=None, further=tuple(file.unmatched for file in self.further))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.grid.shape[0]), int(self.grid.shape[1])

    @property
    def crs(self) -> str | None:
        """The CRS as 'EPSG:n' where it has such a code, else as WKT; None where the file has none."""
        return crs_name(self.grid)


def inspect(path: Path, driver: Driver = "GTiff", select: Sequence[int] = ()) -> Raster:
    """The metadata of a raster file, without reading its pixels.

    Args:
        path: the file.
        driver: GDAL's name of its format.
        select: numbers, from 1, of the bands to read, in order; empty: all but an alpha band. A band that is asked for
            is data, even where the file calls it alpha.

    Raises:
        RasterError: the file is missing, cut short, lacks a band that is asked for, or is not of the driver's format
            (a VRT named .tif is refused: it could read any file).
    """
    with environment(), _open(path, driver) as source:
        if driver == "ENVI":
            require_complete(path, source)
        bands = select_bands(path, source, select)
        palette: dict[int, tuple[int, int, int]] = {}
        if ColorInterp.palette in source.colorinterp:
            palette = {value: tuple(rgba[:3]) for value, rgba in source.colormap(1).items()}
        return Raster(
            path=path,
            grid=GeoBox(source.shape, source.transform, source.crs),
            bands=bands,
            dtype=source.dtypes[bands[0] - 1],
            nodata=source.nodata,
            mask=mask_kind(source, bands),
            block=source.block_shapes[0],
            descriptions=tuple(source.descriptions[band - 1] for band in bands),
            scale_offset=tuple((source.scales[band - 1], source.offsets[band - 1]) for band in bands),
            palette=palette,
            driver=driver,
        )


def metadata_digest(path: Path) -> str:
    """SHA-256 of a raster's metadata as GDAL reads them: grid, dtypes, nodata, masks, bands; no statistics.

    Raises:
        RasterError: it cannot be read.
    """
    raw = any(file.is_file() for file in (path.with_suffix(".hdr"), path.with_name(f"{path.name}.hdr")))
    driver: Driver = PICTURES.get(path.suffix.lower(), "ENVI" if raw else "GTiff")
    with environment(), _open(path, driver) as source:
        palette = source.colormap(1) if ColorInterp.palette in source.colorinterp else {}
        points, points_crs = source.gcps
        content = [
            [source.shape, source.dtypes, list(map(str, source.nodatavals))],
            [str(source.crs), source.transform[:6], str(points_crs), [point.asdict() for point in points]],
            [source.descriptions, [role.name for role in source.colorinterp], sorted(palette.items())],
            [source.scales, source.offsets, [[flag.name for flag in flags] for flags in source.mask_flag_enums]],
        ]
    for point in content[1][3]:
        point.pop("id", None)  # drawn anew at each reading
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def select_bands(path: Path, source: Any, select: Sequence[int]) -> tuple[int, ...]:
    """Numbers, from 1, of the bands that are read: those of `select`, else all but an alpha band."""
    missing = [band for band in select if band > source.count]
    if missing:
        fix = "correct the dataset's `select`, or restore the file"
        raise RasterError(
            Problem(str(path), pluralise(source.count, "band"), f"band {missing[0]}, which is to be read", fix)
        )
    roles = source.colorinterp
    return tuple(select) or tuple(i for i, role in enumerate(roles, start=1) if role != ColorInterp.alpha)


@contextmanager
def _open(path: Path, driver: Driver = "GTiff") -> Iterator[Any]:
    name = {"GTiff": "GeoTIFF"}.get(driver, driver)
    try:
        with _QUIET, warnings.catch_warnings():  # a file may be without georeference: who reads it knows that
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(path, driver=driver)
    except rasterio.errors.RasterioIOError as error:
        actual, fix = "no such file", "restore the file, or correct its path"
        if path.exists():
            actual = f"not readable as {name} ({error})"
            fix = "restore the file, or convert it with gdal_translate -of GTiff"
        raise RasterError(Problem(str(path), actual, f"a {name}", fix)) from error
    with source:
        yield source


def require_complete(path: Path, source: Any) -> None:
    """Raises RasterError where a raw file ends before its last pixel: GDAL would read zeros there."""
    header = next(p for p in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")) if p.is_file())
    offset = re.search(r"header offset\s*=\s*(\d+)", header.read_text(encoding="utf-8", errors="replace"))
    pixels = source.count * source.height * source.width * np.dtype(source.dtypes[0]).itemsize
    expected, size = pixels + int(offset[1] if offset else 0), path.stat().st_size
    if size < expected:
        fix = "copy the file again from its source"
        raise RasterError(Problem(str(path), f"cut short: {size:,} bytes", f"{expected:,} bytes", fix))


def mask_kind(source: Any, bands: tuple[int, ...]) -> MaskKind:
    """What marks pixels without data in an open file of which these bands are read."""
    if ColorInterp.alpha in source.colorinterp:
        hidden = source.colorinterp.index(ColorInterp.alpha) + 1 not in bands
        return "alpha" if hidden else "none" if source.nodata is None else "nodata"
    flags = source.mask_flag_enums[0]
    if MaskFlags.nodata in flags:
        return "nodata"
    return "none" if MaskFlags.all_valid in flags else "mask band"


class Reader:
    """An open raster of one thread: `read` gives pixels, `valid` says which of them the file calls data.

    `further` readers, of the same dtype, give the bands that follow its own.
    """

    def __init__(self, source: Any, raster: Raster, dtype: np.dtype[Any], further: Sequence[Reader] = ()) -> None:
        self._source, self.raster, self._dtype, self._further = source, raster, dtype, further
        self._map = _map(raster)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What `read` gives."""
        return self._dtype

    def read(self, window: Window) -> NDArray[Any]:
        """Pixels (band, y, x) of a window that lies inside the tile, in the reader's dtype.

        Raises:
            RasterError: a block is truncated or corrupt, or a value does not fit the dtype.
        """
        data = self._map(self.cast(self.stored(window)))
        return np.concatenate([data, *(file.read(window) for file in self._further)]) if self._further else data

    def stored(self, window: Window) -> NDArray[Any]:
        """Pixels (band, y, x) of a window as the raster's own file holds them."""
        bands = list(self.raster.bands)
        data: NDArray[Any] = self._blocks(window, lambda box: self._source.read(bands, window=box))
        return data

    def cast(self, data: NDArray[Any]) -> NDArray[Any]:
        """Safe cast: pixels in the reader's dtype, each the same number; float64 is rounded to float32.

        Nodata that the dtype cannot hold becomes 0: it is no value, and `valid` says where it lies.

        Raises:
            RasterError: a value does not fit.
        """
        if np.can_cast(data.dtype, self._dtype):
            return data.astype(self._dtype, copy=False)
        if not self._nodata_fits:
            data = np.where(self._is_nodata(data), data.dtype.type(0), data)
        with np.errstate(invalid="ignore", over="ignore"):  # what does not fit comes back different: an error below
            cast = data.astype(self._dtype)
        rounded = data.dtype.kind == self._dtype.kind == "f"
        same = np.isfinite(cast) == np.isfinite(data) if rounded else cast.astype(data.dtype) == data
        if not same.all():
            actual = f"{data.dtype} values from {data.min()} to {data.max()}"
            fix = "set the dataset's `dtype` to one that holds them, or convert the file with gdal_translate -ot"
            raise RasterError(Problem(str(self.raster.path), actual, f"values that fit {self._dtype}", fix))
        return cast

    @cached_property
    def _nodata_fits(self) -> bool:
        """Whether the nodata value is the same number in the reader's dtype."""
        nodata = self.raster.nodata
        if nodata is None or np.can_cast(self.raster.dtype, self._dtype):
            return True
        if np.isnan(nodata):
            return self._dtype.kind == "f"
        with np.errstate(invalid="ignore", over="ignore"):
            return float(np.array(nodata).astype(self._dtype)) == nodata

    def _is_nodata(self, data: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels of bands as stored are nodata."""
        nodata = self.raster.nodata
        if nodata is None:
            return np.zeros(data.shape, bool)
        return np.asarray(np.isnan(data) if np.isnan(nodata) else data == nodata)

    @property
    def may_be_invalid(self) -> bool:
        """Whether `valid` could be false anywhere; where not, pixels need not be read to know it."""
        return any(file.raster.mask != "none" or file.is_float for file in (self, *self._further))

    @property
    def is_float(self) -> bool:
        """Whether the raster's own file holds floats, which may be no numbers."""
        return np.dtype(self.raster.dtype).kind == "f"

    def valid(self, window: Window, data: NDArray[Any] | None = None) -> NDArray[np.bool_]:
        """Where a window (y, x) holds data: finite, not masked, not transparent, and not nodata.

        Nodata hides a pixel by the raster's `nodata_rule`. `data` (band, y, x), as `read` gave it, saves reading the
        pixels again.
        """
        valid = np.ones((window.height, window.width), bool)
        nodata: list[NDArray[np.bool_]] = []
        end = 0
        for file in (self, *self._further):
            first, end = end, end + len(file.raster.bands)
            nodata += file.hide(valid, window, None if data is None else data[first:end])
        if nodata:
            bands = nodata[0] if len(nodata) == 1 else np.concatenate(nodata)
            valid &= ~(bands.any(axis=0) if self.raster.nodata_rule == "any" else bands.all(axis=0))
        return valid

    def hide(self, valid: NDArray[np.bool_], window: Window, data: NDArray[Any] | None) -> list[NDArray[np.bool_]]:
        """Clears `valid` where the raster's own file is masked or no number; gives where its bands are nodata."""
        if self.raster.mask in ("mask band", "alpha"):
            valid &= self._blocks(window, lambda box: self._source.dataset_mask(window=box)) > 0
            return []
        if self.raster.mask == "none" and not self.is_float:
            return []
        if data is None or not self._nodata_fits:
            data = self.stored(window)
        if data.dtype.kind == "f":
            valid &= np.isfinite(data).all(axis=0)
        nodata = self.raster.nodata
        return [] if nodata is None or np.isnan(nodata) else [data == nodata]

    def _blocks(self, window: Window, read: Any) -> Any:
        try:
            return read(pixels_of(window))
        except rasterio.errors.RasterioError as error:
            raise RasterError(
                Problem(
                    f"{self.raster.path}: rows {window.row}-{window.row + window.height - 1}",
                    f"unreadable block ({error.__cause__ or error})",
                    "whole blocks",
                    "copy the file again from its source",
                )
            ) from error


def _map(raster: Raster) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return (lambda data: data) if raster.tables is None else value_maps.load(raster.tables)


@contextmanager
def reader(
    raster: Raster, dtype: DTypeLike | None = None, nodata: Nodata = "file", cache: int = CACHE_BYTES
) -> Iterator[Reader]:
    """A reader of all bands for the calling thread; `dtype` casts exactly or raises, `nodata` overrules a wrong tag.

    Without `dtype` pixels come in the smallest type that holds those of all files. `nodata` is that of the raster's own
    file; `with_nodata` states that of a further one.
    """
    common = np.dtype(dtype or np.result_type(*(np.dtype(file.dtype) for file in raster.files)))
    with environment(cache), ExitStack() as stack:
        first, *more = (
            (stack.enter_context(_open(file.path, file.driver)), file)
            for file in (with_nodata(raster, nodata), *raster.further)
        )
        yield Reader(*first, common, [Reader(source, file, common) for source, file in more])


def with_nodata(raster: Raster, nodata: Nodata) -> Raster:
    """The raster with its nodata as a dataset states it: what the file says, none, or a value."""
    if nodata == "file":
        return raster
    value = None if nodata == "none" else float(nodata)
    return replace(raster, nodata=value, mask="none" if value is None else "nodata")


def pixels_of(window: Window) -> Any:
    """A window as rasterio takes it."""
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)


def color_interpretation(raster: Raster) -> tuple[str, ...]:
    """Colour interpretation, as GDAL calls it, of all bands of a raster's own file: red, gray, alpha, undefined."""
    with environment(), _open(raster.path, raster.driver) as source:
        return tuple(role.name for role in source.colorinterp)


def control_points(raster: Raster) -> int:
    """Number of ground control points (GCPs) of a raster's own file."""
    with environment(), _open(raster.path, raster.driver) as source:
        return len(source.gcps[0])


def missing_blocks(raster: Raster) -> tuple[int, int]:
    """How many blocks of a TIFF were never written, and how many there are; GDAL reads nodata, or 0, there."""
    with environment(), _open(raster.path, raster.driver) as source:
        bands = source.indexes if source.interleaving == Interleaving.band else [1]
        height, width = raster.block
        ends = [
            block_end(source, box.row // height, box.col // width, band)
            for box in blocks(raster.shape, height, width)
            for band in bands
        ]
    return ends.count(0), len(ends)


def truncated_blocks(raster: Raster) -> list[Window]:
    """Blocks whose bytes lie beyond the end of the file, by the file's own list of offsets; no pixel is read."""
    size = raster.path.stat().st_size
    with environment(), _open(raster.path, raster.driver) as source:
        bands = source.indexes if source.interleaving == Interleaving.band else [1]
        height, width = raster.block
        return [
            box
            for box in blocks(raster.shape, height, width)
            if any(block_end(source, box.row // height, box.col // width, band) > size for band in bands)
        ]


def block_end(source: Any, row: int, col: int, band: int) -> int:
    """Position in the file after the last byte of a TIFF block; 0 where it was never written."""
    offset, length = (
        source.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")
    )
    return int(offset or 0) + int(length or 0)


def thumbnail(raster: Raster, side: int, dtype: DTypeLike | None = None, cache: int = CACHE_BYTES) -> NDArray[Any]:
    """Thumbnail: the raster (band, y, x) reduced to at most `side` pixels, by overviews where it has them.

    Raises:
        RasterError: a block is truncated or corrupt.
    """
    scale = max(1.0, max(raster.shape) / side)
    shape = tuple(max(1, round(length / scale)) for length in raster.shape)
    parts = []
    with environment(cache):
        for file in raster.files:
            resampling = Resampling.nearest if file.palette else Resampling.average
            out_shape = (len(file.bands), *shape)
            with _open(file.path, file.driver) as source:
                try:
                    pixels = source.read(list(file.bands), out_shape=out_shape, resampling=resampling)
                except rasterio.errors.RasterioError as error:
                    fix = "copy or make the file again: it is cut short or damaged"
                    text = " ".join(str(error.__cause__ or error).split())
                    raise RasterError(Problem(str(file.path), text, "pixels that can be read", fix)) from error
            parts.append(_map(file)(pixels))
    data = np.concatenate(parts)
    return data if dtype is None else data.astype(dtype)


def class_names(path: Path) -> tuple[str, ...]:
    """The class names that `write_cog` put into a file, in order of their ids."""
    with environment(), _open(path) as source:
        tags = source.tags()
    return tuple(tags[f"CLASS_{i}"] for i in range(sum(key.startswith("CLASS_") for key in tags)))


def year(path: Path) -> int | None:
    """The year that the pixels of a file show, as `write_cog` noted it; None where it says none."""
    with environment(), _open(path) as source:
        tag = source.tags().get(YEAR)
    return None if tag is None else int(tag)


def versions() -> tuple[str, str]:
    """Versions of GDAL and PROJ that rasterio carries."""
    return str(rasterio.__gdal_version__), str(rasterio.__proj_version__)
