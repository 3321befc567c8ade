"""Labels that arrive as component rasters: their files, their tables, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

from landcover_orch.checks import label_rasters
from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError
from landcover_orch.grid import crs_name
from landcover_orch.labels.components import misfits, open_raster, table
from landcover_orch.raster import Raster
from landcover_orch.tiles.imagery import placed
from landcover_orch.tiles.issues import Sheet
from landcover_orch.tiles.tile import Tile


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
