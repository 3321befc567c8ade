"""Label raster checks: what label rasters hold, and whether they lie on their orthophoto's grid."""

from __future__ import annotations

from pathlib import Path

from landcover_orch.checks import rasters
from landcover_orch.config import Dataset
from landcover_orch.errors import pluralise
from landcover_orch.grid import corner_distance, lower_right, upper_left
from landcover_orch.raster import Raster, inspect
from landcover_orch.tiles.imagery import TOLERANCE, placed
from landcover_orch.tiles.issues import IssueLog


def check(log: IssueLog, dataset: Dataset, path: Path, image: Raster | None, *, deep: bool) -> None:
    """Writes down what is wrong with a label raster (codes or colours), by itself and against its orthophoto.

    Raises:
        RasterError: the file is no GeoTIFF, or states another CRS than the dataset.
    """
    label = placed(dataset, inspect(path), image)
    if image is not None or dataset.crs == "file":  # else nobody knows whether it lies on its orthophoto
        rasters.check_place(log, dataset, label)
    colour = dataset.labels.kind == "rgb"
    fits = label.dtype == "uint8" if colour else "int" in label.dtype
    if not fits or label.count != (3 if colour else 1):
        log.problem(
            label.path,
            f"{pluralise(label.count, 'band')} of {label.dtype}",
            "3 bands of uint8" if colour else "1 band of whole numbers",
            "correct the dataset's `labels.kind`, or convert the labels",
        )
    if rasters.check_blocks(log, label) and (deep or rasters.is_small(label)):
        rasters.check_readable(log, label)
    if image is not None:
        check_together(log, image, label)


def check_together(log: IssueLog, image: Raster, label: Raster) -> None:
    """Writes down where a label raster does not lie on its orthophoto's grid."""
    if (image.crs is None) != (label.crs is None):
        return
    if image.grid.crs != label.grid.crs:
        log.problem(
            label.path,
            f"CRS is {label.crs}, its orthophoto {image.path} has {image.crs}",
            "one CRS (label rasters are never reprojected silently)",
            f"reproject the labels once (gdalwarp -t_srs {image.crs} -r near), or correct `tiles.label`",
        )
    elif not image.grid.extent.intersects(label.grid.extent):
        log.problem(label.path, "no pixel on its orthophoto", "labels of the same place", "correct `tiles.label`")
    else:
        check_aligned(log, image, label)


def check_aligned(log: IssueLog, image: Raster, label: Raster) -> None:
    """Writes down corners that differ, in the orthophoto's pixels: another pixel size shows at the lower right one."""
    col, row = upper_left(image.grid, label.grid)
    right, bottom = lower_right(image.grid, label.grid)
    if label.shape != image.shape or corner_distance(image.grid, label.grid) > TOLERANCE:
        log.problem(
            label.path,
            f"{_size(label)} from ({col:.2f}, {row:.2f}) to ({right:.2f}, {bottom:.2f}) in its orthophoto's pixels "
            f"(column, row): shifted by {col:.2f} columns and {row:.2f} rows",
            f"{_size(image)}, the grid of {image.path}",
            "warp the labels once onto the orthophoto's grid (gdalwarp -te ... -ts ... -r near)",
        )


def _size(raster: Raster) -> str:
    return f"{raster.shape[0]} x {raster.shape[1]} pixels"
