"""A folder of own files, drafted, checked and materialised to a champion without an edit."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from shapely.geometry import box

from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.checks.dataset import check_dataset
from landcover_orch.drafts.draft import init
from landcover_orch.evaluation import champion
from landcover_orch.store import publish
from tests import scenes
from tests.in_process import training_in_process

pytestmark = pytest.mark.slow
X, Y = scenes.ORIGIN
SIDE = 128


def test_a_drafted_dataset_trains_to_a_champion(configs: Path, home: Path, tmp_path: Path) -> None:
    """Ponds in fields, on two tiles of eight bands; the ponds alone are drawn, so the rest is a class of its own."""
    random = np.random.default_rng(0)
    for number, tile in enumerate(("22978945_15", "23429155_15")):
        left, water = X + number * SIDE, np.zeros((SIDE, SIDE), bool)
        ponds = []
        for row in range(8, SIDE, 32):
            for col in range(8, SIDE, 32):
                water[row : row + 16, col : col + 16] = True
                ponds.append((box(left + col, Y - row - 16, left + col + 16, Y - row), 1))
        pixels = random.normal(2000, 300, (8, SIDE, SIDE)) - 900 * water
        scenes.write_geotiff(tmp_path / "raw" / f"{tile}.tif", pixels.clip(1).astype(np.uint16), origin=(left, Y))
        scenes.write_polygons(tmp_path / "raw" / f"{tile}.gpkg", ponds, attribute="water")
    init("ponds", tmp_path / "raw")
    assert check_dataset("ponds").problems == ()
    dataset = config.load_dataset("ponds")
    with dg.DagsterInstance.ephemeral() as dagster, training_in_process():
        assert materialise(dagster, dataset).runs > 0
        assert materialise(dagster, dataset).runs == 0
    assert champion.load("ponds", home).mean_iou > 0.8
    for experiment in dataset.experiments:
        matrix = np.array(publish.current(home / "ponds" / "report", experiment).json("report.json")["matrix"])
        assert (matrix.sum(axis=1) > 0).all(), "both classes are scored"
        assert np.trace(matrix) / matrix.sum() > matrix.sum(axis=1).max() / matrix.sum(), "better than one colour"
