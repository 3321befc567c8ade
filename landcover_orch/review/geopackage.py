"""A list of polygons as a GeoPackage whose rows, once their code is mended, are corrections of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch.config import Labels
from landcover_orch.errors import LabelError, Problem
from landcover_orch.labels.codes import NULL
from landcover_orch.labels.rasterise import translated
from landcover_orch.review.comparison import Compared, Subject
from landcover_orch.store.geopackage import write_layer

FID, GEOMETRY = "fid", "geom"
"""How a GeoPackage calls its own two columns."""


def label_columns(labels: Labels) -> dict[str, str]:
    """Columns of the labels that a list has, too: what each is called there -> what the list calls it.

    A label that its polygon's column does not hold, for a table does, cannot come back and has none.
    """
    code = None if labels.content == "values" else labels.attribute
    return {column: key for column, key in ((labels.id, "polygon"), (code, "code")) if column}


def columns(labels: Labels, listed: Sequence[str], layer: str) -> dict[str, str]:
    """Columns of a list's GeoPackage: those of the labels, then the list's own -> what the list calls them.

    GeoPackages do not tell columns apart by case; one of the list's that is called like one of the labels' takes the
    layer's name before its own: `label_review_label`.

    Raises:
        LabelError: the two columns of the labels differ in case alone.
    """
    own = label_columns(labels)
    if len({column.casefold() for column in own}) < len(own):
        where, fix = "labels.id and labels.attribute", "rename one of the columns in the label files"
        raise LabelError(Problem(where, f"columns {list(own)}", "names that differ in more than case", fix))
    return {**own, **{free(key, own, layer): key for key in listed if key not in own.values()}}


def free(name: str, taken: Mapping[str, str], layer: str) -> str:
    """The name, behind the layer's where a column is already called so."""
    met = {column.casefold() for column in taken}
    while name.casefold() in met:
        name = f"{layer}_{name}"
    return name


def write(
    path: Path,
    layer: str,
    subject: Subject,
    compared: Compared,
    listed: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
) -> None:
    """Writes the listed polygons, whole, with the columns `keys` (see `columns`), in the CRS of the first tile.

    They lie on the orthophoto's ground, as corrections do, where a tile's `shift` has moved the labels to.

    Raises:
        LabelError: as `columns`.
    """
    import geopandas
    import pandas as pd  # type: ignore[import-untyped]

    labels = subject.manifest.dataset.labels
    named, entries = columns(labels, keys, layer), {entry.name: entry for entry in subject.entries}
    target = next(iter(entries.values())).crs
    parts = []
    for tile, outlines in compared.outlines.items():
        own = [row for row in listed if row["tile"] == tile]
        shapes = outlines.geometry[np.array([row["index"] for row in own], np.int64)]
        shapes, crs = translated(shapes, outlines.place, entries[tile].grid), entries[tile].crs
        table = {column: [_value(row[key]) for row in own] for column, key in named.items()}
        frame = geopandas.GeoDataFrame(pd.DataFrame(table), geometry=shapes, crs=crs)
        parts.append(frame if crs == target else frame.to_crs(target))
    rank = next(column for column, key in named.items() if key == "rank")
    found = geopandas.GeoDataFrame(pd.concat([p for p in parts if len(p)] or parts[:1])).sort_values(rank)
    names = {"FID": free(FID, named, layer), "GEOMETRY_NAME": free(GEOMETRY, named, layer)}
    write_layer(path, layer, found, layer_options=names, geometry_type="MultiPolygon", promote_to_multi=True)


def _value(value: Any) -> Any:
    return None if value == NULL else value
