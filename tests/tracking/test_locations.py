"""Homes whose artifacts are named by a folder, as earlier versions made them: told, moved, loaded from elsewhere."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from assets.cli import main
from landcover_orch import tracking
from landcover_orch.checks import doctor
from landcover_orch.errors import TrackingError
from landcover_orch.store.publish import Product
from landcover_orch.tracking import runs
from landcover_orch.tracking.locations import COLUMNS, DATABASE, file_locations, own_folders, served
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
    assert file_locations(home) == {}
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
    assert file_locations(home) == {"mine": [location]}
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
    places = [(home / "mlartifacts").as_uri(), f"{home}/mlartifacts/1/run/artifacts"]
    elsewhere = [(other / "mlartifacts" / "1").as_uri(), "file:///gone/mlartifacts/1", "s3://bucket/mlartifacts"]
    folders = own_folders([*places, *elsewhere], home)
    assert [served(place, home, folders) for place in places] == [
        "mlflow-artifacts:/",
        "mlflow-artifacts:/1/run/artifacts",
    ]
    assert [served(place, home, folders) for place in elsewhere] == [None] * 3


def _artifact_lines(capsys: pytest.CaptureFixture[str]) -> str:
    """What the doctor prints of MLflow's artifacts, and its fix."""
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line[2:].startswith("MLflow artifacts"))
    return "\n".join(lines[at : at + 2])


@pytest.mark.slow
@pytest.mark.parametrize("first_home", ["is gone", "is there"])
def test_a_moved_or_copied_home_is_mended_by_what_the_doctor_says(
    home: Path,
    configs: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first_home: str,
) -> None:
    expected = champions.probabilities(_earlier(home, monkeypatch), PIXELS)
    client = tracking.client(home)
    empty = client.create_experiment("no runs yet", artifact_location=(home / "mlartifacts" / "7").as_uri())
    client.create_run(empty)
    moved = tmp_path / "moved"
    (home.rename if first_home == "is gone" else partial(shutil.copytree, home))(moved)
    monkeypatch.setenv("LANDCOVER_HOME", str(moved))
    assert "run `landcover migrate`" in _artifact_lines(capsys)
    assert main(["migrate"]) == 0
    assert "locations name the server" in capsys.readouterr().out
    assert _artifact_lines(capsys).startswith("  MLflow artifacts         served to clients")
    assert not [location for location in _locations(moved) if location.startswith(("/", "file:"))]
    with champions.served(moved, tmp_path / "server.log") as port:
        champions.predicted(tmp_path, PIXELS, champions.outside(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}"))
    np.testing.assert_array_equal(np.load(tmp_path / "probabilities.npy"), expected)


def test_artifacts_that_are_nowhere_are_named_with_a_fix_that_can_be_followed(
    home: Path, configs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = tracking.client(home)
    lost = client.create_experiment("lost", artifact_location="file:///gone/mlartifacts/lost")
    other = client.create_experiment("other", artifact_location="file:///gone/other")
    for _ in range(2):
        told = _artifact_lines(capsys)
        assert told.startswith(
            "! MLflow artifacts         2 experiments keep artifacts in folders that are gone (lost: "
        )
        assert f"bring /gone/mlartifacts back, or put what it held into {home / 'mlartifacts'} and run" in told
        assert main(["migrate"]) == 0
        assert "To do: 2 experiments keep artifacts in folders that are gone" in capsys.readouterr().out
    (home / "mlartifacts" / "lost").mkdir(parents=True)
    assert "run `landcover migrate`" in _artifact_lines(capsys)
    assert main(["migrate"]) == 0
    assert client.get_experiment(lost).artifact_location == "mlflow-artifacts:/lost"
    assert "bring /gone/other back, or delete the experiment in MLflow" in _artifact_lines(capsys)
    client.delete_experiment(other)
    assert _artifact_lines(capsys).startswith("  MLflow artifacts         served to clients")
