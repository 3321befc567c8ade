"""Whole-tile prediction against the bare forward pass of the same run: window pixels a second, and memory."""

from __future__ import annotations

import logging
import resource
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from landcover_orch.config.experiments import Experiment, Prediction, models
from landcover_orch.models import networks
from landcover_orch.store.publish import Recipe
from landcover_orch.synthetic.mosaic import write_mosaic

MODEL = models.UNet(width=64, levels=3)
CLASSES, BANDS, WINDOW, STRIDE = 10, 4, 256, 192
FORWARD_S = 15.0


def main(shape: tuple[int, int] = (2048, 3072)) -> dict[str, Any]:
    """Prints and gives the map's and the forward's Mpx/s of windows, their ratio, and memory over the model's own.

    Model and map run in a process each, so that each has a peak of its own.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_mosaic(folder / "tile.tif", folder / "label.tif", *shape, bands=BANDS)
        with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            before = pool.apply(_forward, (folder,))
            whole = pool.apply(_map, (folder, shape))
            after = pool.apply(_forward, (folder,))
    bare = (before["mpx_s"] + after["mpx_s"]) / 2
    found = {
        "window Mpx/s": round(whole["mpx_s"], 3),
        "bare forward Mpx/s": round(bare, 3),
        "ratio": round(whole["mpx_s"] / bare, 3),
        "ratio by CPU time": round(whole["mpx_cpu_s"] * 2 / (before["mpx_cpu_s"] + after["mpx_cpu_s"]), 3),
        "memory over the model's own, MB": round((whole["peak"] - max(before["peak"], after["peak"])) / 1e6),
        "model's own, MB": round(before["peak"] / 1e6),
    }
    _say(shape, found)
    return found


def _say(shape: tuple[int, int], found: dict[str, Any]) -> None:
    print(f"prediction, {shape[0]} x {shape[1]} px, {BANDS} bands, {CLASSES} classes, unet of width {MODEL.width}")
    for name, value in found.items():
        print(f"  {name}: {value}")


def _experiment() -> Experiment:
    settings = Prediction(window=WINDOW, stride=STRIDE, batch_size=8)
    return Experiment(name="bench", model=MODEL, device="cpu", prediction=settings)


def _contract() -> Any:
    from landcover_orch.legend import LandClass, Legend
    from landcover_orch.models.contract import Contract

    classes = tuple(LandClass(id=i, name=f"class {i}", colour=f"#{20 * i:02x}8040") for i in range(CLASSES))
    return Contract(
        model=MODEL,
        bands=tuple(f"band {i}" for i in range(BANDS)),
        dtype="uint8",
        resolution=0.5,
        mean=(128.0,) * BANDS,
        std=(70.0,) * BANDS,
        legend=Legend(name="bench", classes=classes, codes={}),
        patch_size=WINDOW,
        dataset="bench",
        data_digest="none",
        experiment="bench",
    )


def _module(contract: Any) -> Any:

    return networks.Normalised(networks.build(MODEL, BANDS, CLASSES), contract.mean, contract.std)


def _forward(folder: Path) -> dict[str, float]:
    """The bare forward pass: the module on one group of resident windows, again and again."""
    import torch

    from landcover_orch import raster  # noqa: F401 (the same libraries in memory as for the map)
    from landcover_orch.prediction import build  # noqa: F401
    from landcover_orch.prediction.forward import Forward
    from landcover_orch.training.device import choose

    forward = Forward(_module(_contract()).eval(), WINDOW, choose(_experiment()))
    windows = torch.randint(0, 256, (forward.group, BANDS, WINDOW, WINDOW), dtype=torch.uint8)
    forward.logits(windows)
    start, cpu, count = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - start) < FORWARD_S:
        forward.logits(windows)
        count += forward.group
    return _speeds(count * WINDOW**2, spent, time.process_time() - cpu)


def _map(folder: Path, shape: tuple[int, int]) -> dict[str, float]:
    from landcover_orch import raster
    from landcover_orch.prediction.build import predict
    from landcover_orch.prediction.layout import Layout
    from landcover_orch.prediction.source import ImageSource
    from landcover_orch.store import publish

    logging.basicConfig(level=logging.WARNING)
    contract = _contract()
    trained = publish.publish(
        folder, "m", Recipe("model", 1, {}, {}), lambda stage: networks.save(stage.path, _module(contract), contract)
    )
    image = ImageSource(raster.inspect(folder / "tile.tif"), contract.bands, "uint8", "file", "bench")
    layout = Layout(shape, WINDOW, STRIDE)
    start, cpu = time.perf_counter(), time.process_time()
    predict(trained, image, folder / "out", "tile", _experiment())
    pixels = len(layout.rows) * len(layout.cols) * WINDOW**2
    return _speeds(pixels, time.perf_counter() - start, time.process_time() - cpu)


def _speeds(pixels: int, wall: float, cpu: float) -> dict[str, float]:
    """Mpx a second of wall and of CPU time (which other work on the machine disturbs less), and the peak in bytes."""
    return {"mpx_s": pixels / wall / 1e6, "mpx_cpu_s": pixels / cpu / 1e6, "peak": _peak()}


def _peak() -> float:
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main((int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else (2048, 3072))
