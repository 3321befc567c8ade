"""Vector files of labels: layers, columns and CRS, and whether a file is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import ProjError

from landcover_orch.config import Values
from landcover_orch.errors import LabelError, Problem, pluralise
from landcover_orch.grid import Bounds, bounding_boxes
from landcover_orch.tiles.issues import some

SQLITE, SHAPEFILE, JSON, BYTE_ORDER_MARK = b"SQLite format 3\0", b"\0\0\x27\x0a", b"{", b"\xef\xbb\xbf"
"""How the files begin that are read. Others may name further files, as GDAL's VRT, or end anywhere unnoticed."""


MAX_TEXT = 10_000
"""Letters of a code or a polygon's name; SIOSE's composites have some hundred."""

CRS_FIX = "state it once with ogr2ogr -a_srs EPSG:n"
UNREADABLE_FIX = "restore the file, or convert it with ogr2ogr -f GPKG"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Context manager: what a vector file cannot be read for is raised as a LabelError that names the file.

    Raises:
        LabelError: the file is none (see `require_complete`), it or its CRS cannot be read.
    """
    require_complete(path)
    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        actual = f"not readable as a vector file ({error})"
        raise LabelError(Problem(str(path), actual, "a vector file with polygons", UNREADABLE_FIX)) from error
    except ProjError as error:
        actual = f"a CRS from which no way leads to the orthophoto's ({error})"
        raise LabelError(Problem(str(path), actual, "a CRS with a place on the Earth", CRS_FIX)) from error


def read_within(
    path: Path, layer: str, columns: Sequence[str], boxes: Sequence[Bounds]
) -> tuple[dict[str, NDArray[Any]], NDArray[Any], NDArray[Any]]:
    """Column -> values, feature numbers and WKB of the features whose bounds meet one of some boxes, each once.

    Raises:
        LabelError: a text is longer than `MAX_TEXT`.
    """
    parts = [pyogrio.raw.read(path, layer=layer, columns=columns, bbox=box, return_fids=True) for box in boxes]
    names = [str(field) for field in parts[0][0]["fields"]]
    ids, wkb, *data = (
        np.concatenate(arrays) for arrays in zip(*((ids, wkb, *data) for _, ids, wkb, data in parts), strict=True)
    )
    _, first = np.unique(ids, return_index=True)
    once = np.sort(first)
    values = dict(zip(names, (column[once] for column in data), strict=True))
    require_short(path, values, ids[once])
    return values, ids[once], wkb[once]


def meets(path: Path, layer: str, grid: GeoBox, crs: str) -> bool:
    """Whether the bounds of a feature of a layer meet a grid, and not in an edge alone."""
    for west, south, east, north in bounding_boxes(grid, crs):
        _, (left, bottom, right, top) = pyogrio.read_bounds(path, layer=layer, bbox=(west, south, east, north))
        if ((left < east) & (bottom < north) & (right > west) & (top > south)).any():
            return True
    return False


def require_short(path: Path, columns: Mapping[str, NDArray[Any]], ids: NDArray[Any]) -> None:
    """Raises LabelError where a text of a column that is read is longer than `MAX_TEXT`: no code or name is."""
    problems = []
    for name, values in columns.items():
        length, row = max(((len(value), i) for i, value in enumerate(values) if isinstance(value, str)), default=(0, 0))
        if length > MAX_TEXT:
            longest = f"a text of {length:,} letters in column {name!r}, of polygon {ids[row]}"
            problems.append(Problem(str(path), longest, f"at most {MAX_TEXT:,}", "correct it, or name another column"))
    if problems:
        raise LabelError(*problems)


def layer_of(path: Path, name: str | None, more: str = "") -> str:
    """The layer of a vector file that bears a name, or matches a pattern as SAR_*_T_COMBINADA, in any case of letters.

    For None the only one with geometries: tables, as QGIS keeps its styles in, do not count.

    Raises:
        LabelError: none or several do; the layers there are are named.
    """
    kinds = {str(name): kind for name, kind in pyogrio.list_layers(path)}
    layers, pattern = [*kinds], (name or "*").casefold()
    matches = [
        layer for layer in layers if fnmatchcase(layer.casefold(), pattern) and (name or kinds[layer] is not None)
    ]
    matches = [name] if name in layers else matches
    if len(matches) == 1:
        return str(matches[0])
    actual = (
        f"no layer {name!r}"
        if name and not matches
        else f"{pluralise(len(matches), 'layer matches', 'layers match')} {name!r}"
    )
    actual = actual if name else f"{pluralise(len(matches), 'layer')} with geometries"
    raise LabelError(
        Problem(
            str(path),
            f"{actual}; the file has {some(layers) or 'none'}",
            "the one layer with the polygons",
            f"set `labels.layer`{more}",
        )
    )


def id_fix(column: str, info: Mapping[str, Any]) -> str | None:
    """What to do where `labels.id` names the feature numbers, which QGIS shows as a column; None where it does not."""
    if column.casefold() not in ("fid", "ogc_fid", str(info.get("fid_column") or "fid").casefold()):
        return None
    return "leave `labels.id` empty: polygons are named by their feature number (fid) then"


def corrected_layer(path: Path) -> str:
    """The layer of a file of corrected polygons; tables without geometry, as QGIS keeps its styles in, do not count.

    Raises:
        LabelError: there are several, or none.
    """
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) == 1:
        return layers[0]
    found, fix = (
        f"{pluralise(len(layers), 'layer')} with geometries: {some(layers) or 'none'}",
        "save the one in a file of its own",
    )
    raise LabelError(Problem(str(path), found, "the one layer of corrected polygons", fix))


def table_columns(path: Path, table: Values) -> tuple[str, list[str]]:
    """The layer of a table of covers, and those of its columns that are read; that of ancestors may be missing.

    Raises:
        LabelError: the table or a column is missing.
    """
    layer = layer_of(path, table.layer)
    columns = [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
    required = [table.polygon, table.cover, table.percent]
    missing = [name for name in required if name not in columns]
    if missing:
        found = f"no columns {missing}; there are {some(columns) or 'none'}"
        fix = "correct `labels.values`"
        raise LabelError(Problem(f"{path}, layer {layer}", found, "polygon, cover and percentage", fix))
    return layer, [*required, *([table.ancestors] if table.ancestors in columns else [])]


def require_complete(path: Path) -> None:
    """Raises LabelError where a vector file is of no format that is read, or cut short, or still being edited.

    SQLite notices a missing page only when it comes to it, and a reading within bounds may never do so: a GeoPackage
    shorter than its own count of pages says was cut short. Changes that a program keeps beside it would be read now
    and fingerprinted never, and reading would write them into the file.
    """
    with path.open("rb") as file:
        head = file.read(100)
    if head.startswith(SQLITE):
        require_no_journal(path)
        page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
        expected, size = (65_536 if page == 1 else page) * pages, path.stat().st_size
        if head[24:28] == head[92:96] and size < expected:  # else the count of pages is not kept up to date
            fix = "copy the file again from its source"
            raise LabelError(Problem(str(path), f"cut short: {size:,} bytes", f"{expected:,} bytes", fix))
    elif path.suffix.lower() == ".gpkg" or not head.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(
        (SHAPEFILE, JSON)
    ):
        actual = f"it begins with {head[:16]!r}" if head else "an empty file"
        raise LabelError(Problem(str(path), actual, "a GeoPackage, a shapefile or GeoJSON", UNREADABLE_FIX))


def require_no_journal(path: Path) -> None:
    """Raises LabelError where a write-ahead log or a rollback journal of an SQLite file holds changes.

    Of a journal that is done with, zeros may be left.
    """
    for journal in (path.with_name(f"{path.name}{end}") for end in ("-wal", "-journal")):
        if not journal.is_file():
            continue
        with journal.open("rb") as file:
            begun = any(file.read(8))
        if begun:
            fix = f"close the program that edits it, as QGIS, or copy it: ogr2ogr -f GPKG copy.gpkg {path.name}"
            raise LabelError(Problem(str(path), f"changes beside it, in {journal.name}", "one whole file", fix))
