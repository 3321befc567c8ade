"""Component raster checks: the files and tables of labels that arrive as component rasters."""

from __future__ import annotations

from pathlib import Path

from landcover_orch.checks import label_rasters
from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError
from landcover_orch.grid import crs_name
from landcover_orch.labels.components import misfits, open_raster, table
from landcover_orch.raster import Raster
from landcover_orch.tiles.imagery import placed
from landcover_orch.tiles.issues import IssueLog
from landcover_orch.tiles.tile import Tile


def check(log: IssueLog, dataset: Dataset, tile: Tile, label: Path, image: Raster | None) -> None:
    """Writes down what is wrong with a tile's components: their place, their shapes, their tables.

    Raises:
        RasterError: a file is neither GeoTIFF nor ENVI, cut short, or states another CRS than the dataset.
    """
    reference = open_raster(label)
    if image is not None:
        georeferenced = placed(dataset, reference, image)
        if image.crs is not None and georeferenced.crs is None:
            fix = "name one of the rasters that says where it lies as `tiles.label`"
            log.problem(label, "no CRS", f"that of its orthophoto, {crs_name(image.grid)}", fix)
        label_rasters.check_together(log, image, georeferenced)
    for problem in misfits(tile, reference):
        log.problem(problem.where, problem.found, problem.expected, problem.fix)
    for component in tile.components:
        try:
            table(component.table)
        except LabelError as error:
            log.error(error)
