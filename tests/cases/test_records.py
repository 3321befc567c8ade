"""Workflows of the kind `records`: registry, disk and home tell different things, and one of them is asked."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import rasterio
import yaml

from assets.cli import main
from landcover_orch import config, tracking
from landcover_orch.errors import IncompleteError
from landcover_orch.evaluation.decisions import load_decisions, present_decision
from landcover_orch.planner import State
from landcover_orch.store.publish import MANIFEST
from landcover_orch.tracking.server import client
from tests import planned
from tests.cases import lineage
from tests.cases.case import MAKE, NAME, REPOSITORY, Case, case_names, overwrite
from tests.cases.compare import CaseRun
from tests.cases.lineage import LAST
from tests.cases.runner import PROJECT, Runner
from tests.cases.test_workflows import champion_alias, current, materialised, require_agreement

pytestmark = pytest.mark.skipif(PROJECT not in case_names(), reason=f"no case {PROJECT}: {MAKE} is not there")


@pytest.fixture
def project(cases: dict[str, Case], scratch: Path) -> Iterator[CaseRun]:
    """The case `project`, materialised whole."""
    with Runner(scratch / LAST, cases[PROJECT], LAST).opened_project(cases[PROJECT]) as run:
        yield run


def change_rate(run: CaseRun, experiment: str) -> None:
    """Gives an experiment another learning rate."""
    path = run.folder / "configs" / "experiments" / f"{experiment}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["optimiser"]["lr"] /= 2
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def change_pixels(run: CaseRun, tile: str) -> None:
    """Gives a tile other pixels."""
    with rasterio.open(run.folder / "raw" / f"{tile}.tif", "r+") as file:
        file.write(file.read() + 1)


def versions() -> dict[str, str]:
    """Number of each registered version -> its model."""
    found = client(config.home()).search_model_versions(f"name = '{NAME}'")
    return {str(v.version): f"{v.tags.get(tracking.EXPERIMENT)}-{v.tags.get(tracking.FINGERPRINT)}" for v in found}


def test_a_file_of_a_product_that_is_gone_is_made_again_whatever_changed_meanwhile(project: CaseRun) -> None:
    current("ground_truth", "a").file("classes.tif").unlink()
    project.set_key("patches.stride", 8)
    materialised(project)
    assert current("ground_truth", "a").file("classes.tif").is_file()


@pytest.mark.parametrize("damage", ["cut", "added", "schema"])
def test_a_damaged_manifest_is_named_with_its_fix_and_built_again(project: CaseRun, damage: str) -> None:
    product = current("patches", "a")
    path = product.path / MANIFEST
    match damage:
        case "cut":
            overwrite(path, path.read_bytes()[:10])
        case "added":
            path = product.path / "notes.txt"
            path.write_text("mine")
        case _:
            overwrite(path, path.read_bytes().replace(b'"schema": 2', b'"schema": 3'))
    with pytest.raises(IncompleteError) as error:
        current("patches", "a")
    (problem,) = error.value.problems
    assert problem.where in (str(path), str(product.path))
    assert problem.fix
    step = planned.described(project.dagster, config.load_dataset(NAME)).steps["patches", "a"]
    assert (step.state, problem.where in step.reason) == (State.BUILD, True), step
    materialised(project)
    assert current("patches", "a").files == product.files
    assert (product.path / "notes.txt").exists() is False


@contextmanager
def renamed_home(run: CaseRun) -> Iterator[Path]:
    """The home under another name; nothing may be written to the former path meanwhile."""
    former, renamed = config.home(), config.home().with_name("renamed")
    shutil.rmtree(renamed, ignore_errors=True)
    former.rename(renamed)
    settings = {"LANDCOVER_HOME": str(renamed), "DAGSTER_HOME": str(renamed / "dagster")}
    try:
        with mock.patch.dict(os.environ, settings):
            yield renamed
        assert not former.exists(), [str(path) for path in former.rglob("*")]
    finally:
        shutil.rmtree(former, ignore_errors=True)
        renamed.rename(former)


def predicts(run: CaseRun, output: Path) -> bool:
    """Whether the registered champion loads, and maps a file."""
    raster, model = run.folder / "raw" / "c.tif", f"models:/{NAME}@champion"
    return main(["predict", str(raster), "--model", model, "--output", str(output)]) == 0


def test_a_home_that_was_renamed_works_and_nothing_is_written_to_its_former_path(project: CaseRun) -> None:
    with renamed_home(project) as home:
        assert landcover("materialise", NAME).startswith("Everything is up to date"), "nothing is lost"
        assert predicts(project, home / "maps")


@pytest.mark.long
def test_a_renamed_home_is_trained_in_and_elects_its_champion(project: CaseRun) -> None:
    """Each command in a process of its own, as a person runs them: MLflow remembers folders in one."""
    with renamed_home(project) as home:
        for command in ("status", "materialise"):
            landcover(command, NAME)
        change_rate(project, "small")
        landcover("materialise", NAME)
        assert predicts(project, home / "maps")
        require_agreement(project)


def landcover(*arguments: str) -> str:
    """What a command prints that ends well, in a process of its own."""
    command = [sys.executable, "-m", "assets.cli", *arguments]
    surroundings = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_version_that_was_deleted_is_registered_again_from_disk(project: CaseRun) -> None:
    former = champion_alias()
    client(config.home()).delete_model_version(NAME, former.version)
    lines = materialised(project).lines
    assert "  the alias `champion` is set to small, version 3" in lines
    assert champion_alias().model == former.model
    assert materialised(project).lines == (), "it is mended once"
    change_rate(project, "second")
    materialised(project)
    assert require_agreement(project) == "small"


def test_an_alias_that_a_person_gave_stands_where_the_former_champion_s_version_was_deleted(project: CaseRun) -> None:
    registry, former = client(config.home()), champion_alias()
    chosen = next(number for number, model in versions().items() if model.startswith("second"))
    registry.delete_model_version(NAME, former.version)
    registry.set_registered_model_alias(NAME, "champion", chosen)
    lines = materialised(project).lines
    assert f"  the alias `champion` was moved to version {chosen} by hand: recorded" in lines
    assert require_agreement(project) == "second"
    assert former.model in versions().values(), "registered again all the same"


def test_any_version_that_was_deleted_is_told_by_the_doctor_and_mended_by_its_fix(
    project: CaseRun, capsys: pytest.CaptureFixture[str]
) -> None:
    number = next(number for number, model in versions().items() if model.startswith("second"))
    client(config.home()).delete_model_version(NAME, number)
    assert re.fullmatch("no version of second-[0-9a-f]{16}", registry_line(capsys))
    main(["doctor", "--fix"])
    assert re.search("MLflow had no version of second-[0-9a-f]{16}: registered from disk", capsys.readouterr().out)
    assert registry_line(capsys) == "as on disk"
    assert materialised(project).lines == ()
    assert sorted(model.partition("-")[0] for model in versions().values()) == ["second", "small"]


def test_the_sensor_registers_again_what_was_deleted(project: CaseRun) -> None:
    number = next(number for number, model in versions().items() if model.startswith("second"))
    client(config.home()).delete_model_version(NAME, number)
    _, said = lineage.tick(project.dagster)
    assert "no version of second-" in said
    assert sorted(model.partition("-")[0] for model in versions().values()) == ["second", "small"]


def test_every_damaged_product_of_a_dataset_is_named_by_the_doctor_and_built_again(
    project: CaseRun, capsys: pytest.CaptureFixture[str]
) -> None:
    flipped = current("ground_truth", "a").path / "classes.tif"
    content = bytearray(flipped.read_bytes())
    content[-9] ^= 4
    overwrite(flipped, bytes(content))
    cut = current("model", "small").path / "summary.json"
    overwrite(cut, cut.read_bytes()[:10])
    assert main(["doctor", "--deep", NAME]) == 1
    printed = capsys.readouterr().out
    for path in (flipped, cut):
        assert f"{path}: missing or changed" in printed
    assert printed.count(f"Fix: landcover materialise {NAME}") == 2
    states = planned.described(project.dagster, config.load_dataset(NAME)).steps
    assert states["ground_truth", "a"].state is State.BUILD
    materialised(project)
    main(["doctor", "--deep", NAME])
    assert "missing or changed" not in capsys.readouterr().out
    assert require_agreement(project) == "small"


def lost_database(home: Path) -> None:
    """MLflow's database is gone."""
    (home / "mlflow.db").unlink()


def lost_everything(home: Path) -> None:
    """MLflow's database and its files are gone."""
    lost_database(home)
    shutil.rmtree(home / "mlartifacts")


def renamed_model(home: Path) -> None:
    """A person gave the registered model another name."""
    client(home).rename_registered_model(NAME, "another")


def deleted_model(home: Path) -> None:
    """A person deleted the registered model with all its versions."""
    client(home).delete_registered_model(NAME)


@pytest.mark.parametrize("damage", [lost_database, lost_everything, renamed_model, deleted_model])
def test_a_registry_that_was_reset_is_made_again_from_disk(project: CaseRun, damage: Callable[[Path], None]) -> None:
    past = load_decisions(NAME, config.home())
    damage(config.home())
    assert materialised(project).lines
    assert sorted(model.partition("-")[0] for model in versions().values()) == ["second", "small"]
    assert require_agreement(project) == "small"
    assert load_decisions(NAME, config.home()) == past, "nobody moved the alias by hand"
    reported = [client(config.home()).get_run(run_id).data.metrics for run_id in run_ids()]
    assert all("test/mean_iou" in metrics for metrics in reported)
    assert predicts(project, config.home() / "maps")
    assert materialised(project).lines == (), "it is made once"


def run_ids() -> list[str]:
    """Runs of the registered versions."""
    return [str(v.run_id) for v in client(config.home()).search_model_versions(f"name = '{NAME}'")]


def test_files_of_a_version_that_are_gone_are_written_again(project: CaseRun) -> None:
    before = versions()
    shutil.rmtree(config.home() / "mlartifacts")
    lines = materialised(project).lines
    assert any("has lost its files, or they are damaged: written again from disk" in line for line in lines), lines
    assert versions() == before
    assert predicts(project, config.home() / "maps")


def test_an_older_copy_of_the_database_is_no_person_s_word(project: CaseRun) -> None:
    home = config.home()
    former = champion_alias().version
    change_rate(project, "small")
    with copied_database(home):
        materialised(project)
        elected = require_agreement(project)
    past = load_decisions(NAME, home)
    assert champion_alias().version == former
    materialised(project)
    assert require_agreement(project) == elected
    assert load_decisions(NAME, home) == past


@contextmanager
def copied_database(home: Path) -> Iterator[None]:
    """What is written to MLflow's database meanwhile is lost at the end."""
    copy = home / "copy.db"
    shutil.copy(home / "mlflow.db", copy)
    yield
    shutil.copy(copy, home / "mlflow.db")


def test_an_alias_on_a_version_whose_model_was_cleaned_is_told_with_a_fix_that_works(
    project: CaseRun, capsys: pytest.CaptureFixture[str]
) -> None:
    home = config.home()
    number = next(number for number, model in versions().items() if model.startswith("second"))
    former = current("model", "second").path
    change_rate(project, "second")
    materialised(project)
    shutil.rmtree(former)
    client(home).set_registered_model_alias(NAME, "champion", number)
    lines = materialised(project).lines
    (line,) = [line for line in lines if "is not followed" in line]
    assert f"version {number}: its model is not on disk" in line
    assert "landcover promote" in line
    assert champion_alias().version == number, "a person's alias stands"
    small = next(number for number, model in versions().items() if model.startswith("small"))
    assert main(["promote", NAME, small]) == 0
    materialised(project)
    assert require_agreement(project) == "small"


@contextmanager
def silent_server() -> Iterator[None]:
    """MLFLOW_TRACKING_URI is a port of this machine that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with mock.patch.dict(os.environ, {"MLFLOW_TRACKING_URI": uri}):
            yield


def test_a_server_that_never_answers_costs_less_than_a_minute_and_is_told_later_once(
    project: CaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_rate(project, "small")
    started = time.monotonic()
    lineage.run(project.dagster)
    own_time = time.monotonic() - started
    change_rate(project, "small")
    started = time.monotonic()
    monkeypatch.setattr("landcover_orch.tracking.server.PROBE_S", 1.0)
    with silent_server():
        lines = materialised(project).lines
        assert time.monotonic() - started < own_time + 60
    assert "MLflow is not compared with the disk" in lines[-1]
    model = current("model", "small").path.name
    assert model not in versions().values()
    assert any(model in line for line in materialised(project).lines)
    assert require_agreement(project) in ("small", "second")
    assert list(versions().values()).count(model) == 1
    registry = client(config.home())
    run_id = next(
        v.run_id for v in registry.search_model_versions(f"name = '{NAME}'") if v.tags[tracking.FINGERPRINT] in model
    )
    epochs = [point.step for point in registry.get_metric_history(run_id, "validation/mean_iou")]
    assert epochs == sorted(set(epochs))
    assert "test/mean_iou" in registry.get_run(run_id).data.metrics
    assert materialised(project).lines == ()


def registry_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What the doctor says of the registry, and the exit code says so, too."""
    capsys.readouterr()
    code = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    (number,) = [number for number, line in enumerate(lines) if f"Registry of {NAME} " in line]
    differs = "landcover doctor --fix" in lines[number + 1]
    assert code == 1 or not differs
    return lines[number].partition(f"Registry of {NAME} ")[2].strip()


def test_a_champion_whose_recipe_left_the_configurations_maps_by_its_copy(project: CaseRun) -> None:
    (project.folder / "configs" / "experiments" / "small.yaml").unlink()
    project.set_key("experiments", ["second"])
    change_pixels(project, "d")
    before = lineage.run_ids(project.dagster)
    materialised(project)
    assert require_agreement(project) == "small"
    maps = {step for step in lineage.materialised(project.dagster, before) if step.startswith("land_cover_map")}
    assert maps == {"land_cover_map d"}, "the others are as they were"
    assert "small stays: no challenger" in load_decisions(NAME, config.home())[-1].reason


def registered_file(name: str) -> Path:
    """A file of the champion's version in MLflow's artifacts."""
    model = champion_alias()
    source = client(config.home()).get_model_version(NAME, model.version).source.removeprefix("models:/")
    (path,) = config.home().glob(f"mlartifacts/**/{source}/**/{name}")
    return path


def emptied(path: Path) -> None:
    """Nothing of a file is left."""
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    """A bit of a file is another."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [flipped, *(pytest.param(damage, marks=pytest.mark.long) for damage in (emptied, Path.unlink))]
)
def test_a_damaged_copy_of_a_model_in_mlflow_is_refused_told_and_written_again(
    project: CaseRun, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    path = registered_file("model.safetensors")
    content = path.read_bytes()
    damage(path)
    assert not predicts(project, config.home() / "maps")
    assert "Fix: landcover doctor --deep DATASET --fix" in capsys.readouterr().err
    assert main(["doctor", "--deep", NAME]) == 1
    version = champion_alias().version
    assert f"version {version} ({champion_alias().model}) has lost its files, or they are damaged" in (
        capsys.readouterr().out
    )
    main(["doctor", "--deep", NAME, "--fix"])
    assert path.read_bytes() == content
    assert predicts(project, config.home() / "maps")


def test_a_person_s_choice_stands_where_the_file_of_decisions_is_lost(
    project: CaseRun, capsys: pytest.CaptureFixture[str]
) -> None:
    second = next(number for number, model in versions().items() if model.startswith("second"))
    assert main(["promote", NAME, second]) == 0
    file = config.home() / NAME / "champion" / "decisions.jsonl"
    last = present_decision(NAME, config.home())
    assert last is not None
    file.unlink()
    capsys.readouterr()
    main(["doctor"])
    assert f"Decisions of {NAME}" in capsys.readouterr().out
    (recovered,) = load_decisions(NAME, config.home())
    assert [name.partition("-")[0] for name in recovered.passed_over] == ["small"]
    assert (recovered.by, recovered.user, recovered.at, recovered.champion) == (
        "person",
        last.user,
        last.at,
        last.champion,
    )
    materialised(project)
    project.set_key("promotion", {"by": "automatic", "margin": 0.01})  # it is elected anew
    materialised(project)
    history = load_decisions(NAME, config.home())
    assert [(decision.by, decision.champion.experiment) for decision in history] == [
        ("person", "second"),
        ("rule", "second"),
    ]
    assert re.search(r"small, \d\.\d{3}, was passed over", history[-1].reason)
    assert require_agreement(project) == "second"
    file.write_text("{}\n" + file.read_text() if file.is_file() else "{}\n")
    main(["doctor"])
    assert re.search(r"decisions\.jsonl, line 1", capsys.readouterr().out)


def test_a_product_whose_folder_is_gone_is_told_by_the_doctor(
    project: CaseRun, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(current("land_cover_map", "a").path)
    assert main(["doctor", "--deep", NAME]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"land_cover_map a\b", printed)
    assert f"Fix: landcover materialise {NAME}" in printed
    materialised(project)
    main(["doctor", "--deep", NAME])
    assert "which is gone" not in capsys.readouterr().out


@pytest.mark.parametrize("with_run", [pytest.param(True, marks=pytest.mark.long), False])
def test_an_alias_on_a_version_that_is_not_this_project_s_is_told_with_what_a_person_can_do(
    project: CaseRun, capsys: pytest.CaptureFixture[str], with_run: bool
) -> None:
    registry, own = client(config.home()), champion_alias()
    experiment = registry.get_experiment_by_name(NAME).experiment_id
    run_id = registry.create_run(experiment).info.run_id if with_run else None
    foreign = registry.create_model_version(NAME, "/nowhere/at/all", run_id=run_id)
    registry.set_registered_model_alias(NAME, "champion", foreign.version)
    capsys.readouterr()
    main(["doctor"])
    printed = capsys.readouterr().out
    assert f"the alias `champion` was moved to version {foreign.version} by hand" in printed
    assert "or choose one by `landcover promote`" in printed
    main(["materialise", NAME])
    printed = capsys.readouterr().out
    assert f"while the alias `champion` is on version {foreign.version}, which is another model" in printed
    assert main(["promote", NAME, own.version]) == 0
    assert require_agreement(project) == "small"


def test_two_models_that_share_a_run_end_no_mending(project: CaseRun) -> None:
    registry = client(config.home())
    small, second = (
        next(v for v in registry.search_model_versions(f"name = '{NAME}'") if v.tags[tracking.EXPERIMENT] == name)
        for name in ("small", "second")
    )
    for tag in (tracking.EXPERIMENT, tracking.FINGERPRINT):
        registry.set_model_version_tag(NAME, small.version, tag, second.tags[tag])
    main(["doctor", "--fix"])  # it ends


def test_status_says_that_a_person_moved_the_alias(project: CaseRun, capsys: pytest.CaptureFixture[str]) -> None:
    second = next(number for number, model in versions().items() if model.startswith("second"))
    former = champion_alias().version
    client(config.home()).set_registered_model_alias(NAME, "champion", second)
    capsys.readouterr()
    assert main(["status", NAME]) == 0
    said = f"MLflow's alias `champion` is on version {second}, and was last given to version {former}"
    assert said in capsys.readouterr().out
    materialised(project)
    main(["status", NAME])
    assert "MLflow's alias" not in capsys.readouterr().out


def deleted_experiment(run_id: str) -> None:
    """A person deleted the dataset's experiment in MLflow's pages."""
    registry = client(config.home())
    registry.delete_experiment(registry.get_run(run_id).info.experiment_id)


def deleted_run(run_id: str) -> None:
    """A person deleted the champion's run in MLflow's pages."""
    client(config.home()).delete_run(run_id)


@pytest.mark.parametrize("damage", [deleted_experiment, deleted_run])
def test_what_was_deleted_in_mlflow_s_pages_is_restored(
    project: CaseRun, capsys: pytest.CaptureFixture[str], damage: Callable[[str], None]
) -> None:
    run_id = champion_alias().run_id
    damage(run_id)
    assert "is deleted" in registry_line(capsys)
    main(["doctor", "--fix"])
    assert registry_line(capsys) == "as on disk"
    assert client(config.home()).get_run(run_id).info.lifecycle_stage == "active"
    change_rate(project, "second")
    materialised(project)
    assert require_agreement(project) == "small"


def test_the_model_of_a_champion_whose_recipe_was_renamed_stays_and_where_it_is_gone_another_is_elected(
    project: CaseRun,
) -> None:
    recipes = project.folder / "configs" / "experiments"
    recipe = yaml.safe_load((recipes / "small.yaml").read_text(encoding="utf-8"))
    (recipes / "another.yaml").write_text(yaml.safe_dump({**recipe, "name": "another"}), encoding="utf-8")
    project.set_key("experiments", ["another", "second"])
    materialised(project)
    assert require_agreement(project) == "small"
    model = config.home() / current("champion", "champion").json("champion.json")["model"]
    assert main(["clean", NAME, "--keep", "0", "--unlisted", "--yes"]) == 0
    assert (model / MANIFEST).is_file()
    shutil.rmtree(model)
    materialised(project)
    assert require_agreement(project) == "another", "the same training by its other name"
    assert materialised(project).lines == ()
