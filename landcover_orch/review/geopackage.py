"""GeoPackage of polygons under review, whose rows, once their code is corrected, are corrections of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch.config import Labels
from landcover_orch.errors import LabelError, Problem
from landcover_orch.labels.codes import NULL
from landcover_orch.labels.rasterise import translated
from landcover_orch.review.comparison import Comparison, Subject
from landcover_orch.store.geopackage import write_layer

FID, GEOMETRY = "fid", "geom"
"""Names of a GeoPackage's own two columns."""


def label_columns(labels: Labels) -> dict[str, str]:
    """Label columns that a list has, too: name in the labels -> name in the list.

    A label that its polygon's column does not hold, for a table does, cannot come back and has none.
    """
    code = None if labels.content == "values" else labels.attribute
    return {column: key for column, key in ((labels.id, "polygon"), (code, "code")) if column}


def columns(labels: Labels, listed: Sequence[str], layer: str) -> dict[str, str]:
    """Columns of a list's GeoPackage: those of the labels, then the list's own -> name in the list.

    Column names of GeoPackages are case-insensitive; one of the list's that is called like one of the labels' takes the
    layer's name before its own: `label_review_label`.

    Raises:
        LabelError: the two columns of the labels differ in case alone.
    """
    from_labels = label_columns(labels)
    if len({column.casefold() for column in from_labels}) < len(from_labels):
        where, fix = "labels.id and labels.attribute", "rename one of the columns in the label files"
        raise LabelError(Problem(where, f"columns {list(from_labels)}", "names that differ in more than case", fix))
    return {
        **from_labels,
        **{free_name(key, from_labels, layer): key for key in listed if key not in from_labels.values()},
    }


def free_name(name: str, taken: Mapping[str, str], layer: str) -> str:
    """Unique column name: prefixed by the layer's where a column is already called so."""
    present = {column.casefold() for column in taken}
    while name.casefold() in present:
        name = f"{layer}_{name}"
    return name


def write(
    path: Path,
    layer: str,
    subject: Subject,
    comparison: Comparison,
    listed: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
) -> None:
    """Writes the listed polygons, uncut, with the columns `keys` (see `columns`), in the CRS of the first tile.

    They lie on the orthophoto, as corrections do, where a tile's `shift` has translated the labels to.

    Raises:
        LabelError: as `columns`.
    """
    import geopandas
    import pandas as pd  # type: ignore[import-untyped]

    labels = subject.manifest.dataset.labels
    named, entries = columns(labels, keys, layer), {entry.name: entry for entry in subject.entries}
    target = next(iter(entries.values())).crs
    parts = []
    for tile, outlines in comparison.outlines.items():
        tile_rows = [row for row in listed if row["tile"] == tile]
        shapes = outlines.geometry[np.array([row["index"] for row in tile_rows], np.int64)]
        shapes, crs = translated(shapes, outlines.label_grid, entries[tile].grid), entries[tile].crs
        table = {column: [None if row[key] == NULL else row[key] for row in tile_rows] for column, key in named.items()}
        frame = geopandas.GeoDataFrame(pd.DataFrame(table), geometry=shapes, crs=crs)
        parts.append(frame if crs == target else frame.to_crs(target))
    rank = next(column for column, key in named.items() if key == "rank")
    polygons = geopandas.GeoDataFrame(pd.concat([p for p in parts if len(p)] or parts[:1])).sort_values(rank)
    names = {"FID": free_name(FID, named, layer), "GEOMETRY_NAME": free_name(GEOMETRY, named, layer)}
    write_layer(path, layer, polygons, layer_options=names, geometry_type="MultiPolygon", promote_to_multi=True)
