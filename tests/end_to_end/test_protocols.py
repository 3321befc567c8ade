"""Seeds, folds and a smoothed variant through the whole lineage: maps, reports, one leaderboard, a champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.materialise import materialise
from landcover_orch import config, tracking
from landcover_orch.evaluation import champion
from landcover_orch.store import publish
from tests import tiny

pytestmark = pytest.mark.slow

SEEDS = {**tiny.RECIPE, "name": "seeds", "epochs": 1, "protocol": {"seeds": [1, 2]}}
FOLDS = {**tiny.RECIPE, "name": "folds", "epochs": 1, "protocol": {"folds": {"by": "tiles", "count": 3}}}
SMOOTHED = {
    "name": "smoothed",
    "model": {"name": "ensemble", "members": ["seeds"]},
    "prediction": {**tiny.RECIPE["prediction"], "smoothing": {"name": "icm", "beta": 1}},  # type: ignore[dict-item]
    "protocol": {"seeds": [1, 2]},
}
RECIPES = (SEEDS, FOLDS, SMOOTHED)


def _write(configs: Path, raw: Path) -> config.Dataset:
    tiny.write(configs, raw, tiles=4)
    for experiment in RECIPES:
        tiny.save(configs, "experiments", experiment)
    path = configs / "datasets" / "tiny.yaml"
    changes = {"experiments": [experiment["name"] for experiment in RECIPES], "competition": True}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return config.load_dataset(tiny.NAME)


def _report(home: Path, name: str) -> Any:
    return publish.current(home / tiny.NAME / "report", name).json("report.json")


@pytest.mark.long
def test_repetitions_go_through_the_whole_lineage(configs: Path, home: Path, tmp_path: Path) -> None:
    dataset = _write(configs, tmp_path / "raw")
    with dg.DagsterInstance.ephemeral() as dagster:
        materialise(dagster, dataset)
        assert materialise(dagster, dataset).runs == 0, "nothing of it is stale"
    maps = {path.name for path in (home / tiny.NAME / "prediction").iterdir()}
    assert maps == {*(f"{name}.seed-{n}" for name in ("seeds", "smoothed") for n in (1, 2)), *FOLD_NAMES}
    folds = home / tiny.NAME / "prediction" / "folds.fold-1"
    assert {path.name for path in folds.iterdir() if path.is_symlink()} == {"t0", "t3"}, "its ground, and test"
    _reported(home)
    _compared(home)
    elected = champion.load(tiny.NAME, home)
    assert elected.experiment in {f"{name}.seed-{n}" for name in ("seeds", "smoothed") for n in (1, 2)} | FOLD_NAMES
    version = tracking.champion(tiny.NAME, home)
    assert version is not None
    assert version.tags["landcover.experiment"] == elected.experiment


FOLD_NAMES = {f"folds.fold-{n}" for n in (1, 2, 3)}


def _reported(home: Path) -> None:
    seeds, folds = _report(home, "seeds"), _report(home, "folds")
    assert [row["name"] for row in seeds["repetitions"]] == ["seeds.seed-1", "seeds.seed-2"]
    assert {row["metrics"]["pixels"] for row in seeds["repetitions"]} == {tiny.SIDE**2}
    assert folds["out_of_fold"]["metrics"]["pixels"] == 3 * tiny.SIDE**2
    assert {row["metrics"]["pixels"] for row in folds["repetitions"]} == {tiny.SIDE**2}


def _compared(home: Path) -> None:
    board = publish.current(home / tiny.NAME / "leaderboard", "leaderboard").json("summary.json")
    rows = {row["experiment"]: row for row in board["leaderboard"]}
    assert {name: rows[name]["repetitions"] for name in ("seeds", "folds", "smoothed")} == {
        "seeds": 2,
        "folds": 3,
        "smoothed": 2,
    }
    assert rows["smoothed"]["gain_n"] == 2
    assert rows["smoothed"]["gain"] == pytest.approx(rows["smoothed"]["mean_iou"] - rows["seeds"]["mean_iou"])
    assert rows["folds"]["out_of_fold_mean_iou"] is not None
    assert len(board["competition"]) == 3
