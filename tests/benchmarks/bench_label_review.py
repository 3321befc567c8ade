"""The label reviewer on planted errors: average precision of its list, beside ranking by loss and random order.

One polygon in twenty of the generated landscape's complete labels gets a code of another class; borders stay exact. A
random forest in six folds, a tile each, is the reviewer's model. Of the real datasets that name a reviewer, where their
files are there, one of ten listed polygons gets the code of another; folds are blocks of ground.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import config
from landcover_orch.config import Dataset, Labels, Patches, Tiles
from landcover_orch.config.experiments import Experiment, Folds, Protocol, models
from landcover_orch.config.experiments.repetitions import repetition
from landcover_orch.evaluation.evaluate import tiles_to_predict
from landcover_orch.evaluation.repetition import Repetition
from landcover_orch.ground_truth import build as truth
from landcover_orch.legend import Legend
from landcover_orch.patches import dataset as datasets
from landcover_orch.patches import folds, manifest, write
from landcover_orch.prediction.build import build as predict
from landcover_orch.review.build import label_review
from landcover_orch.store.publish import Product
from landcover_orch.synthetic import landscape
from landcover_orch.tiles import catalogue
from landcover_orch.training import protocol

SEEDS = (12, 13, 14)
"""How errors are planted; with 1 to 11 and 20 to 22 the ranking was chosen."""

REAL = ("slovenia-label-review", "bakerlake-label-review")
REAL_SEEDS = (1, 2, 3)

WRONG, REAL_WRONG = 0.05, 0.1
SHUFFLES = 200
REVIEWER = Experiment(name="reviewer", model=models.RandomForest(), protocol=Protocol(folds=Folds(by="tiles")))

LIST, LOSS, RANDOM = (f"average precision, {how}" for how in ("the list", "by loss", "random"))

Wrong = set[tuple[str, str]]


def main(seeds: tuple[int, ...] = SEEDS, folder: Path | None = None) -> list[dict[str, float]]:
    """Prints the average precisions of each planting, and what the flags find; gives those of the landscape."""
    with tempfile.TemporaryDirectory() as name:
        home = folder or Path(name)
        landscape.write(home / "landscape")
        found = [_measured(home, seed) for seed in seeds]
        _print("the generated landscape", WRONG, found)
        for dataset in REAL:
            if (Path(os.environ.get("LANDCOVER_DATA", "")) / "nrcan-bakerlake").is_dir():
                _print(dataset, REAL_WRONG, list(real(dataset, REAL_SEEDS, home)))
    return found


def _print(where: str, share: float, found: list[dict[str, float]]) -> None:
    gains = {f"{LIST}, less {how}": [one[LIST] - one[how] for one in found] for how in (LOSS, RANDOM)}
    print(f"Label reviewer on {where}, {share:.0%} planted errors, {len(found)} plantings")
    for key, values in {**{key: [one[key] for one in found] for key in found[0]}, **gains}.items():
        spread = f", standard deviation {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
        print(f"  {key}: {' '.join(f'{one:.3f}' for one in values)}, mean {np.mean(values):.3f}{spread}")


def real(name: str, seeds: tuple[int, ...], home: Path) -> Iterator[dict[str, float]]:
    """The same of each planting in a copy of a shipped dataset."""
    shipped = config.load_dataset(name)
    raw = home / name / "raw"
    shutil.copytree(shipped.folder, raw)
    dataset, legend = shipped.model_copy(update={"root": str(raw)}), config.load_legend(shipped.legend)
    reviewer = config.load_experiment(str(dataset.label_review))
    listed = _rows(reviewed(dataset, legend, home / name, reviewer))
    for seed in seeds:
        labels = f"planted-{seed}.gpkg"
        wrong = replant(raw / dataset.tiles.label, raw / labels, str(dataset.labels.attribute), listed, seed)
        tiles = dataset.tiles.model_copy(update={"label": labels})
        described = dataset.model_copy(update={"name": f"{name}-{seed}", "tiles": tiles})
        yield _scores(reviewed(described, legend, home / name, reviewer), wrong)


def replant(source: Path, target: Path, column: str, listed: list[dict[str, str]], seed: int) -> Wrong:
    """Copies a label file with a tenth of the polygons that the reviewer lists coded as another; gives (tile, id)."""
    import pyogrio

    random, frame = np.random.default_rng(seed), pyogrio.read_dataframe(source, fid_as_index=True)
    chosen = [listed[i] for i in random.permutation(len(listed))[: max(round(REAL_WRONG * len(listed)), 1)]]
    for row in chosen:
        others = sorted({one["code"] for one in listed if one["label"] != row["label"]})
        frame.loc[int(row["polygon"]), column] = frame[column].dtype.type(others[random.integers(len(others))])
    pyogrio.write_dataframe(frame.sort_index(), target, driver="GPKG")
    return {(row["tile"], row["polygon"]) for row in chosen}


def _measured(home: Path, seed: int) -> dict[str, float]:
    photographs = (home / "landscape").resolve().name
    described = Dataset(
        name=f"planted-{seed}",
        root=str(home),
        tiles=Tiles(image=f"{photographs}/images/{{tile}}.tif", label=f"planted-{seed}-labels/{{tile}}.gpkg"),
        bands=("red", "green", "blue", "nir"),
        legend="landscape",
        labels=Labels(layer=landscape.LAYER, attribute="code", id="id"),
        patches=Patches(size=128, stride=128),
        experiments=(REVIEWER.name,),
        baselines=(),
    )
    wrong = plant(home / "landscape" / "labels" / "complete", home / f"planted-{seed}-labels", seed)
    return _scores(reviewed(described, config.load_legend("landscape"), home), wrong)


def plant(source: Path, target: Path, seed: int) -> Wrong:
    """Copies label files with a twentieth of their polygons coded as another class; gives their (tile, id)."""
    import pyogrio

    random = np.random.default_rng(seed)
    frames = {path.stem: pyogrio.read_dataframe(path) for path in sorted(source.glob("*.gpkg"))}
    keys = [(tile, i) for tile, frame in frames.items() for i in range(len(frame))]
    chosen = random.permutation(len(keys))[: round(WRONG * len(keys))]
    target.mkdir(parents=True, exist_ok=True)
    wrong = set()
    for tile, row in (keys[i] for i in sorted(chosen.tolist())):
        codes = frames[tile]["code"]
        own = landscape.CLASSES[codes[row]]
        others = [code for code, number in landscape.CLASSES.items() if number != own]
        frames[tile].loc[row, "code"] = others[random.integers(len(others))]
        wrong.add((tile, str(frames[tile]["id"][row])))
    for tile, frame in frames.items():
        pyogrio.write_dataframe(frame, target / f"{tile}.gpkg", layer=landscape.LAYER, driver="GPKG")
    return wrong


def reviewed(described: Dataset, legend: Legend, home: Path, reviewer: Experiment = REVIEWER) -> Product:
    """The list of suspicious polygons of a dataset, from its raw files on."""
    tiles = catalogue.tiles(described)
    for tile in tiles:
        truth.build(described, legend, tile, home)
        write.build(described, legend, tile, home)
    whole = datasets.build(described, legend, tiles, home)
    known = manifest.load(whole.path)
    trained = protocol.models_of(protocol.train(whole, reviewer, home), home)
    found = [_repetition(whole, name, model, reviewer, home) for name, model in trained.items()]
    return label_review(known, tiles, reviewer, found, home)


def _repetition(whole: Product, name: str, model: Product, reviewer: Experiment, home: Path) -> Repetition:
    recipe, dealt = repetition(reviewer, name), reviewer.protocol.folds
    if recipe is None or recipe.protocol.fold is None or dealt is None:
        raise ValueError(f"{name} is no fold of {reviewer.name}")
    own = manifest.load(folds.build(whole, dealt, recipe.protocol.fold, home).path)
    known = manifest.load(whole.path)
    maps = {entry.name: predict(known, entry, model, recipe, home) for entry in tiles_to_predict(own)}
    return Repetition(recipe, own, model, maps)


def _rows(product: Product) -> list[dict[str, str]]:
    with product.file("label_review.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _scores(product: Product, wrong: Wrong) -> dict[str, float]:
    listed = _rows(product)
    hit = np.array([(row["tile"], row["polygon"]) in wrong for row in listed])
    flagged = np.array([row["flagged"] == "True" for row in listed])
    by_loss = hit[np.argsort([-float(row["loss"]) for row in listed], kind="stable")]
    random = np.random.default_rng(0)
    orders = [average_precision(random.permutation(hit)) for _ in range(SHUFFLES)]
    return {
        "polygons": float(hit.size),
        "planted among them": float(hit.sum()),
        LIST: average_precision(hit),
        LOSS: average_precision(by_loss),
        RANDOM: float(np.mean(orders)),
        "precision of the flags": float(hit[flagged].mean()) if flagged.any() else 0.0,
        "recall of the flags": float(flagged[hit].mean()),
    }


def average_precision(wrong: NDArray[Any]) -> float:
    """Mean of the precision at each wrong polygon down a list."""
    hits = np.cumsum(wrong)
    return float((hits / np.arange(1, wrong.size + 1))[wrong].mean())


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SEEDS)
