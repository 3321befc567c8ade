"""What tiles tell together: which of them are asked, what is said, and the line that repairs all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from landcover_orch.config import Dataset
from landcover_orch.ground_truth.quality.common_shift import common, problems
from landcover_orch.store.publish import Recipe, Stage, publish
from landcover_orch.tiles.tile import Tile


def described(folder: Path, limit: float) -> Dataset:
    return Dataset.model_validate(
        {
            "name": "moved",
            "root": str(folder),
            "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
            "bands": ["grey"],
            "legend": "landscape",
            "labels": {"attribute": "code"},
            "limits": {"max_shift": limit},
            "experiments": ["none"],
        }
    )


def write_quality(folder: Path, tile: Tile, peak: tuple[int, int], known: bool = False) -> None:
    """An examination whose correlation is noise, and a little higher around `peak` (right, down)."""
    noise = np.random.default_rng(ord(tile.name)).normal(size=(33, 33)).astype(np.float32)
    down, right = np.mgrid[-16:17, -16:17]
    surface = noise + 2 * np.exp(-((right - peak[0]) ** 2 + (down - peak[1]) ** 2) / 18).astype(np.float32)

    def write(stage: Stage) -> None:
        summary = {"shift": {"pixels": 9.0} if known else None, "pixel": 0.5, "moved": list(tile.shift)}
        stage.write_json("summary.json", summary)
        np.save(stage.path / "surface.npy", surface)

    publish(folder, tile.name, Recipe("test", 1, {}, {"tile": tile.name}), write)


def test_tiles_that_tell_nothing_alone_are_told_together(home: Path) -> None:
    dataset = described(home, 3.0)
    plain = Tile("a", home, home, 2020, 2018, None, None)
    flight = [plain, *(replace(plain, name=name) for name in "bcdef"), replace(plain, name="g", shift=(2.0, 0.5))]
    others = [replace(plain, name=name, year=2023) for name in "xy"]
    for tile in (*flight, *others):
        write_quality(home / "moved" / "label_quality", tile, (-6, 4))
    known = replace(plain, name="k")
    write_quality(home / "moved" / "label_quality", known, (12, 12), known=True)
    bare = replace(plain, name="n")
    first, few = common(dataset, [*flight, known, bare, *others], home)
    assert sorted(first.before) == list("abcdefg")
    assert (few.row["tiles"], few.row["pixels"], few.row["confidence"], few.png) == (2, None, None, None)
    assert first.png
    assert len(first.png) <= 75_000
    assert (first.row["year"], first.row["label year"]) == (2020, 2018)
    assert (first.row["right"], first.row["down"]) == pytest.approx((-6, 4), abs=0.7)
    (problem,) = problems(dataset, [first, few])
    assert "7 tiles together: labels lie 7" in problem.where
    advice = yaml.safe_load(problem.fix.split("`")[1])["tiles"]["overrides"]
    assert np.subtract(advice["g"]["shift"], advice["a"]["shift"]).tolist() == [2, 0.5]
    assert advice["a"]["shift"] == pytest.approx([-6, 4], abs=1)
    assert problems(described(home, 8.0), [first, few]) == []
