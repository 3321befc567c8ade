"""The label reviewer on a tile of many polygons with a planted shift: ground truth, patches, and the examination.

Each is built in a process of its own; rates are in Mpx and polygons a CPU-second.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Dataset, load_legend
from landcover_orch.grid import Window, blocks
from landcover_orch.ground_truth import borders
from landcover_orch.ground_truth import build as truth
from landcover_orch.ground_truth.quality import build as quality
from landcover_orch.labels.codes import to_classes
from landcover_orch.patches import store, write
from landcover_orch.patches.conservation import covered
from landcover_orch.store.publish import current
from landcover_orch.synthetic import labelling, landscape
from landcover_orch.synthetic.camera import BANDS
from landcover_orch.tiles.catalogue import tiles

SIDE = 2048
"""Side of the scene that is repeated, in pixels; every other copy is mirrored, so that parcels meet at the seams."""

RESOLUTION = 0.5
SHIFT = (6, -4)
"""Pixels (right, down) that the polygons lie beside the image."""

ROWS = 256
LEGEND = load_legend("landscape").model_copy(update={"border": 2})


def main(shape: tuple[int, int] = (4096, 6144)) -> dict[str, Any]:
    """Prints and gives seconds, rates, peak memory and what the reviewer found of a tile of `shape` (height, width)."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        root = Path(folder)
        polygons = _write_labels(root / "t.gpkg", shape)
        _write_image(root / "t.tif", shape)
        found: dict[str, Any] = {"polygons": polygons}
        for name, work in (("ground truth", _truth), ("patches", _patches), ("label quality", _quality)):
            with get_context("spawn").Pool(1) as pool:
                cost, told = pool.apply(work, (root,))
            found[f"{name} CPU s"], found[f"{name} wall s"] = cost.cpu_s, cost.wall_s
            found[f"{name} Mpx/CPU-s"] = shape[0] * shape[1] / cost.cpu_s / 1e6
            if name != "patches":
                found[f"{name} polygons/CPU-s"] = polygons / cost.cpu_s
            found[f"{name} peak MiB"] = cost.peak_bytes / 2**20
            found |= told
    print(
        f"label quality, {shape[0]} x {shape[1]} px, labels {SHIFT[0]} px right and {SHIFT[1]} px down beside the image"
    )
    for name, value in found.items():
        print(f"  {name}: {value:,.2f}" if isinstance(value, float) else f"  {name}: {value}")
    return found


def _write_image(path: Path, shape: tuple[int, int]) -> None:
    """Rows of copies of a scene, each copy brighter or darker by up to a tenth."""
    image = landscape.scene(SIDE, SIDE, resolution=RESOLUTION).image[:3]
    rng = np.random.default_rng(4)
    gains = rng.uniform(0.9, 1.1, (-(-shape[0] // SIDE), -(-shape[1] // SIDE)))
    raster.write_tiled(path, _grid(shape), "uint8", BANDS[:3], _rows(image, gains, shape))


def _rows(
    image: NDArray[np.uint8], gains: NDArray[np.float64], shape: tuple[int, int]
) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    for row in range(0, shape[0], ROWS):
        down, tall = row // SIDE, min(ROWS, shape[0] - row)
        turned = image[:, :: (1, -1)[down % 2]][:, row % SIDE : row % SIDE + tall]
        copies = [_brighter(turned[:, :, :: (1, -1)[i % 2]], gain) for i, gain in enumerate(gains[down])]
        yield Window(row, 0, tall, shape[1]), np.concatenate(copies, axis=2)[:, :, : shape[1]]


def _brighter(pixels: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)[pixels])


def _write_labels(path: Path, shape: tuple[int, int]) -> int:
    """The parcels of all copies, moved, and how many; of each copy the first is missing and the second lies twice."""
    scene = landscape.scene(SIDE, SIDE, resolution=RESOLUTION)
    left, _, _, top = frame = tuple(scene.grid.boundingbox)
    parcels = labelling.clipped(labelling.complete(scene.land.parcels), frame)
    parcels = [parcels[1], *parcels[1:]]
    shapes, codes = np.array([p.shape for p in parcels], object), [p.code for p in parcels]
    corner, step = np.array([left, top]), SIDE * RESOLUTION
    move = np.array([SHIFT[0], -SHIFT[1]]) * RESOLUTION
    copies = [
        shapely.transform(shapes, lambda xy, i=i, j=j: _copied(xy - corner, i, j, step) + corner + move)
        for i in range(-(-shape[0] // SIDE))
        for j in range(-(-shape[1] // SIDE))
    ]
    labels = geopandas.GeoDataFrame({"code": codes * len(copies)}, geometry=np.concatenate(copies), crs=landscape.CRS)
    pyogrio.write_dataframe(labels, path, layer="labels", driver="GPKG", geometry_type="Polygon")
    return len(labels)


def _copied(xy: NDArray[np.float64], down: int, right: int, step: float) -> NDArray[np.float64]:
    """Points of the scene, from its upper left corner, as in the copy that lies `down` and `right` of it."""
    x = (step - xy[:, 0] if right % 2 else xy[:, 0]) + right * step
    y = (-step - xy[:, 1] if down % 2 else xy[:, 1]) - down * step
    return np.stack([x, y], axis=1)


def _grid(shape: tuple[int, int]) -> GeoBox:
    left, top = landscape.ORIGIN
    return GeoBox(shape, Affine(RESOLUTION, 0, left, 0, -RESOLUTION, top), landscape.CRS)


def _dataset(root: Path) -> Dataset:
    return Dataset.model_validate(
        {
            "name": "reviewer",
            "root": str(root),
            "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
            "bands": ["red", "green", "blue"],
            "legend": "landscape",
            "labels": {"attribute": "code"},
            "splits": {"validation": {"blocks": 0.1}, "test": {"blocks": 0.1}, "block": 1024},
            "patches": {"size": 256, "stride": 256},
            "experiments": ["none"],
        }
    )


def _truth(root: Path) -> tuple[Any, dict[str, Any]]:
    dataset = _dataset(root)
    product = truth.build(dataset, LEGEND, tiles(dataset)[0], root / "home")
    return product.cost, {"areas agree": product.json(truth.SUMMARY)["areas_agree"], **_burning(dataset)}


def _burning(dataset: Dataset) -> dict[str, float]:
    """Rates of burning polygons and finding the bands along their borders, with nothing read or written."""
    tile, codes = tiles(dataset)[0], truth.code_numbers(dataset, LEGEND, tiles(dataset)[0])
    image = raster.inspect(tile.image)
    windows = blocks(image.shape, truth.STRIP_ROWS, image.shape[1])
    labels = truth.read_labels(dataset, LEGEND, tile, image, windows, codes)
    classes = (to_classes(strip, codes) for strip in labels.strips)
    start = time.process_time()
    for _ in borders.bands(classes, borders.widths(LEGEND, image.grid)):
        pass
    seconds = time.process_time() - start
    polygons = len(labels.polygons.geometry) if labels.polygons else 0
    rates = {"Mpx/CPU-s": image.shape[0] * image.shape[1] / 1e6, "polygons/CPU-s": polygons}
    return {f"burning and border bands {unit}": count / seconds for unit, count in rates.items()}


def _patches(root: Path) -> tuple[Any, dict[str, Any]]:
    dataset = _dataset(root)
    return write.build(dataset, LEGEND, tiles(dataset)[0], root / "home").cost, {}


def _quality(root: Path) -> tuple[Any, dict[str, Any]]:
    dataset = _dataset(root)
    tile = tiles(dataset)[0]
    ground, patches = (current(root / "home" / "reviewer" / asset, tile.name) for asset in ("ground_truth", "patches"))
    cut = quality.Cut(patches.fingerprint, lambda: covered(patches.file(store.STORE), ground.file(truth.CLASS_RASTER)))
    product = quality.build(dataset, LEGEND, tile, root / "home", cut)
    summary = product.json(quality.SUMMARY)
    told = ("shift", "confidence", "advice", "holes", "gaps", "overlaps", "slivers", "notes")
    return product.cost, {name: summary[name] for name in told}


if __name__ == "__main__":
    main()
