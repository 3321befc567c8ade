"""What composite polygons teach: mean IoU on the true classes, learnt from their shares and with the polygons dropped.

`python -m tests.benchmarks.bench_proportions [LANDSCAPE [SEED ...]]`: on the generated landscape of that seed with
SIOSE labels, half of it in polygons of several covers. Four ways to learn from it, each with the same recipe and
several seeds: the composites are dropped (rule ignore); dropped unless their covers are of one class (rule soft, whose
shares nothing uses); dissolved (rule dissolve, 75 %); or learnt from by their shares (rule soft, loss proportions).
Above them stands what labels that draw every cover apart would teach. The map of the test tile is scored against the
true classes.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from landcover_orch import raster
from landcover_orch.config import Dataset, load_dataset, load_experiment, load_legend
from landcover_orch.config.experiments import Experiment, losses
from landcover_orch.grid import blocks
from landcover_orch.ground_truth import build as truth
from landcover_orch.legend import Legend
from landcover_orch.metrics import catalogue, confusion
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import write
from landcover_orch.patches.manifest import load
from landcover_orch.prediction.build import build as predict
from landcover_orch.store.publish import Product
from landcover_orch.synthetic import landscape
from landcover_orch.tiles.catalogue import tiles
from landcover_orch.training import product as training

SEEDS = (0, 1, 2)
WAYS = {
    "drawn apart": ("simple", "soft"),
    "dropped": ("nested", "ignore"),
    "unused": ("nested", "soft"),
    "dissolved": ("nested", "dissolve"),
    "shares": ("nested", "soft"),
}
"""Way -> which of the landscape's SIOSE labels, rule of composites."""

RECIPE = "demo-proportions"
"""Learns from shares; the other ways take it without that loss."""

TEST = "r1c1"


def main(seed: int = 0, seeds: tuple[int, ...] = SEEDS, **changed: Any) -> dict[str, list[float]]:
    """Prints and gives the mean IoU of each way and seed on a landscape; `changed` are parts of all recipes."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with TemporaryDirectory() as name:
        home = Path(name)
        landscape.write(home / "landscape", seed=seed)
        actual = _actual(home)
        grounds = {way: _ground(way, home) for way in WAYS}
        for draw in seeds:
            for way in WAYS:
                began = time.process_time()
                experiment = _recipe(way).model_copy(update={"name": f"{_key(way)}-{draw}", "seed": draw, **changed})
                found[way].append(_score(grounds[way], experiment, actual, home))
                seconds = time.process_time() - began
                print(f"  seed {draw}, {way:11s} mean IoU {found[way][-1]:.4f}, {seconds:.0f} CPU s", flush=True)
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
        print(f"{way:11s}  {statistics.mean(scores):.4f}{spread}{told}")


def _key(way: str) -> str:
    return way.replace(" ", "-")


def _recipe(way: str) -> Experiment:
    recipe = load_experiment(RECIPE)
    plain = tuple(term for term in recipe.loss if not isinstance(term, losses.Proportions))
    return recipe if way == "shares" else recipe.model_copy(update={"loss": plain})


def _dataset(file: str, home: Path, **changed: Any) -> Dataset:
    plain = load_dataset(file).model_dump(mode="json")
    return Dataset.model_validate({**plain, "root": str(home / "landscape"), **changed})


def _actual(home: Path) -> Path:
    """The true classes of the test tile."""
    data = _dataset("demo", home)
    tile = next(tile for tile in tiles(data) if tile.name == TEST)
    return truth.build(data, load_legend(data.legend), tile, home).file(truth.CLASS_RASTER)


def _ground(way: str, home: Path) -> Product:
    """The manifest of the landscape with composites ruled as the way says."""
    labels, rule = WAYS[way]
    data = _dataset("demo-siose", home, name=f"demo-siose-{_key(way)}")
    files = data.tiles.model_copy(update={"label": f"labels/siose-{labels}/{{tile}}.gpkg"})
    data, found = data.model_copy(update={"tiles": files}), load_legend(data.legend)
    legend = Legend.model_validate({**found.model_dump(), "composites": {"rule": rule}})
    for tile in tiles(data):
        truth.build(data, legend, tile, home)
        write.build(data, legend, tile, home)
    return manifests.build(data, legend, tiles(data), home)


def _score(ground: Product, experiment: Experiment, actual: Path, home: Path) -> float:
    """Mean IoU of the test tile's map, over the classes that are truly there."""
    model = training.train(ground, experiment, home)
    manifest = load(ground.path)
    entry = next(entry for entry in manifest.tiles if entry.name == TEST)
    mapped = predict(manifest, entry, model, experiment, home).file("class.tif")
    labels, classes = (raster.inspect(path) for path in (actual, mapped))
    (window,) = blocks(labels.shape, *labels.shape)
    with raster.reader(labels, nodata="none") as a, raster.reader(classes, nodata="none") as b:
        matrix = confusion.count(a.read(window)[0], b.read(window)[0], len(manifest.legend.classes))
    return catalogue.ranking_score(matrix)


if __name__ == "__main__":
    given = [int(number) for number in sys.argv[1:]]
    main(*given[:1], *([tuple(given[1:])] if given[1:] else []))
