"""Vector files of labels: layers, columns and CRS, and whether a file is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import ProjError

from landcover_orch.config import Values
from landcover_orch.errors import LabelError, Problem, pluralise
from landcover_orch.tiles.issues import some

SQLITE, SHAPEFILE, JSON = b"SQLite format 3\0", b"\0\0\x27\x0a", b"{"
"""How the files begin that are read. Others may name further files, as GDAL's VRT, or end anywhere unnoticed."""


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
    elif path.suffix.lower() == ".gpkg" or not head.lstrip().startswith((SHAPEFILE, JSON)):
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
