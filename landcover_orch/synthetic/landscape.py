"""Synthetic dataset: tiles of a generated orthophoto with a true mask and four labelled versions of it.

The true mask is the complete labels rasterised by pixel centre, so both agree in every pixel. Labels that are
incomplete or inexact let a person measure what a method loses to them; so do the GeoPackages as SIOSE delivers them, in
three of which half the area lies in polygons with several covers. Older labels have the polygons of the complete ones,
and another code where the cover has changed since.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import STRtree
from shapely.geometry import Polygon, box

from landcover_orch.errors import ConfigError, Problem
from landcover_orch.grid import Window, window_grid
from landcover_orch.legend import IGNORE
from landcover_orch.raster import burn, write_tiled
from landcover_orch.store.products import SUMMARY
from landcover_orch.store.publish import Recipe, Stage, publish
from landcover_orch.synthetic import labelling, siose_labelling
from landcover_orch.synthetic.camera import BANDS, photograph
from landcover_orch.synthetic.labelling import Label
from landcover_orch.synthetic.siose_labelling import CompositeLabel
from landcover_orch.synthetic.terrain import Terrain, terrain

VERSION = 3
CRS = "EPSG:25830"
ORIGIN = (500_000.0, 4_700_000.0)
"""Upper left corner of the mosaic (x, y)."""

MARGIN_M = 16.0
"""Metres that are generated beyond the mosaic, so that displaced borders do not open gaps at its edge."""

CLASSES = {"110": 0, "120": 0, "210": 1, "220": 1, "310": 2, "410": 3, "510": 4}
"""Source code -> class id, as configs/legends/landscape.yaml says."""

LABELS = ("complete", "incomplete", "inexact", "older")
LAYER = "cover"
SIOSE = ("simple", "composite", "nested", "values")
SIOSE_LAYER, VALUES_LAYER = "T_POLIGONOS", "T_VALORES"


@dataclass(frozen=True)
class Settings:
    """What a landscape depends on: the seed, tiles down and across, pixels along a tile's side, metres a pixel."""

    seed: int = 0
    rows: int = 2
    cols: int = 3
    size: int = 640
    resolution: float = 0.5

    @property
    def tiles(self) -> list[str]:
        """Names of the tiles, r0c0, r0c1, ... row by row."""
        return [f"r{row}c{col}" for row in range(self.rows) for col in range(self.cols)]

    def window(self, name: str) -> Window:
        """Where a tile lies in the mosaic."""
        row, col = map(int, name[1:].split("c"))
        return Window(row * self.size, col * self.size, self.size, self.size)


@dataclass(frozen=True)
class Scene:
    """A mosaic in memory: its grid, image (band, y, x) uint8, true class ids (y, x), and the terrain as polygons."""

    grid: GeoBox
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    land: Terrain


def scene(height: int, width: int, *, seed: int = 0, resolution: float = 0.5) -> Scene:
    """A landscape of one piece, `height` x `width` pixels; the same arguments give the same pixels."""
    x, y = ORIGIN
    grid = GeoBox((height, width), Affine(resolution, 0, x, 0, -resolution, y), CRS)
    plan, light = (np.random.default_rng((seed, part)) for part in (0, 1))
    land = terrain(_outline(grid).buffer(MARGIN_M, join_style="mitre"), plan)
    truth = rasterise(labelling.complete(land.parcels), grid)
    return Scene(grid, photograph(land, grid, light), truth, land)


def write(
    folder: Path, *, seed: int = 0, rows: int = 2, cols: int = 3, size: int = 640, resolution: float = 0.5
) -> list[str]:
    """Names of the tiles of a landscape in `folder`, which is written unless the same one is there already.

    `folder` becomes a link to the published landscape: images/, truth/, labels/{complete,incomplete,inexact,older}/ and
    labels/siose-{simple,composite,nested,values}/ with a file a tile, and settings.json.

    Raises:
        ConfigError: the settings make no landscape, or `folder` holds something else.
    """
    settings = Settings(seed, rows, cols, size, resolution)
    link = folder.with_name(re.sub(r"-[0-9a-f]{16}$", "", folder.name))
    if link.is_symlink() and link.resolve() == folder.resolve():
        folder = link  # the name that the landscape was published under
    require_settings(folder, settings)
    recipe = Recipe("landscape", VERSION, {}, asdict(settings))
    publish(folder.parent, folder.name, recipe, lambda stage: _build(stage, settings))
    return settings.tiles


def require_settings(folder: Path, settings: Settings) -> None:
    """Raises ConfigError where settings make no landscape, or `folder` holds something else; all in one error."""
    smallest = {"rows": 1, "cols": 1, "size": 64, "seed": 0}
    problems = [
        Problem(f"landscape: {name}", str(value), f"at least {least}", f"give a larger {name}")
        for name, least in smallest.items()
        if (value := getattr(settings, name)) < least
    ]
    if not settings.resolution > 0:
        problems.append(Problem("landscape: resolution", str(settings.resolution), "above 0", "give metres a pixel"))
    if folder.exists() and not folder.is_symlink():
        problems.append(
            Problem(str(folder), "something that is no generated landscape", "a free name", "choose another folder")
        )
    if problems:
        raise ConfigError(*problems)


def _build(stage: Stage, settings: Settings) -> None:
    size = settings.size
    mosaic = scene(settings.rows * size, settings.cols * size, seed=settings.seed, resolution=settings.resolution)
    versions = label_versions(mosaic, settings)
    cells = np.random.default_rng((settings.seed, 4))
    for name in settings.tiles:
        write_tile(stage.path, name, settings.window(name), mosaic, versions)
        write_siose(stage.path, name, _outline(window_grid(mosaic.grid, settings.window(name))), mosaic.land, cells)
    stage.write_json("settings.json", {"version": VERSION, **asdict(settings)})
    stage.write_json(SUMMARY, summarise(mosaic, versions, settings))


def label_versions(mosaic: Scene, settings: Settings) -> dict[str, list[Label]]:
    """The labels of the mosaic in each version, by name."""
    gaps, moves, past = (np.random.default_rng((settings.seed, part)) for part in (2, 3, 5))
    parcels = mosaic.land.parcels
    return {
        "complete": labelling.complete(parcels),
        "incomplete": labelling.incomplete(parcels, _outline(mosaic.grid), gaps),
        "inexact": labelling.inexact(parcels, settings.resolution, moves),
        "older": labelling.older(parcels, past),
    }


def write_tile(folder: Path, name: str, window: Window, mosaic: Scene, versions: dict[str, list[Label]]) -> None:
    """Writes the image, the true mask and the labels of a tile."""
    grid = window_grid(mosaic.grid, window)
    extent = Window(0, 0, window.height, window.width)
    for subfolder in ("images", "truth", *(f"labels/{version}" for version in LABELS)):
        (folder / subfolder).mkdir(parents=True, exist_ok=True)
    rows, cols = window.slices
    write_tiled(folder / f"images/{name}.tif", grid, "uint8", BANDS, [(extent, mosaic.image[:, rows, cols])])
    left, bottom, right, top = grid.boundingbox
    for version in LABELS:
        labels = labelling.clipped(versions[version], (left, bottom, right, top))
        columns = {"id": range(1, len(labels) + 1), "code": [label.code for label in labels]}
        _write_layer(folder / f"labels/{version}/{name}.gpkg", LAYER, columns, [label.shape for label in labels])
        if version == "complete":
            truth = rasterise(labels, grid)[None]
            write_tiled(folder / f"truth/{name}.tif", grid, "uint8", ("class",), [(extent, truth)])


def rasterise(labels: Sequence[Label], grid: GeoBox) -> NDArray[np.uint8]:
    """Rasterise labels: class ids (y, x) by pixel centre, 255 where there is no label."""
    shapes = [(label.shape, CLASSES[label.code]) for label in labels]
    return burn(shapes, grid, all_touched=False, fill=IGNORE).astype(np.uint8)


def write_siose(folder: Path, name: str, tile: Polygon, land: Terrain, rng: np.random.Generator) -> None:
    """Writes the SIOSE GeoPackages of a tile; the composite, nested and values versions have the same polygons."""
    near = [land.parcels[i] for i in sorted(STRtree([p.shape for p in land.parcels]).query(tile).tolist())]
    simple = siose_labelling.simple(near, tile)
    mixed = siose_labelling.composite(near, tile, rng)
    for version in SIOSE:
        path = folder / f"labels/siose-{version}/{name}.gpkg"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_siose_version(path, version, simple if version == "simple" else mixed)


def write_siose_version(path: Path, version: str, parts: Sequence[CompositeLabel]) -> None:
    """Writes one version of SIOSE labels: labels in a column, or a table of values."""
    names = [f"{path.stem}-{i}" for i in range(1, len(parts) + 1)]
    columns: dict[str, Sequence[Any]] = {"ID_POLYGON": names}
    if version != "values":
        columns["SIOSE_CODE"] = siose_labelling.labels(parts, nested=version == "nested")
    columns["SUPERF_HA"] = [round(part.shape.area / 10_000, 6) for part in parts]
    _write_layer(path, SIOSE_LAYER, columns, [part.shape for part in parts])
    if version == "values":
        rows = [row for name, part in zip(names, parts, strict=True) for row in siose_labelling.values(name, part)]
        _write_layer(path, VALUES_LAYER, {key: [row[key] for row in rows] for key in rows[0]}, None)


def _write_layer(path: Path, layer: str, columns: dict[str, Sequence[Any]], shapes: Sequence[Polygon] | None) -> None:
    """Writes a GeoPackage with a layer of polygons; or, without shapes, adds a table to it."""
    import geopandas

    from landcover_orch.store.geopackage import write_layer

    geometry = {} if shapes is None else {"geometry": shapes, "crs": CRS}
    frame = geopandas.GeoDataFrame(columns, **geometry)
    kind = {} if shapes is None else {"geometry_type": "Polygon"}
    if shapes is not None:
        path.unlink(missing_ok=True)  # of a build that was killed: a layer that is replaced has other bytes
    write_layer(path, layer, frame, **kind)


def summarise(mosaic: Scene, versions: dict[str, list[Label]], settings: Settings) -> dict[str, Any]:
    """The summary of a landscape: class pixels, polygons, and how much incomplete labels cover."""
    area = _outline(mosaic.grid).area
    pixels = np.bincount(mosaic.truth.reshape(-1), minlength=max(CLASSES.values()) + 1)
    labelled = labelling.clipped(versions["incomplete"], _outline(mosaic.grid).bounds)
    return {
        "tiles": settings.tiles,
        "class_pixels": pixels[: max(CLASSES.values()) + 1].tolist(),
        "polygons": {version: len(labels) for version, labels in versions.items()},
        "interpreted_share": round(sum(label.shape.area for label in labelled) / area, 4),
    }


def _outline(grid: GeoBox) -> Polygon:
    return box(*grid.boundingbox)
