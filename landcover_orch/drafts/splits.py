"""Split guess: patch size, stride and spatial blocks that give enough patches to train, choose and score on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landcover_orch.checks.training_data import SPLITS, TrainingData, tile_windows, training_data
from landcover_orch.config import Dataset, Patches, Splits
from landcover_orch.errors import GridError
from landcover_orch.grid import resolution
from landcover_orch.legend import Legend
from landcover_orch.patches.splits import ROLE_NAMES
from landcover_orch.raster import Raster
from landcover_orch.tiles.tile import Tile

AIMS = {"train": 50, "validation": 10, "test": 10}
"""Patches of each split that a draft aims at, where the ground allows it."""

SIZES = (256, 128, 64, 32, 16)
BY_TILES = 8
"""Tiles from which on whole tiles are held out, instead of blocks of each."""

LISTED = 60
"""Tiles up to which those held out are listed by name; of more, fractions are drawn by name."""

SEEDS = 24
"""Draws of blocks of which the one whose splits have most classes, and are most alike, is taken."""

MAX_READ = 50_000_000
"""Pixels of labels that such draws may read, all together."""

RARE = 0.005
"""Fraction of the labelled pixels up to which a class does not decide a draw."""

COMPARED = 32
"""Tiles that the patch size is tried on, drawn at random."""


@dataclass(frozen=True)
class SplitGuess:
    """Splits and patches as keys of a dataset, why they were chosen, and the training data that they give."""

    splits: dict[str, Any]
    patches: dict[str, Any]
    reason: str
    data: TrainingData
    questions: tuple[str, ...] = ()


def guess(
    dataset: Dataset,
    legend: Legend,
    tiles: Sequence[Tile],
    images: Sequence[Raster],
    held_out: Mapping[str, list[str]],
    *,
    overlap: bool,
) -> SplitGuess:
    """The first patch size, from the largest, that gives enough patches; else the one that gives most to train on.

    Args:
        dataset: as drafted so far.
        legend: as drafted.
        tiles: its tiles with labels, in the order of `images`.
        images: their orthophotos.
        held_out: tiles of validation and test where folders name them; else empty.
        overlap: whether tiles lie on the same ground, so that none can be held out as a whole.
    """
    best: tuple[float, dict[str, Any], dict[str, Any]] | None = None
    named = {split: {"tiles": names} for split, names in held_out.items()}
    if not named and len(tiles) >= BY_TILES and not overlap:
        named = by_tile_names(tiles)
    reads = MAX_READ
    for splits, patches in candidates(images, named):
        tried = with_splits(dataset, splits, patches)
        counts = count_patches(tried, tiles, images)
        if counts is None or (sufficiency(counts) < 1 and best is not None and sufficiency(counts) <= best[0]):
            continue
        data = training_data(tried, legend, tiles) if reads > 0 else None
        reads -= max(data.size, 1) if data else 0
        enough = sufficiency(counts if data is None or data.problems else data.patches)
        if best is None or enough > best[0]:
            best = enough, splits, patches
        if enough >= 1:
            break
    if best is None:
        best = 0.0, {}, {"size": 16, "stride": 16, "edge": "pad"}
    return chosen(dataset, legend, tiles, best[1], best[2])


def sufficiency(counts: Mapping[str, float]) -> float:
    """Patches against those aimed at, of the split that has fewest; 1 where all have enough."""
    return min(1.0, *(counts[split] / aim for split, aim in AIMS.items()))


def chosen(
    dataset: Dataset, legend: Legend, tiles: Sequence[Tile], splits: dict[str, Any], patches: dict[str, Any]
) -> SplitGuess:
    """The guess with the draw of blocks whose splits have most classes, and are most alike."""
    data = training_data(with_splits(dataset, splits, patches), legend, tiles)
    size, draws = max(data.size, 1), 1
    for seed in range(1, min(SEEDS, MAX_READ // size) if "block" in splits else 0):
        other = {**splits, "seed": seed}
        drawn = training_data(with_splits(dataset, other, patches), legend, tiles)
        draws += 1
        if value(drawn) > value(data):
            data, splits = drawn, other
    counts = ", ".join(f"{data.patches[split]:,} {split}" for split in SPLITS)
    seed_reason = f"; of {draws} draws of blocks the one whose splits are most alike" if "seed" in splits else ""
    reason = "by geometry alone, as labels cannot be read yet" if data.problems else f"patches: {counts}{seed_reason}"
    return SplitGuess(splits, patches, reason, data, tuple(few(data)))


def value(data: TrainingData) -> tuple[float, bool, int, float]:
    """What a draw is chosen by: enough patches, most of them to train on, classes to learn, then splits of one kind."""
    train, held = data.patches["train"], data.patches["validation"] + data.patches["test"]
    of_class = data.pixels[:3, : len(data.names)]
    learnt = int((of_class[0, of_class.sum(axis=0) > RARE * of_class.sum()] > 0).sum())
    return sufficiency(data.patches), train > held, learnt, -distance(data)


def distance(data: TrainingData) -> float:
    """Total variation distance: how far the class fractions of a split lie off those of all ground, at most; 1 at most.

    Half the sum of the absolute differences of two distributions.
    """
    pixels = data.pixels[:3, : len(data.names)]
    of_splits = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    of_all = pixels.sum(axis=0) / max(pixels.sum(), 1)
    return float(np.abs(of_splits - of_all).sum(axis=1).max() / 2)


def few(data: TrainingData) -> Iterator[str]:
    """What is asked where the ground does not give enough patches."""
    short = (
        []
        if data.problems
        else [f"{data.patches[split]} {split}" for split, aim in AIMS.items() if data.patches[split] < aim]
    )
    if short:
        aims = ", ".join(f"{aim} {split}" for split, aim in AIMS.items())
        yield f"the ground gives no {aims} patches, but {', '.join(short)}: are there further tiles?"


def candidates(images: Sequence[Raster], named: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Splits and patch settings to be tried, the largest patches first; blocks where no tiles are `named`."""
    smallest = min(min(image.shape) for image in images)
    pixel = sorted(resolution(image.grid) for image in images)[len(images) // 2]
    for size in SIZES:
        if size > smallest:
            continue
        for stride in (size, size // 2, size // 4):
            patches = {"size": size, "stride": stride}
            if named:
                yield named, patches
                continue
            for blocks in (4, 3, 2):
                side = float(f"{blocks * size * pixel:.3g}")
                side = int(side) if side.is_integer() else side
                yield {"validation": {"blocks": 0.15}, "test": {"blocks": 0.2}, "block": side}, patches


def by_tile_names(tiles: Sequence[Tile]) -> dict[str, Any]:
    """Every sixth tile is validation, every fifth of the others test."""
    if len(tiles) > LISTED:
        return {split: {"random_fraction": 0.15} for split in ("validation", "test")}
    names = [tile.name for tile in tiles]
    validation = names[3::6]
    return {"validation": {"tiles": validation}, "test": {"tiles": [n for n in names if n not in validation][2::5]}}


def with_splits(dataset: Dataset, splits: dict[str, Any], patches: dict[str, Any]) -> Dataset:
    """The dataset with other splits and patch settings."""
    return dataset.model_copy(
        update={"splits": Splits.model_validate(splits), "patches": Patches.model_validate(patches)}
    )


def count_patches(dataset: Dataset, tiles: Sequence[Tile], images: Sequence[Raster]) -> dict[str, float] | None:
    """Patches by split of some of the tiles, scaled to all; None where one is smaller than a patch."""
    drawn = np.random.default_rng(0).permutation(len(tiles))[:COMPARED].tolist()
    counts = dict.fromkeys(SPLITS, 0.0)
    for index in drawn:
        try:
            windows, scale = tile_windows(dataset, tiles[index].name, images[index].grid)
        except GridError:
            return None
        for split in SPLITS:
            counts[split] += len(tiles) / len(drawn) * scale * int((windows.roles == ROLE_NAMES[split]).sum())
    return counts
