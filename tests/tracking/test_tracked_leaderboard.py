"""The leaderboard's run in MLflow: one, with the present table."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from landcover_orch import tracking
from landcover_orch.errors import TrackingError
from landcover_orch.store.publish import Product, Recipe, publish

ROW = {"experiment": "a", "mean_iou": 0.5, "mean_iou_sd": None, "optimiser": "adam"}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _board(home: Path, *rows: dict[str, Any]) -> Product:
    def write(stage: Any) -> None:
        stage.write_json("summary.json", {"leaderboard": rows, "competition": rows})
        (stage.path / "index.html").write_text(f"{len(rows)} rows")

    return publish(home / "tiny" / "leaderboard", "leaderboard", Recipe("leaderboard", 1, {}, {"of": rows}), write)


def _runs(home: Path) -> list[Any]:
    client = tracking.client(home)
    return list(client.search_runs([client.get_experiment_by_name("tiny").experiment_id]))


def test_one_run_shows_the_present_table(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    first = tracking.log_leaderboard("tiny", _board(home, ROW), home)
    assert tracking.log_leaderboard("tiny", _board(home, ROW), home) == first
    assert tracking.log_leaderboard("tiny", _board(home, ROW, {**ROW, "experiment": "b"}), home) == first
    (run,) = _runs(home)
    assert (run.info.run_name, run.info.status) == ("leaderboard", "FINISHED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.address(home))
    table = mlflow.MlflowClient(tracking.address(home)).load_table(run.info.experiment_id, "leaderboard.json")
    assert table["experiment"].tolist() == ["a", "b"]
    assert table["mean_iou"].tolist() == [0.5, 0.5]
    page = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="index.html")
    assert Path(page).read_text() == "2 rows"


def test_a_leaderboard_is_logged_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    tracking.log_leaderboard("tiny", _board(home, ROW), home)
    monkeypatch.setattr(MlflowClient, "log_artifact", lambda *_: pytest.fail("logged again"))
    tracking.log_leaderboard("tiny", _board(home, ROW), home)


def test_a_person_s_run_of_that_name_is_left_alone(home: Path) -> None:
    tracking.log_leaderboard("tiny", _board(home), home)
    client = tracking.client(home)
    own_run = client.create_run(_runs(home)[0].info.experiment_id, run_name="leaderboard").info.run_id
    tracking.log_leaderboard("tiny", _board(home, ROW), home)
    assert len(_runs(home)) == 2
    assert "mlflow.loggedArtifacts" not in client.get_run(own_run).data.tags


def test_without_mlflow_it_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "occupied").write_text(json.dumps({}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'occupied' / 'mlflow.db'}")
    with pytest.raises(TrackingError, match="logging the leaderboard failed"):
        tracking.log_leaderboard("tiny", _board(home, ROW), home)
