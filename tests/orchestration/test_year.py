"""A year of a dataset that nobody attends: each week's runs are exactly those that its events call for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from landcover_orch import config, tracking
from landcover_orch.evaluation import champion
from landcover_orch.evaluation.decisions import load_decisions
from landcover_orch.store import publish
from tests import tiny
from tests.orchestration.weeks import Weeks, versions

NEW_MODELS = ["train quick", "train wild", "evaluate quick", "elect"]
"""What a training takes: `wild` diverges, and stops itself alone."""


def edit(configs: Path, kind: str, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a configuration file."""
    path = configs / kind / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def year(configs: Path, home: Path, tmp_path: Path, dagster: dg.DagsterInstance) -> Weeks:
    """Four tiles, two recipes of which one diverges, and a block that trains as soon as there are new data."""
    tiny.save(configs, "experiments", {**tiny.RECIPE, "name": "wild", "optimiser": {"name": "sgd", "lr": 1e30}})
    tiny.write(
        configs,
        tmp_path / "raw",
        tiles=4,
        tiles_settings={"unlabelled": "bare/{tile}.tif"},
        experiments=[tiny.EXPERIMENT, "wild"],
        retraining={"when": "new_data"},
        promotion={"margin": 0.9},
    )
    tiny.write_tile(tmp_path / "raw" / "bare", "p0", column=20)
    return Weeks(dagster)


@pytest.mark.slow
@pytest.mark.long
def test_a_year_of_weeks(
    year: Weeks, configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"

    # the first week: everything once; the diverging recipe is a row of the leaderboard
    everything = ["prepare p0 t0 t1 t2 t3", "manifest", *NEW_MODELS, "map p0 t0 t1 t2 t3", "summarise"]
    assert year.pass_week() == everything
    board = publish.current(home / tiny.NAME / "leaderboard", "leaderboard").json("summary.json")["leaderboard"]
    assert [row["experiment"] for row in board][-1] == "wild"
    assert "diverged at epoch 1" in board[-1]["failed"]
    first = champion.load(tiny.NAME, home)

    # nothing happens: nothing runs, and the tick says so
    assert year.pass_week() == []
    assert year.said[-1].startswith("nothing new since 2026-01-12")

    # a tile is added, another one changed, a third removed
    tiny.write_tile(raw, "t4", column=4)
    assert year.pass_week() == ["prepare t4", "manifest", *NEW_MODELS, "map t4", "summarise"]
    tiny.write_tile(raw, "t1", column=1, lake=0.6)
    assert year.pass_week() == ["prepare t1", "manifest", *NEW_MODELS, "map t1", "summarise"]
    (raw / "t0.tif").unlink()
    (raw / "t0.gpkg").unlink()
    assert year.pass_week() == ["manifest", *NEW_MODELS, "summarise"]
    assert champion.load(tiny.NAME, home).fingerprint == first.fingerprint, "no gain of 0.9 in mean IoU"

    # a photograph waits for its labels, then has them
    tiny.write_tile(raw, "t5", column=5)
    (raw / "t5.gpkg").rename(tmp_path / "t5.gpkg")
    assert year.pass_week() == []
    assert "t5" in year.said[-1]
    (tmp_path / "t5.gpkg").rename(raw / "t5.gpkg")
    assert year.pass_week() == ["prepare t5", "manifest", *NEW_MODELS, "map t5", "summarise"]

    # a photograph that never has labels is mapped, and retrains nothing
    models = versions(home, "model")
    tiny.write_tile(raw / "bare", "p1", column=21)
    assert year.pass_week() == ["prepare p1", "manifest", "map p1", "summarise"]
    assert versions(home, "model") == models

    # MLflow is away while a tile changes: the chain goes on, and the registry follows later
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        away.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        tiny.write_tile(raw, "t4", column=4, lake=0.5)
        assert year.pass_week() == ["prepare t4", "manifest", *NEW_MODELS, "map t4", "summarise"]

    # the daemon is down for three weeks, in which two tiles arrive: one training
    tiny.write_tile(raw, "t6", column=6)
    tiny.write_tile(raw, "t7", column=7)
    assert year.pass_week() == ["prepare t6 t7", "manifest", *NEW_MODELS, "map t6 t7", "summarise"]

    # products deleted by hand are made again, and what is made of them is kept
    kept = {asset: versions(home, asset) for asset in ("patches", "dataset_manifest", "model", "land_cover_map")}
    shutil.rmtree((home / tiny.NAME / "ground_truth" / "t1").resolve())
    assert year.pass_week() == ["prepare t1"]
    shutil.rmtree((home / tiny.NAME / "model" / "quick").resolve())
    assert year.pass_week() == ["train quick"]
    assert {asset: versions(home, asset) for asset in kept} == kept

    # a person moves the alias: that version is the champion from then on, and maps all tiles
    newest = max(int(v.version) for v in tracking.client(home).search_model_versions(f"name = '{tiny.NAME}'"))
    tracking.client(home).set_registered_model_alias(tiny.NAME, "champion", newest)
    assert year.pass_week() == ["elect", "map p0 t1 t2 t3 t4 t5 p1 t6 t7", "summarise"]
    assert champion.load(tiny.NAME, home).fingerprint != first.fingerprint
    assert [decision.by for decision in load_decisions(tiny.NAME, home)][-2:] == ["person", "rule"]

    # three elections in a row start no training
    for margin in (0.8, 0.7, 0.6):
        edit(configs, "datasets", tiny.NAME, lambda content, m=margin: content.update(promotion={"margin": m}))
        assert year.pass_week() == ["elect"]
    assert year.pass_week() == []


def test_a_schedule_records_and_the_sensor_trains_once(
    configs: Path, home: Path, tmp_path: Path, dagster: dg.DagsterInstance
) -> None:
    from assets.definitions import load

    tiny.write(configs, tmp_path / "raw", tiles=4, retraining={"when": {"cron": "0 3 * * 0"}})
    weeks = Weeks(dagster)
    assert weeks.pass_week() == ["prepare t0 t1 t2 t3", "manifest"]
    assert "due by `retraining.when.cron`" in weeks.said[-1]
    schedule = load().get_repository_def().get_schedule_def("tiny_retrain")
    for _ in range(3):  # a daemon that was down catches up
        context = dg.build_schedule_context(instance=dagster, scheduled_execution_time=weeks.now)
        result = schedule.evaluate_tick(context)
        assert not result.run_requests
        assert "recorded" in str(result.skip_message)
    assert weeks.pass_week() == ["train quick", "evaluate quick", "elect", "map t0 t1 t2 t3", "summarise"]
    assert weeks.pass_week() == []
    schedule.evaluate_tick(dg.build_schedule_context(instance=dagster, scheduled_execution_time=weeks.now))
    assert weeks.pass_week() == []
    assert any("the manifest is that of the last training" in text for text in weeks.said)
    tiny.write_tile(tmp_path / "raw", "t9", column=9)
    assert weeks.pass_week() == ["prepare t9", "manifest", "map t9", "summarise"], "mapped by the champion that stands"
    assert config.load_dataset(tiny.NAME).retraining is not None
