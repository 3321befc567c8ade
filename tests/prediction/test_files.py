"""Prediction of raster files without a dataset: the same map as the lineage's, refusals that stop one file alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from assets.cli import main
from landcover_orch.errors import ContractError
from landcover_orch.models.contract import load_contract
from landcover_orch.prediction.files import opened, prediction_settings
from landcover_orch.store.products import current
from tests import scenes, tiny
from tests.in_process import training_in_process

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion of the tiny dataset, and its files, made once; tests get copies of what they change."""
    import dagster as dg

    from assets.materialise import materialise

    folder = tmp_path_factory.mktemp("predict")
    for kind in ("datasets", "legends", "experiments"):
        (folder / "configs" / kind).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDCOVER_HOME", str(folder / "home"))
        patch.setenv("LANDCOVER_CONFIGS", str(folder / "configs"))
        dataset = tiny.write(folder / "configs", folder / "raw", baselines=["k-means"])
        with dg.DagsterInstance.ephemeral() as dagster, training_in_process():
            materialise(dagster, dataset)
    return folder


@pytest.fixture
def environment(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LANDCOVER_HOME", str(project / "home"))
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(project / "configs"))
    return project


def test_files_are_mapped_as_the_lineage_maps_them(
    environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rasters = [str(environment / "raw" / f"{tile}.tif") for tile in ("t0", "t1")]
    output = tmp_path / "maps"
    assert main(["predict", *rasters, "--model", "models:/tiny@champion", "--output", str(output)]) == 0
    assert capsys.readouterr().out.endswith(f"2 of 2 mapped: class.tif and confidence.tif in {output}/NAME/\n")
    for tile in ("t0", "t1"):
        made = current(environment / "home", "tiny", "land_cover_map", tile).file("class.tif").read_bytes()
        assert (output / tile / "class.tif").read_bytes() == made


def test_a_refused_file_stops_itself_alone(
    environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes.write_geotiff(tmp_path / "grey.tif", np.ones((1, 64, 64), np.uint8))
    scenes.write_geotiff(tmp_path / "deep.tif", np.ones((3, 64, 64), np.uint16))
    (tmp_path / "text.tif").write_text("no raster")
    model = str(environment / "home" / "tiny" / "model" / "k-means")
    names = ["grey.tif", "deep.tif", "text.tif"]
    rasters = [*(str(tmp_path / name) for name in names), str(environment / "raw" / "t0.tif")]
    assert main(["predict", *rasters, "--model", model, "--output", str(tmp_path / "maps")]) == 1
    printed = capsys.readouterr()
    assert "1 of 4 mapped" in printed.out
    assert "bands ('1',); expected ('red', 'green', 'blue'), as in training" in printed.err
    assert "dtype uint16; expected uint8, as in training" in printed.err
    assert "text.tif" in printed.err
    assert "Traceback" not in printed.err
    assert [path.name for path in (tmp_path / "maps").glob("[a-z]*") if path.is_symlink()] == ["t0"]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("models:/tiny@nobody", "no such version of tiny; expected one of: @c"),
        ("models:/tiny/99", "no such version of tiny; expected one of: @c"),
        (
            "models:/none@champion",
            "no registered model; expected models:/NAME@champion or models:/NAME/",
        ),
        ("models:/tiny", "no registered model; expected models:/NAME@champion"),
        ("/nowhere", "no model of this"),
    ],
)
def test_a_model_that_is_nowhere_is_named(
    environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, says: str
) -> None:
    raster = str(environment / "raw" / "t0.tif")
    assert main(["predict", raster, "--model", model, "--output", str(tmp_path / "maps")]) == 1
    printed = capsys.readouterr().err
    assert says in printed
    assert "MLflow at" not in printed, "it answered: the sentence alone"
    assert "Traceback" not in printed


def test_a_folder_without_the_experiments_file_is_predicted_in_windows_of_256(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = current(environment / "home", "tiny", "model", "quick")
    assert prediction_settings(load_contract(trained.path)).prediction.window == 32
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(tmp_path / "elsewhere"))
    assert prediction_settings(load_contract(trained.path)).prediction.window == 256


def test_rasters_of_one_name_are_refused(environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(environment / "raw" / "t0.tif", tmp_path / "t0.tif")
    rasters = [str(environment / "raw" / "t0.tif"), str(tmp_path / "t0.tif")]
    assert main(["predict", *rasters, "--model", "models:/tiny@champion", "--output", str(tmp_path / "maps")]) == 1
    assert "t0: the name of several rasters" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_a_folder_without_a_model_is_none(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no model of this project"), opened(str(tmp_path)):
        pass
