"""Smoothing by each solver: Mpx a CPU-second and the energy it reaches, beside copying the costs once."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config.experiments.prediction import ICM, Annealing, GraphCut
from landcover_orch.legend import LandClass, Legend
from landcover_orch.prediction.potts import cost_table
from landcover_orch.prediction.smoothed import Mosaic, Smoother
from landcover_orch.prediction.source import ImageSource
from landcover_orch.store.publish import Stage

CLASSES, CONTRAST = 8, 1.5
PRIORS = (ICM(), ICM(neighbours=8), ICM(sigma=CONTRAST), Annealing(), GraphCut(), GraphCut(neighbours=8))


def main(side: int = 1024) -> dict[str, Any]:
    """Prints and gives, by solver: Mpx a CPU-second, the energy's fall, pixels changed, and the peak over the start's.

    Each solver runs in a process of its own, so that it has a peak of its own.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            pool.apply(_write, (folder, side))
            found = {_title(prior): pool.apply(_measure, (folder, side, i)) for i, prior in enumerate(PRIORS)}
    print(f"smoothing, {side} x {side} px, {CLASSES} classes")
    for title, values in found.items():
        print(f"  {title}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
    return found


def _title(prior: Any) -> str:
    return f"{prior.name}, {prior.neighbours} neighbours" + (", contrast" if prior.sigma else "")


def _write(folder: Path, side: int) -> None:
    """A first pass such as a network leaves: large shapes, unsure along their borders, speckled; and its image."""
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from scipy.ndimage import gaussian_filter

    from landcover_orch import raster
    from landcover_orch.grid import Window

    random = np.random.default_rng(0)
    shapes, speckle = (
        np.stack([gaussian_filter(random.normal(size=(side, side)), width) * width for _ in range(CLASSES)])
        for width in (16, 1.5)
    )
    layers = _layers(12 * shapes + 2 * speckle)
    np.save(folder / "first.npy", layers)
    grid = GeoBox((side, side), Affine(1, 0, 0, 0, -1, side), "EPSG:32633")
    image = (30 * layers[:1] + random.integers(0, 30, (3, side, side))).clip(1, 255).astype(np.uint8)
    raster.write_tiled(folder / "image.tif", grid, "uint8", ("a", "b", "c"), [(Window(0, 0, side, side), image)])


def _layers(logits: NDArray[np.float64]) -> NDArray[np.uint8]:
    shares = np.exp(logits - logits.max(axis=0))
    shares /= shares.sum(axis=0)
    costs = cost_table()[np.rint(shares * 65_535).astype(int)]
    best = logits.argmax(axis=0)
    least = np.minimum(np.take_along_axis(costs, best[None], 0), 254)
    costs = np.maximum(costs, least + 1)
    np.put_along_axis(costs, best[None], least, 0)
    return np.concatenate(
        [best[None].astype(np.uint8), np.rint(254 * shares.max(axis=0, keepdims=True)), costs]
    ).astype(np.uint8)


def _smoother(folder: Path, side: int, prior: Any) -> Smoother:
    from landcover_orch import raster
    from landcover_orch.config.experiments import models
    from landcover_orch.grid import Window
    from landcover_orch.models.contract import Contract
    from landcover_orch.prediction.layout import BUDGET

    classes = tuple(LandClass(id=i, name=f"class {i}", colour=f"#{20 * i:02x}8040") for i in range(CLASSES))
    bands = ("a", "b", "c")
    contract = Contract(
        model=models.UNet(),
        bands=bands,
        dtype="uint8",
        resolution=1.0,
        mean=(128.0,) * 3,
        std=(70.0,) * 3,
        legend=Legend(name="bench", classes=classes, codes={}),
        patch_size=256,
        dataset="bench",
        data_digest="none",
        experiment="bench",
    )
    image = ImageSource(raster.inspect(folder / "image.tif"), bands, "uint8", "file", "bench")
    first = Mosaic({Window(0, 0, side, side): folder / "first.npy"})
    return Smoother(first, image, contract, prior, BUDGET // 2)


def _measure(folder: Path, side: int, index: int) -> dict[str, float]:
    smoother = _smoother(folder, side, PRIORS[index])
    out = folder / f"out-{index}"
    out.mkdir()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    maps = smoother.run(Stage(out), out)
    spent = time.process_time() - start
    first, last, changed = smoother.energies(maps)
    return {
        "Mpx a CPU-second": round(side * side / spent / 1e6, 3),
        "energy": round(last / first, 4),
        "changed": round(changed / side**2, 4),
        "MB over the start": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
