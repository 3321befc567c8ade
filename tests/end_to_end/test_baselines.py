"""A forest through the whole lineage: trained, reported, elected because nobody is better, and mapping every tile."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.evaluation import champion
from landcover_orch.store import publish
from tests import tiny

pytestmark = pytest.mark.slow
FOREST = {"name": "forest", "model": {"name": "random_forest", "trees": 5, "leaves": 16, "texture": [3]}}


def test_a_forest_may_become_champion(configs: Path, home: Path, tmp_path: Path) -> None:
    tiny.write(configs, tmp_path / "raw")
    tiny.save(configs, "experiments", FOREST)
    path = configs / "datasets" / "tiny.yaml"
    described = yaml.safe_load(path.read_text()) | {"experiments": ["forest"], "baselines": ["forest"]}
    path.write_text(yaml.safe_dump(described))
    dataset = config.load_dataset(tiny.NAME)
    with dg.DagsterInstance.ephemeral() as dagster:
        assert materialise(dagster, dataset).runs == 7
        assert materialise(dagster, dataset).runs == 0
        checks = dagster.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(dg.AssetKey([tiny.NAME, "model"]), "learned")]
        )
    assert [check.status.value for check in checks.values()] == ["SUCCEEDED"]
    elected = champion.load(tiny.NAME, home)
    assert (elected.experiment, elected.mean_iou > 0.8) == ("forest", True)
    board = publish.current(home / tiny.NAME / "leaderboard", "leaderboard").json("summary.json")
    assert (board["best"], board["best_baseline"], len(board["leaderboard"])) == ("forest", "forest", 3)
    maps = home / tiny.NAME / "land_cover_map"
    assert all(publish.current(maps, tile).file("class.tif").is_file() for tile in ("t0", "t1", "t2"))
