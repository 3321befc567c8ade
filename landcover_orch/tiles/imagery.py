"""Image of a tile: band stacking of its files, on the grid that its dataset states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from affine import Affine
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.errors import Problem, RasterError
from landcover_orch.grid import corner_distance
from landcover_orch.raster import Raster
from landcover_orch.tiles import catalogue, radiometry

TOLERANCE = 0.01
"""Pixels by which corners may lie apart and two grids still be one (rounded coordinates)."""


def inspect(dataset: Dataset, paths: Sequence[Path]) -> Raster:
    """Metadata of the image of a tile: its orthophoto, and after it the bands of its further files.

    Where the dataset matches radiometry, its values are read through maps that make them like the reference tile's.

    Raises:
        RasterError: a file is unreadable, states another CRS than the dataset, or lies on another grid than the first.
    """
    image = stacked(dataset, paths)
    if dataset.radiometry is None:
        return image
    reference = catalogue.images_of(dataset, dataset.radiometry.reference)
    if reference == tuple(paths):
        return image
    return radiometry.matched(dataset, image, stacked(dataset, reference), dataset.radiometry)


def stacked(dataset: Dataset, paths: Sequence[Path]) -> Raster:
    """The image of a tile as its files are.

    Raises:
        RasterError: as `inspect`.
    """
    image = orthophoto(dataset, paths[0])
    further = tuple(added(dataset, i, path, image) for i, path in enumerate(paths[1:]))
    problems = [problem for file in further if (problem := misfit(file, image))]
    if problems:
        raise RasterError(*problems)
    return replace(image, further=further)


def orthophoto(dataset: Dataset, path: Path) -> Raster:
    """The first file of an image: the dataset's bands of it, at their place."""
    image = placed(dataset, raster.inspect(path, select=dataset.tiles.select))
    return replace(image, nodata_rule=dataset.nodata_rule)


def added(dataset: Dataset, index: int, path: Path, image: Raster | None) -> Raster:
    """The file of an entry of `tiles.further`: the bands it adds to an orthophoto, at their place.

    Besides a GeoTIFF it may be a JPEG or BMP file, by the ending of its name.
    """
    entry, driver = dataset.tiles.further[index], raster.PICTURES.get(path.suffix.lower(), "GTiff")
    return placed(dataset, raster.with_nodata(raster.inspect(path, driver, entry.select), entry.nodata), image)


def placed(dataset: Dataset, file: Raster, image: Raster | None = None) -> Raster:
    """Georeferencing: a file where its dataset says that it lies; one without a CRS lies on `image`, if of its shape.

    Where the dataset has no CRS, each tile lies by itself with its lower left corner at (0, 0).

    Raises:
        RasterError: the file states another CRS than the dataset.
    """
    if dataset.crs == "file":
        return file
    if dataset.crs == "none":
        pixel = dataset.resolution or 1.0
        return replace(file, grid=GeoBox(file.shape, Affine(pixel, 0, 0, 0, -pixel, pixel * file.shape[0]), None))
    if file.grid.crs is None:
        silent = image is not None and file.grid.affine.is_identity and file.shape == image.shape
        grid = image.grid if image and silent else GeoBox(file.shape, file.grid.affine, dataset.crs)
        return replace(file, grid=grid)
    if file.grid.crs != dataset.crs:
        fix = "correct the dataset's `crs` (file: each file states its own), or reproject the file"
        raise RasterError(Problem(str(file.path), f"CRS is {file.crs}", f"{dataset.crs} (`crs`), or none", fix))
    return file


def misfit(file: Raster, image: Raster) -> Problem | None:
    """The problem where a file does not lie pixel by pixel on its orthophoto's grid; None where it does."""
    same = file.shape == image.shape and file.grid.crs == image.grid.crs
    if same and corner_distance(image.grid, file.grid) <= TOLERANCE:
        return None
    fix = "warp it once onto that grid (gdalwarp -te ... -ts ...); where it only lacks a row or column, gdal_translate "
    fix += f"-srcwin 0 0 {image.shape[1]} {image.shape[0]} fills it up with nodata"
    return Problem(
        str(file.path), _described(file, image), f"the grid of {image.path}: {_described(image, image)}", fix
    )


def _described(file: Raster, image: Raster) -> str:
    distance = corner_distance(image.grid, file.grid)
    shifted = f", corners up to {distance:.2f} px off" if file is not image and distance > TOLERANCE else ""
    return f"{file.shape[0]} x {file.shape[1]} px in {file.crs or 'no CRS'}{shifted}"
