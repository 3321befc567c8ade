"""Folder scan: the rasters and vector files of a folder by their headers, and those that cannot be read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyogrio

from landcover_orch import raster
from landcover_orch.errors import LabelError, LandcoverError, Problem
from landcover_orch.labels.vectors import readable

MAX_FILES = 20_000
"""Files of a folder that are opened."""

RASTERS, VECTORS = (".tif", ".tiff"), (".gpkg", ".shp", ".geojson")


@dataclass(frozen=True)
class RasterFile:
    """A GeoTIFF: its path below the folder, its metadata, and GDAL's colour interpretation of its bands."""

    path: str
    raster: raster.Raster
    roles: tuple[str, ...]


@dataclass(frozen=True)
class VectorFile:
    """A vector file with polygons: its path below the folder, a layer, what pyogrio knows of it, how many there are."""

    path: str
    full: Path
    layer: str
    info: dict[str, Any]
    layers: int = 1


@dataclass(frozen=True)
class Scan:
    """The files of a folder: what can be read, the problems of what cannot, and how many others there are by ending."""

    folder: Path
    rasters: tuple[RasterFile, ...]
    vectors: tuple[VectorFile, ...]
    problems: tuple[Problem, ...]
    others: Counter[str]
    complete: bool


def scan(folder: Path) -> Scan:
    """Reads the headers of all rasters and vector files below a folder; hidden files and folders do not count."""
    rasters: list[RasterFile] = []
    vectors: list[VectorFile] = []
    problems: list[Problem] = []
    others: Counter[str] = Counter()
    paths = [path for path, _ in zip(visible_files(folder), range(MAX_FILES + 1), strict=False)]
    for path in paths[:MAX_FILES]:
        ending, name = path.suffix.lower(), path.relative_to(folder).as_posix()
        try:
            if ending in RASTERS:
                described = raster.inspect(path)
                rasters.append(RasterFile(name, described, raster.color_interpretation(described)))
            elif ending in VECTORS:
                vectors.append(vector_file(path, name))
            else:
                others[ending or "no ending"] += 1
        except LandcoverError as error:
            problems.extend(error.problems)
    return Scan(folder, tuple(rasters), tuple(vectors), tuple(problems), others, len(paths) <= MAX_FILES)


def visible_files(folder: Path) -> Iterator[Path]:
    """All files below a folder in the order of their paths, links to folders not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(names) if not name.startswith("."))


def vector_file(path: Path, name: str) -> VectorFile:
    """A vector file by its header: of several layers the one with most polygons.

    Raises:
        LabelError: it cannot be read, or has no layer with polygons.
    """
    with readable(path):
        infos = {
            str(layer): pyogrio.read_info(path, layer=layer, force_feature_count=True)
            for layer, kind in pyogrio.list_layers(path)
            if kind is not None and ("Polygon" in kind or kind in ("Unknown", "GeometryCollection"))
        }
        if not infos:
            fix = "move it out of the folder, or save the labels as polygons"
            raise LabelError(Problem(str(path), "no layer with polygons", "polygons with a column of codes", fix))
        layer = max(infos, key=lambda layer: int(infos[layer]["features"]))
        geometries = [kind for _, kind in pyogrio.list_layers(path) if kind is not None]
        return VectorFile(name, path, layer, infos[layer], len(geometries))
