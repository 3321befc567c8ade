"""Unmatched files: orthophotos and labels below a dataset's root that its patterns leave out without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from landcover_orch.config import Dataset
from landcover_orch.errors import LandcoverError
from landcover_orch.tiles.issues import some
from landcover_orch.tiles.tile import Tile

RASTERS, VECTORS = (".tif", ".tiff"), (".gpkg", ".shp", ".geojson", ".json")
_PLACE = re.compile(r"\{tile(?::0\d)?\}")


def unmatched_notes(dataset: Dataset, tiles: Sequence[Tile]) -> Iterator[str]:
    """Notes on files that look like a tile's and are none's: other endings (a.tif, B.TIF), labels without orthophotos.

    Where `tiles.names` lists the tiles, others are left out on purpose.
    """
    try:
        root = dataset.folder
    except LandcoverError:
        return
    if dataset.tiles.names:
        return
    used = {path for tile in tiles for path in (*tile.images, tile.label) if path is not None}
    raster_labels = dataset.labels.kind != "vector"
    images = [path for path in similar_files(root, dataset.tiles.image, RASTERS) if path not in used]
    labels = [
        path
        for path in similar_files(root, dataset.tiles.label, RASTERS if raster_labels else VECTORS)
        if path not in used and path not in images
    ]
    if images:
        fix = "rename them, or list each in `tiles.overrides` under a name with its `image`"
        yield f"{root}: {some(names(root, images))} match no tile (`tiles.image: {dataset.tiles.image}`): {fix}"
    if labels:
        fix = "add the orthophotos, or take the labels out of the folder"
        yield f"{root}: {some(names(root, labels))} are labels without an orthophoto: {fix}"


def names(root: Path, paths: Sequence[Path]) -> list[str]:
    """Paths below a folder."""
    return [path.relative_to(root.resolve()).as_posix() for path in paths]


def similar_files(root: Path, pattern: str, endings: Sequence[str]) -> list[Path]:
    """Files that match a pattern with {tile} but for the ending of its name, or the case of its letters."""
    if not _PLACE.search(pattern) or not root.is_dir():
        return []
    parts = [re.escape(part) for part in _PLACE.split(str(PurePosixPath(pattern).with_suffix("")))]
    expression = re.compile("[^/]+?".join(parts) + r"\.[A-Za-z]+", re.IGNORECASE)
    parent = PurePosixPath(pattern).parent
    folder = root if _PLACE.search(str(parent)) else root / parent
    candidates = folder.rglob("*") if folder == root and "/" in pattern else folder.glob("*")
    return sorted(
        path.resolve()
        for path in candidates
        if path.suffix.lower() in endings
        and not path.name.startswith(".")
        and expression.fullmatch(path.relative_to(root).as_posix())
        and path.is_file()
    )
