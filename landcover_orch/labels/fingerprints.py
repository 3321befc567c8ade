"""Label fingerprints: the digest of what is read of a tile's labels, with its shift and its corrections."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

from landcover_orch.errors import LabelError
from landcover_orch.store.fingerprint import combined, fingerprint, remembered
from landcover_orch.tiles.catalogue import image_fingerprint, raster_fingerprint
from landcover_orch.tiles.tile import Tile

GEOPACKAGE, SHAPEFILE = ".gpkg", ".shp"
VECTORS = (GEOPACKAGE, SHAPEFILE, ".geojson", ".json")
DATE = slice(1, 4)
"""Bytes of a .dbf file that hold the date of its last opening for writing."""


def tile_fingerprints(tile: Tile, memory: Path) -> tuple[str, str | None]:
    """Fingerprints of all files of a tile's image and of its labels (None without any), remembered in `memory`.

    Labels that are shifted are other labels: their fingerprint says by how much. So are those with corrections on the
    tile; corrections elsewhere leave it as it is.
    """
    image = image_fingerprint(tile, memory)
    if tile.label is None:
        return image, None
    further = [path for part in tile.components for path in part if path is not None]
    label = combined(label_fingerprint(path, tile, memory) for path in (tile.label, *further))
    if any(tile.shift):
        label = f"sha256:{hashlib.sha256(f'{label} moved by {tile.shift}'.encode()).hexdigest()}"
    if not tile.corrections:
        return image, label
    from landcover_orch.labels import corrections  # reads vector files, which a catalogue without them need not

    return image, corrections.with_corrections(label, tile, memory)


def label_fingerprint(path: Path, tile: Tile, memory: Path) -> str:
    """Fingerprint of what is read of a file of labels: of a raster as of an orthophoto, of a GeoPackage its features.

    Opening a GeoPackage in QGIS changes bytes of it and no feature.

    Raises:
        RasterError: there is no such file.
    """
    ending = path.suffix.lower()
    if ending == GEOPACKAGE and path.is_file():
        try:
            what = f"features {tile.layer} {tile.columns}"
            digest = remembered(what, (path,), memory, lambda: features_digest(path, tile.layer, tile.columns))
        except (sqlite3.Error, LabelError):  # no GeoPackage: it counts by its bytes, and the check says what it is
            return fingerprint(path, memory)
        return f"sha256:{digest}"
    return fingerprint(path, memory) if ending in VECTORS or not path.suffix else raster_fingerprint(path, memory)


def features_digest(path: Path, layer: str | None, columns: tuple[str, ...]) -> str:
    """SHA-256 of the features of a GeoPackage: columns and geometry that are read, in the order of their numbers.

    Args:
        path: the file.
        layer: name or pattern of the layer; None for all.
        columns: that are read; none for all of them, of all layers and tables.

    Raises:
        sqlite3.Error: it is no SQLite file, or a page of it is damaged.
        LabelError: it has no layer, or changes lie beside it.
    """
    from landcover_orch.labels.vectors import require_complete

    require_complete(path)
    digest = hashlib.sha256()
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as file:
        file.text_factory = bytes
        for table, geometry in sorted(tables(file, layer if columns else None)):
            fields = [row[1].decode() for row in file.execute(f"PRAGMA table_info({quoted(table)})")]
            used = [name for name in fields if not columns or name in (*columns, geometry) or name.lower() == "fid"]
            query = ", ".join(map(quoted, used)) or "NULL"
            digest.update(repr([table, used, list(reference_system(file, table))]).encode())
            key = "1" if "fid" not in used else quoted("fid")
            for row in file.execute(f"SELECT {query} FROM {quoted(table)} ORDER BY {key}"):  # noqa: S608 - quoted
                digest.update(repr(row).encode())
    return digest.hexdigest()


def tables(file: sqlite3.Connection, layer: str | None) -> Iterator[tuple[str, str | None]]:
    """Layers of a GeoPackage that a pattern matches, with their column of geometries; for None tables too."""
    query = (
        "SELECT c.table_name, g.column_name FROM gpkg_contents c "
        "LEFT JOIN gpkg_geometry_columns g ON g.table_name = c.table_name"
    )
    for name, geometry in file.execute(query):
        table = name.decode()
        if table in ("layer_styles", "qgis_projects"):
            continue
        if layer is None or fnmatchcase(table.casefold(), layer.casefold()):
            yield table, geometry.decode() if geometry else None


def reference_system(file: sqlite3.Connection, table: str) -> Iterator[bytes]:
    """Organisation, number and definition of a layer's CRS."""
    query = (
        "SELECT s.organization, s.organization_coordsys_id, s.definition FROM gpkg_contents c "
        "JOIN gpkg_spatial_ref_sys s ON s.srs_id = c.srs_id WHERE c.table_name = ?"
    )
    for row in file.execute(query, (table,)):
        yield repr(row).encode()


def quoted(name: str) -> str:
    """A name of SQL."""
    return '"' + name.replace('"', '""') + '"'
