"""A province of SIOSE polygons in one GeoPackage: seconds and memory for the labels of one of its tiles."""

from __future__ import annotations

import os
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely

from landcover_orch.config import Dataset, load_legend
from landcover_orch.config.yamlfile import parse
from landcover_orch.ground_truth import build as truth
from landcover_orch.synthetic.siose_labelling import NUMBERS
from landcover_orch.tiles.catalogue import tiles
from tests.scenes import CRS, ORIGIN, write_geotiff

SIDE_M = 100.0
"""Side of a polygon; with 36 corners each, a little bent, so that neighbours still meet."""

TILE = 4096
RESOLUTION = 0.5
COVERS = ("CHL", "PRD", "SDN", "FDC", "CNF", "ACU", "ALG", "VAP", "EDF")

VARIANTS = {
    "SIOSE_CODE": ("province", "siose"),
    "T_VALORES": ("province", "values"),
    "without spatial index": ("plain", "siose"),
}
"""Name -> GeoPackage, and what tells the covers."""


def main(count: int = 500_000) -> dict[str, Any]:
    """Prints and gives seconds and peak memory of one tile's labels, each variant in a process of its own."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        root = Path(folder)
        start = time.perf_counter()
        across = write(root, count)
        found: dict[str, Any] = {"writing s": time.perf_counter() - start}
        found["file MiB"] = (root / "province.gpkg").stat().st_size / 2**20
        for name, (file, content) in VARIANTS.items():
            with get_context("spawn").Pool(1) as pool:
                seconds, cost, polygons = pool.apply(_tile, (folder, file, content))
            found[f"{name}: tile s"], found[f"{name}: peak MiB"] = seconds, cost.peak_bytes / 2**20
            found[f"{name}: Mpx/CPU-s"] = TILE**2 / cost.cpu_s / 1e6
            found[f"{name}: polygons/CPU-s"] = polygons / cost.cpu_s
    print(
        f"province, {across**2:,} composite polygons, a tile of {TILE} x {TILE} px at {RESOLUTION} m, borders ignored"
    )
    for name, value in found.items():
        print(f"  {name}: {value:.2f}")
    return found


def write(root: Path, count: int) -> int:
    """Writes province.gpkg, plain.gpkg without index, and a tile in the middle; gives the polygons along a side."""
    across = int(count**0.5 + 0.5)
    rows, cols = (part.reshape(-1) for part in np.mgrid[:across, :across])
    corner = np.stack([ORIGIN[0] + cols * SIDE_M, ORIGIN[1] - rows * SIDE_M], axis=1)
    shapes = shapely.polygons(_ring()[None] + corner[:, None])
    rng = np.random.default_rng(0)
    names = np.array([f"P{i}" for i in range(len(shapes))], object)
    first = rng.integers(30, 100, len(shapes))
    covers = np.array(COVERS)[rng.integers(0, len(COVERS), (2, len(shapes)))]
    labels = [f"A({a}{one}_{100 - a}{two})" for a, one, two in zip(first, *covers, strict=True)]
    frame = geopandas.GeoDataFrame({"ID_POLYGON": names, "SIOSE_CODE": labels}, geometry=shapes, crs=CRS)
    pyogrio.write_dataframe(frame, root / "province.gpkg", layer="T_POLIGONOS", driver="GPKG")
    pyogrio.write_dataframe(frame, root / "plain.gpkg", layer="T_POLIGONOS", driver="GPKG", SPATIAL_INDEX="NO")
    table = {
        "ID_POLYGON": np.repeat(names, 2),
        "ID_COBERTURA": [NUMBERS[cover] for cover in covers.T.reshape(-1)],
        "ID_ANCESTROS": [""] * (2 * len(shapes)),
        "SUPERF_POR": np.stack([first, 100 - first], axis=1).reshape(-1).astype(float),
    }
    pyogrio.write_dataframe(geopandas.GeoDataFrame(table), root / "province.gpkg", layer="T_VALORES", driver="GPKG")
    middle = across // 2 * SIDE_M
    image = np.full((TILE, TILE), 9, np.uint8)
    place = (ORIGIN[0] + middle, ORIGIN[1] - middle)
    write_geotiff(root / "t.tif", image, origin=place, resolution=RESOLUTION, tiled=True)
    return across


def _ring() -> np.ndarray[Any, Any]:
    """A square ring of 36 corners whose sides wave alike on both sides, so that a grid of them leaves no gap."""
    along = np.linspace(0, SIDE_M, 10)[:-1]
    wave = 4 * np.sin(2 * np.pi * along / SIDE_M)
    top, right = np.stack([along, wave], axis=1), np.stack([SIDE_M + wave, -along], axis=1)
    bottom, left = np.stack([along, wave - SIDE_M], axis=1), np.stack([wave, -along], axis=1)
    corners = np.array([[SIDE_M, 0], [SIDE_M, -SIDE_M], [0, -SIDE_M], [0, 0]])
    return np.concatenate([top, right, corners[1:2], bottom[:0:-1], corners[2:3], left[:0:-1], corners[3:]])


def _tile(folder: str, file: str, content: str) -> tuple[float, Any, int]:
    """Seconds, cost and polygons of the tile's ground truth, with a band along borders ignored."""
    labels = {"layer": "T_POLIGONOS", "content": content, "id": "ID_POLYGON"}
    plain = {
        "name": f"{file}-{content}",
        "root": folder,
        "tiles": {"image": "{tile}.tif", "label": f"{file}.gpkg"},
        "bands": ["grey"],
        "legend": "landscape-siose",
        "labels": labels if content == "values" else {**labels, "attribute": "SIOSE_CODE"},
        "experiments": ["none"],
    }
    dataset = parse(plain, Dataset, "bench")
    (tile,) = tiles(dataset)
    start = time.perf_counter()
    legend = load_legend(dataset.legend).model_copy(update={"border": 2})
    product = truth.build(dataset, legend, tile, Path(folder) / "home")
    polygons = sum(row["polygons"] for row in product.json(truth.SUMMARY)["decisions"])
    return time.perf_counter() - start, product.cost, polygons


if __name__ == "__main__":
    main()
