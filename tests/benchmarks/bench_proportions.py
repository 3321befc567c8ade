"""What composite polygons teach: mean IoU on the true classes, learnt from their shares and with the polygons dropped.

On the generated landscape with SIOSE labels, half of it in polygons of several covers. Four ways to learn from it, each
with several seeds: the composites are dropped (rule ignore); dropped unless their covers are of one class (rule soft,
whose shares nothing uses); dissolved (rule dissolve, 75 %); or learnt from by their shares (rule soft, loss
proportions). The map of the test tile is scored against the landscape's true classes.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from landcover_orch import confusion, raster, training
from landcover_orch.config import Dataset, load_dataset, load_experiment, load_legend
from landcover_orch.experiment import Experiment
from landcover_orch.grid import blocks
from landcover_orch.ground_truth import truth
from landcover_orch.legend import Legend
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import write
from landcover_orch.patches.manifest import load
from landcover_orch.prediction.build import build as predict
from landcover_orch.publish import Product
from landcover_orch.raw import landscape
from landcover_orch.raw.catalogue import tiles

SEEDS = (0, 1, 2)
WAYS = {
    "dropped": ("ignore", "demo-unet"),
    "unused": ("soft", "demo-unet"),
    "dissolved": ("dissolve", "demo-unet"),
    "shares": ("soft", "demo-proportions"),
}
"""Way -> rule of composites, recipe."""

TEST = "r1c1"
EPOCHS = 12


def main(seeds: tuple[int, ...] = SEEDS, **changed: Any) -> dict[str, list[float]]:
    """Prints and gives the mean IoU of each way and seed; `changed` are parts of all recipes."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with TemporaryDirectory() as name:
        home = Path(name)
        landscape.write(home / "landscape")
        actual = _actual(home)
        grounds = {way: _ground(way, home) for way in WAYS}
        for seed in seeds:
            for way, (_, recipe) in WAYS.items():
                began = time.process_time()
                experiment = load_experiment(recipe).model_copy(
                    update={"name": f"{way}-{seed}", "seed": seed, "epochs": EPOCHS, **changed}
                )
                found[way].append(_score(grounds[way], experiment, actual, home))
                print(
                    f"  seed {seed}, {way:10s} mean IoU {found[way][-1]:.4f}, {time.process_time() - began:.0f} CPU s",
                    flush=True,
                )
    _say(found)
    return found


def _say(found: dict[str, list[float]]) -> None:
    print("composites  mean IoU on true classes: mean (sd of seeds)  gain of learning from shares, seed by seed")
    for way, scores in found.items():
        spread = f" ({statistics.stdev(scores):.4f})" if len(scores) > 1 else ""
        gains = [mixed - score for mixed, score in zip(found["shares"], scores, strict=True)]
        told = (
            "" if way == "shares" else f"  {statistics.mean(gains):+.4f}: {', '.join(f'{gain:+.4f}' for gain in gains)}"
        )
        print(f"{way:10s}  {statistics.mean(scores):.4f}{spread}{told}")


def _dataset(file: str, home: Path, **changed: Any) -> Dataset:
    plain = load_dataset(file).model_dump(mode="json")
    return Dataset.model_validate({**plain, "root": str(home / "landscape"), **changed})


def _actual(home: Path) -> Path:
    """The true classes of the test tile."""
    data = _dataset("demo", home)
    tile = next(tile for tile in tiles(data) if tile.name == TEST)
    return truth.build(data, load_legend(data.legend), tile, home).file(truth.CLASSES)


def _ground(way: str, home: Path) -> Product:
    """The manifest of the landscape with composites ruled as the way says."""
    data = _dataset("demo-siose", home, name=f"demo-siose-{way}")
    found = load_legend(data.legend)
    legend = Legend.model_validate({**found.model_dump(), "composites": {"rule": WAYS[way][0]}})
    for tile in tiles(data):
        truth.build(data, legend, tile, home)
        write.build(data, legend, tile, home)
    return manifests.build(data, legend, tiles(data), home)


def _score(ground: Product, experiment: Experiment, actual: Path, home: Path) -> float:
    """Mean IoU of the test tile's map, over the classes that are truly there."""
    model = training.run(ground, experiment, home)
    manifest = load(ground.path)
    entry = next(entry for entry in manifest.tiles if entry.name == TEST)
    mapped = predict(manifest, entry, model, experiment, home).file("class.tif")
    labels, classes = (raster.inspect(path) for path in (actual, mapped))
    (window,) = blocks(labels.shape, *labels.shape)
    with raster.reader(labels, nodata="none") as a, raster.reader(classes, nodata="none") as b:
        matrix = confusion.count(a.read(window)[0], b.read(window)[0], len(manifest.legend.classes))
    return float(confusion.summary(matrix)["mean_iou"] or 0)


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SEEDS)
