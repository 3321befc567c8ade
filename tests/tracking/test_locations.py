"""Homes whose artifacts are named by a folder, as earlier versions made them: told, moved, loaded from elsewhere."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from landcover_orch import tracking
from landcover_orch.checks import doctor
from landcover_orch.errors import TrackingError
from landcover_orch.store.publish import Product
from landcover_orch.tracking import runs
from landcover_orch.tracking.locations import COLUMNS, DATABASE, file_experiments, served
from tests.tracking import champions
from tests.training import classroom

PIXELS = classroom.patches(2, seed=6).image


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _earlier(home: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    """A home as an earlier version made it: `file:` locations, one folder for all experiments."""
    with monkeypatch.context() as patch:
        patch.setattr(runs, "artifacts", lambda home, name: (home.resolve() / "mlartifacts").as_uri())
        return champions.crowned(home)


def _locations(home: Path) -> list[str]:
    with closing(sqlite3.connect(home / DATABASE)) as connection:
        return [
            value
            for table, column in COLUMNS
            for (value,) in connection.execute(f"SELECT {column} FROM {table}")  # noqa: S608 - names of our own
        ]


def _champions_prediction(home: Path, folder: Path) -> NDArray[np.float32]:
    """What a process that knows the database alone predicts."""
    champions.predicted(folder, PIXELS, champions.outside(MLFLOW_TRACKING_URI=tracking.address(home)))
    predicted: NDArray[np.float32] = np.load(folder / "probabilities.npy")
    return predicted


def test_a_new_home_names_no_folder(home: Path) -> None:
    champions.crowned(home)
    assert not [
        location for location in _locations(home) if str(home) in location or location.startswith(("/", "file:"))
    ]
    assert file_experiments(home) == ()
    assert tracking.file_locations_problem(home) is None
    assert tracking.move_artifacts(home) is None
    assert not list(home.glob("mlflow-before-*"))


def test_an_earlier_home_is_told(home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert doctor.check_artifacts().fix is None
    _earlier(home, monkeypatch)
    finding = doctor.check_artifacts()
    assert "classroom" in finding.found
    assert "landcover migrate" in str(finding.fix)
    tracking.server_command(home, 5077)
    assert "landcover migrate" in caplog.text


@pytest.mark.slow
def test_its_runs_and_versions_go_on_after_the_move_and_in_a_renamed_home(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    product = _earlier(home, monkeypatch)
    run_id = tracking.find_run(product, home)
    moved = tracking.move_artifacts(home)
    assert moved is not None
    assert {"experiments.artifact_location", "runs.artifact_uri", "logged_models.artifact_location"} <= set(
        moved.rewritten
    )
    assert moved.left == ()
    with closing(sqlite3.connect(moved.backup)) as backup:
        assert backup.execute("SELECT COUNT(*) FROM runs WHERE artifact_uri LIKE 'file:%'").fetchone() == (1,)
    assert not [location for location in _locations(home) if location.startswith(("/", "file:"))]
    assert tracking.find_run(product, home) == run_id
    second = champions.crowned(home, seed=1)  # a run and a version of an experiment that was moved
    first_expected, second_expected = (champions.probabilities(model, PIXELS) for model in (product, second))
    home = home.rename(tmp_path / "another name")
    assert "curves.png" in {file.path for file in tracking.client(home).list_artifacts(run_id)}
    np.testing.assert_array_equal(_champions_prediction(home, tmp_path), second_expected)
    tracking.client(home).set_registered_model_alias(classroom.NAME, "champion", "1")
    np.testing.assert_array_equal(_champions_prediction(home, tmp_path), first_expected)


def test_a_home_that_was_renamed_before_is_mended(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _earlier(home, monkeypatch)
    home = home.rename(tmp_path / "renamed")
    moved = tracking.move_artifacts(home)
    assert moved is not None
    assert moved.left == ()
    (run,) = tracking.client(home).search_runs(["1"])
    assert "curves.png" in {file.path for file in tracking.client(home).list_artifacts(run.info.run_id)}


def test_what_lies_elsewhere_is_left(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _earlier(home, monkeypatch)
    location = (tmp_path / "mine").as_uri()
    tracking.client(home).create_experiment("mine", artifact_location=location)
    moved = tracking.move_artifacts(home)
    assert moved is not None
    assert moved.left == (location,)
    assert file_experiments(home) == ("mine",)
    assert tracking.move_artifacts(home) is None


def test_a_database_in_use_is_left_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _earlier(home, monkeypatch)
    monkeypatch.setattr("landcover_orch.tracking.locations.WAIT_S", 0.1)
    before = _locations(home)
    with closing(sqlite3.connect(home / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TrackingError, match=r"database is locked.*not in use"):
            tracking.move_artifacts(home)
        other.execute("ROLLBACK")
    assert _locations(home) == before


def test_only_the_home_s_own_folder_is_served(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        (folder / "mlartifacts").mkdir(parents=True)
    assert served((home / "mlartifacts").as_uri(), home) == "mlflow-artifacts:/"
    assert served(f"{home}/mlartifacts/1/run/artifacts", home) == "mlflow-artifacts:/1/run/artifacts"
    assert served((other / "mlartifacts" / "1").as_uri(), home) is None
    assert served("file:///gone/mlartifacts/1", home) is None
    assert served("s3://bucket/mlartifacts", home) is None
