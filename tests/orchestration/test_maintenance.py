"""Years of a home: what nothing uses is cleaned, history goes by age, what left the configurations is named."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.event_log import SqliteEventLogStorage
from starlette.applications import Starlette
from starlette.testclient import TestClient

from assets import files, instance
from assets.chain import DATASET
from assets.cli import main
from assets.compute_logs import ComputeLogManager
from assets.execution import job_origin
from assets.materialise import materialise
from assets.storage import EventLogStorage
from landcover_orch import config, tracking
from landcover_orch.evaluation import champion
from landcover_orch.store import databases, publish, retention
from landcover_orch.store.locks import locked
from landcover_orch.store.publish import Recipe
from tests import tiny
from tests.in_process import training_in_process
from tests.planned import PREPARE

DAY_S = 86400


def use(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Points every setting of this process to the home and the configurations below a folder."""
    patch.setenv("LANDCOVER_HOME", str(folder / "home"))
    patch.setenv("LANDCOVER_CONFIGS", str(folder / "configs"))
    patch.setenv("DAGSTER_HOME", str(folder / "home" / "dagster"))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)


def run(*command: str) -> int:
    """The command line with trainings in this process."""
    with training_in_process():
        return main(list(command))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home in which the dataset `tiny` was prepared, and materialised with another legend."""
    folder = tmp_path_factory.mktemp("built")
    for kind in ("datasets", "legends", "experiments", "dagster"):
        (folder / "configs" / kind).mkdir(parents=True)
    shutil.copy(config.shipped_configs() / "dagster" / "dagster.yaml", folder / "configs" / "dagster")
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        dataset = tiny.write(folder / "configs", folder / "raw", experiments=["k-means"])
        with instance.opened() as dagster:
            materialise(dagster, dataset, PREPARE)
        legend = folder / "configs" / "legends" / "tiny.yaml"
        legend.write_text(legend.read_text().replace("#2166ac", "#2166ad"))
        assert run("materialise", tiny.NAME) == 0
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that home and of its configurations for one test, in use; the raw files are not copied."""
    target = tmp_path / "copy"
    for part in ("home", "configs"):
        shutil.copytree(built / part, target / part, symlinks=True)
    use(target, monkeypatch)
    return target


def former_products(home: Path) -> set[str]:
    """Products of the dataset that no link names, by asset and name."""
    products = [path.parent for path in (home / tiny.NAME).glob("**/manifest.json") if not path.parent.is_symlink()]
    linked = {path.resolve() for path in (home / tiny.NAME).glob("**/*") if path.is_symlink()}
    return {path.relative_to(home / tiny.NAME).as_posix().rpartition("-")[0] for path in products if path not in linked}


def test_products_of_a_tile_that_was_renamed_are_named_on_terminal_and_page_and_cleaned(
    folder: Path, built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, file = folder / "home", folder / "configs" / "datasets" / "tiny.yaml"
    shutil.copytree(built / "raw", folder / "raw")
    file.write_text(file.read_text().replace(str(built / "raw"), str(folder / "raw")))
    for path in folder.glob("raw/t0*"):
        path.rename(path.with_stem("north"))
    assert main(["status", "tiny"]) == 0
    told = capsys.readouterr().out
    stays = "dataset tiny: tile t0 is renamed or removed; "
    assert stays in told
    assert "landcover materialise tiny, then landcover clean tiny --unlisted --yes; or bring the files back" in told
    page = TestClient(Starlette(routes=files.routes())).get("/pages/tiny/").text
    assert stays in page
    assert run("materialise", "tiny") == 0
    assert stays in (home / "tiny" / "index.html").read_text(encoding="utf-8")
    assert main(["clean", "tiny", "--keep", "0", "--unlisted", "--yes"]) == 0
    assert "its tile was renamed or removed" in capsys.readouterr().out
    assert [path for path in (home / "tiny").glob("**/t0") if path.is_symlink()] == []
    assert main(["status", "tiny"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("tiny: everything is up to date.")
    assert stays not in told
    shutil.rmtree(folder / "raw")
    assert main(["clean", "tiny", "--unlisted", "--yes"]) == 1, "a disk that is not mounted removes nothing"
    assert "no such folder" in capsys.readouterr().err


def test_clean_lists_then_removes_what_nothing_uses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = folder / "home"
    former = former_products(home)
    assert former == {f"{asset}/t{i}" for asset in PREPARE[:2] for i in range(3)} | {"dataset_manifest/dataset"}
    assert main(["clean", "tiny", "--keep", "1", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert main(["clean", "tiny", "--keep", "0"]) == 0
    listed = capsys.readouterr().out
    assert former_products(home) == former
    assert "ground_truth" in listed
    assert "t0-" in listed
    assert "in all. Remove them: the same command with --yes" in listed
    assert main(["clean", "tiny", "--keep", "0", "--yes"]) == 0
    assert "tiny: removed " in capsys.readouterr().out
    assert former_products(home) == set()
    assert champion.load(tiny.NAME, home).product(home).path.is_dir()
    assert main(["status", "tiny"]) == 0
    assert capsys.readouterr().out.startswith("tiny: everything is up to date.")


def test_a_registered_model_stays_until_its_version_is_deleted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder / "home"
    link = home / tiny.NAME / "model" / "k-means"
    current = link.readlink()
    recipe = Recipe("model", 0, {}, {})
    former = publish.publish(link.parent, link.name, recipe, lambda stage: stage.write_json("a.json", 1))
    link.unlink()
    link.symlink_to(current)
    client = tracking.client(home)
    client.set_model_version_tag(tiny.NAME, "1", tracking.FINGERPRINT, former.fingerprint)
    assert main(["clean", "tiny", "--keep", "0", "--yes"]) == 0
    assert former.path.is_dir()
    client.delete_model_version(tiny.NAME, "1")
    capsys.readouterr()
    assert main(["clean", "tiny", "--keep", "0", "--yes"]) == 0
    assert f"  model {former.path.name}" in re.sub(r" +[\d.]+ k?B ", "", capsys.readouterr().out)
    assert not former.path.exists()
    assert link.resolve().is_dir()


def test_clean_removes_nothing_while_something_is_built_or_mlflow_is_silent(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "home"
    former = former_products(home)
    with publish.locked(home / tiny.NAME / "patches", "t1"):
        assert main(["clean", "tiny", "--keep", "0", "--yes"]) == 1
    assert "being built: tiny/patches/.t1.lock" in capsys.readouterr().err
    with instance.opened() as dagster:
        busy = dg.DagsterRun(job_name="any", status=dg.DagsterRunStatus.STARTED, tags={DATASET: tiny.NAME})
        dagster.add_run(busy)
    assert main(["clean", "tiny", "--keep", "0", "--yes"]) == 1
    assert f"being built: Dagster's run {busy.run_id[:8]}" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(["clean", "tiny", "--keep", "0", "--yes"]) == 1
    assert "looking up the registered versions failed" in capsys.readouterr().err
    assert former_products(home) == former


def age(home: Path, days: float) -> None:
    """Moves the history of Dagster and MLflow back in time."""
    seconds = days * DAY_S
    with closing(sqlite3.connect(home / "dagster" / "history" / "runs.db")) as connection:
        connection.execute(
            "UPDATE runs SET start_time = start_time - ?, end_time = end_time - ?, "
            "create_timestamp = datetime(create_timestamp, ?), update_timestamp = datetime(update_timestamp, ?)",
            (seconds, seconds, f"-{days} days", f"-{days} days"),
        )
        connection.commit()
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute(
            "UPDATE runs SET start_time = start_time - ?, end_time = end_time - ?", (int(seconds * 1000),) * 2
        )
        connection.commit()


def test_history_goes_by_age_but_for_what_is_shown_or_registered(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder / "home"
    client = tracking.client(home)
    experiment = client.get_experiment_by_name(tiny.NAME).experiment_id
    abandoned = client.create_run(experiment, run_name="abandoned").info.run_id
    client.log_text(abandoned, "x", "note.txt")
    client.set_terminated(abandoned)
    files = list((home / "mlartifacts").glob(f"**/{abandoned}"))
    assert files
    kept_runs = {run.info.run_id for run in client.search_runs([experiment])} - {abandoned}
    with instance.opened() as dagster:
        versions = {
            key: dagster.get_latest_materialization_event(key).run_id  # type: ignore[union-attr]
            for key in dagster.get_asset_keys()
            if dagster.get_latest_materialization_event(key)
        }
        runs = {run.run_id for run in dagster.get_runs()}
    assert main(["clean", "--history", "30", "--yes"]) == 0
    assert "Dagster: 0 runs" in capsys.readouterr().out
    age(home, 40)
    assert main(["clean", "--history", "30"]) == 0
    assert "the same command with --yes" in capsys.readouterr().out
    assert main(["clean", "--history", "30", "--yes"]) == 0
    assert "MLflow: 1 run ended" in capsys.readouterr().out
    with instance.opened() as dagster:
        left = {run.run_id for run in dagster.get_runs()}
        assert left < runs
        assert set(versions.values()) <= left
        assert {key: dagster.get_latest_materialization_event(key).run_id for key in versions} == versions  # type: ignore[union-attr]
    assert {path.stem for path in (home / "dagster" / "history" / "runs").glob("*-*.db")} == left
    assert not {path.name for path in (home / "dagster" / "storage").iterdir()} & (runs - left)
    assert {run.info.run_id for run in client.search_runs([experiment])} == kept_runs
    assert not [path for folder in files for path in folder.rglob("*")]
    assert run("materialise", tiny.NAME) == 0
    assert "Everything is up to date" in capsys.readouterr().out


def content(path: Path, query: str) -> list[tuple[object, ...]]:
    """Rows of a database."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.execute(query))


def test_a_backup_of_a_home_in_use_restores_to_one_that_is_up_to_date(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, file = folder / "home", tmp_path / "landcover.tar"
    (home / tiny.NAME / "patches" / ".t0.partial").mkdir()
    (home / "elsewhere").symlink_to(tmp_path)
    with closing(sqlite3.connect(home / "dagster" / "history" / "runs.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM runs")
        assert main(["backup", str(file)]) == 0
        writer.execute("ROLLBACK")
    printed = capsys.readouterr().out
    assert f"Restore it: LANDCOVER_HOME=NEW_FOLDER landcover restore {file}\n" in printed
    assert "left out, a link to outside the home: elsewhere" in printed
    assert file.stat().st_mode & 0o077 == 0, "nobody else reads it"
    assert main(["backup", str(file)]) == 1
    assert "expected a name that is free" in capsys.readouterr().err
    assert main(["restore", str(file)]) == 1
    assert "it is not empty; expected an empty home to restore into" in capsys.readouterr().err

    restored = tmp_path / "restored"
    (folder / "configs" / "experiments" / "own.yaml").write_text("{name: own, model: unet}")
    (folder / "configs" / "legends" / "tiny.yaml").rename(tmp_path / "legend.yaml")
    use(restored.parent, monkeypatch)
    monkeypatch.setenv("LANDCOVER_HOME", str(restored))
    monkeypatch.setenv("DAGSTER_HOME", str(restored / "dagster"))
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(folder / "configs"))
    cut = tmp_path / "cut.tar"
    for length in (file.stat().st_size // 2, file.stat().st_size - 20 * 1024):
        cut.write_bytes(file.read_bytes()[:length])
        assert main(["restore", str(cut)]) == 1
        assert "expected a backup that `landcover backup` wrote" in capsys.readouterr().err
        assert not restored.exists()
    assert main(["restore", str(file)]) == 0
    assert f"wrote {folder / 'configs' / 'legends' / 'tiny.yaml'}" in capsys.readouterr().out
    assert not (restored / tiny.NAME / "patches" / ".t0.partial").exists()
    query = "SELECT run_id FROM runs ORDER BY run_id"
    runs = content(home / "dagster" / "history" / "runs.db", query)
    assert runs
    assert content(restored / "dagster" / "history" / "runs.db", query) == runs
    assert run("materialise", tiny.NAME) == 0
    assert "Everything is up to date" in capsys.readouterr().out
    model = champion.load(tiny.NAME, restored).product(restored)
    version = tracking.champion(tiny.NAME, restored)
    assert version is not None
    assert version.tags["landcover.fingerprint"] == model.fingerprint
    assert list(tracking.client(restored).list_artifacts(version.run_id))
    downloaded = tracking.download_model(f"models:/{tiny.NAME}@champion", restored, tmp_path / "downloaded")
    assert (downloaded / "MLmodel").is_file()


def test_a_backup_of_databases_alone_keeps_decisions(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    (backups / "landcover-20200101T000000Z.tar").write_text("an older one")
    (backups / "mine.tar").write_text("not a dated one")
    (backups / ".landcover-20200101T000000Z.tar.partial").touch()
    os.utime(backups / ".landcover-20200101T000000Z.tar.partial", (0, 0))
    assert main(["backup", str(backups), "--databases-only", "--keep", "1"]) == 0
    assert "removed " in capsys.readouterr().out
    (file,) = set(backups.iterdir()) - {backups / "mine.tar"}
    monkeypatch.setenv("LANDCOVER_HOME", str(tmp_path / "restored"))
    assert main(["restore", str(file)]) == 0
    files = {
        path.relative_to(tmp_path / "restored").as_posix()
        for path in (tmp_path / "restored").rglob("*")
        if path.is_file() and "history" not in path.parts
    }
    assert files == {
        "dagster/dagster.yaml",
        "dagster/schedules/schedules.db",
        "fingerprints.sqlite",
        "mlflow.db",
        "tiny/champion/alias.json",
        "tiny/champion/decisions.jsonl",
    }


def downgrade(home: Path) -> None:
    """Takes the databases of a home back by one revision: MLflow's by its own migration, Dagster's by their number."""
    from alembic import command
    from alembic.config import Config

    location = Path(str(find_spec("mlflow").origin)).parent / "store" / "db_migrations"  # type: ignore[union-attr]
    config = Config(str(location.parent / "db_migrations" / "alembic.ini"))
    config.set_main_option("script_location", str(location))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{home / 'mlflow.db'}")
    command.downgrade(config, "-1")
    for database in databases.databases(home, home / "dagster"):
        if database.owner == "Dagster" and database.revision:
            with closing(sqlite3.connect(database.path)) as connection:
                connection.execute("UPDATE alembic_version SET version_num = 'f495c27d5019'")
                connection.commit()


def test_migrate_brings_an_earlier_home_up_once_after_a_backup(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder / "home"
    assert main(["migrate"]) == 0
    assert "its databases are of the installed versions" in capsys.readouterr().out
    assert not (home / "backups").exists()
    downgrade(home)
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        named = f"file://{home}/mlartifacts/{tiny.NAME}"
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = ?", (named, tiny.NAME))
        connection.commit()
    link = home / tiny.NAME / "land_cover_map" / "t0"
    manifest = link.resolve() / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 2', '"schema": 1'))
    with locked(home / ".ui.lock"):
        assert main(["migrate"]) == 1
    assert "`landcover ui` serves it; expected a home that nobody uses" in capsys.readouterr().err
    outdated = databases.outdated(home, home / "dagster")
    assert {database.owner for database in outdated} == {"MLflow", "Dagster"}
    assert main(["migrate"]) == 0
    printed = capsys.readouterr().out
    assert "MLflow: 1 database upgraded" in printed
    assert f"Dagster: {len(outdated) - 1} databases upgraded" in printed
    assert "MLflow's artifacts: 1 location names the server" in printed
    assert "1 product is of an earlier version" in printed
    assert databases.outdated(home, home / "dagster") == []
    (backup,) = (home / "backups").iterdir()
    former = databases.Database(backup / "mlflow.db", "mlflow.db", "MLflow")
    assert former.is_outdated
    assert main(["migrate"]) == 0
    assert "its databases are of the installed versions" in capsys.readouterr().out
    assert run("materialise", tiny.NAME) == 0
    assert "built 1 land_cover_map" in capsys.readouterr().out


def test_migrate_adds_what_the_settings_of_an_earlier_home_lack(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder / "home"
    settings = home / "dagster" / "dagster.yaml"
    written = "# ours\ntelemetry:\n  enabled: false  # as agreed\nretention:\n  schedule: {purge_after_days: 7}"
    settings.write_text(written)
    with instance.opened() as dagster:
        assert type(dagster.event_log_storage) is SqliteEventLogStorage
        known, keys = {run.run_id for run in dagster.get_runs()}, dagster.get_asset_keys()
        assert known
    main(["doctor"])
    line = next(line for line in capsys.readouterr().out.splitlines() if "Dagster settings" in line)
    assert line.startswith("  ")
    assert line.endswith("without `storage:` and `compute_logs:`: `landcover migrate` adds it")
    assert main(["migrate"]) == 0
    printed = capsys.readouterr().out
    (former,) = settings.parent.glob("dagster.yaml.*")
    assert f"`storage:` and `compute_logs:` added to {settings}, history stays; as it was: {former}\n" in printed
    assert former.read_text() == written
    assert "of the installed versions" not in printed
    assert settings.read_text().startswith(f"{written}\nstorage:\n  custom:")
    with instance.opened() as dagster:
        assert type(dagster.event_log_storage) is EventLogStorage
        assert type(dagster.compute_log_manager) is ComputeLogManager
        assert {run.run_id for run in dagster.get_runs()} == known
        assert dagster.get_asset_keys() == keys
    main(["doctor"])
    assert "without `" not in capsys.readouterr().out
    assert main(["migrate"]) == 0
    assert "of the installed versions" in capsys.readouterr().out
    settings.write_text("{telemetry: {enabled: false}}\n")
    assert main(["migrate"]) == 1
    assert "settings that lines can be added to" in capsys.readouterr().err
    assert settings.read_text() == "{telemetry: {enabled: false}}\n"
    assert list(settings.parent.glob("dagster.yaml.*")) == [former]


def started(dagster: dg.DagsterInstance, name: str) -> InstigatorState:
    """A running sensor with a tick under way, as a daemon leaves it that is ended."""
    origin = RemoteInstigatorOrigin(job_origin("any").repository_origin, name)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData())
    dagster.add_instigator_state(state)
    dagster.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=name,
            instigator_type=InstigatorType.SENSOR,
            status=TickStatus.STARTED,
            timestamp=1.0,
            selector_id=state.selector_id,
        )
    )
    return state


def observed() -> str:
    """What the observation of all datasets prints, as `landcover ui` starts it after each reload."""
    return subprocess.run(
        [sys.executable, "-m", "assets.observe"], capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_what_is_taken_out_ends_its_sensors_and_is_named_with_what_stays(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, file = folder / "home", folder / "configs" / "datasets" / "tiny.yaml"
    with instance.opened() as dagster:
        states = {name: started(dagster, name) for name in ("tiny_watch", "tiny_retrain")}
    for asset in ("model/former.seed-1", "report/former", "prediction/former/t2"):
        path = home / tiny.NAME / asset
        publish.publish(path.parent, path.name, Recipe(asset, 1, {}, {}), lambda stage: stage.write_json("a.json", 1))
    stays = "dataset tiny: experiment former is not listed; "
    lines = observed().splitlines()
    assert "tiny_retrain: ended, its definition is gone" in lines, "the dataset has no `retraining.when.cron`"
    assert "tiny_watch: ended, its definition is gone" not in lines
    assert any(line.startswith(stays) for line in lines)
    assert main(["status", "tiny"]) == 0
    assert stays in capsys.readouterr().out
    everything = frozenset().union(*(p.identities for p in retention.stored_products(home / tiny.NAME)))
    with mock.patch("landcover_orch.tracking.registered_models", return_value=everything) as asked:
        (home / "mlflow.db").touch()  # as a registration does
        for _ in range(3):
            assert main(["status", "tiny"]) == 0
            assert stays not in capsys.readouterr().out, "registered models stay, and clean removes none of them"
        assert asked.call_count == 1, "MLflow is asked again once something was written there"
        products = sorted((home / tiny.NAME / "model").glob("former*"))
        aside = [path.rename(folder / path.name) for path in products]
        (home / "mlflow.db").touch()
        assert main(["status", "tiny"]) == 0
        assert stays in capsys.readouterr().out, "reports and maps are left"
        assert asked.call_count == 1, "no model was taken out"
        for path, product in zip(aside, products, strict=True):
            path.rename(product)
    assert main(["clean", "tiny", "--keep", "9"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert main(["clean", "tiny", "--keep", "9", "--unlisted", "--yes"]) == 0
    assert "tiny: removed 3 folders" in capsys.readouterr().out
    assert [path for path in (home / tiny.NAME).glob("**/former*") if path.parent.name != "prediction"] == []
    assert champion.load(tiny.NAME, home).product(home)
    assert main(["clean", "tiny", "--all", "--yes"]) == 1
    assert "expected a dataset that was taken out" in capsys.readouterr().err

    file.write_text("- no dataset")
    assert "tiny_watch: ended" not in observed(), "a fault is mended"
    aside = file.parents[1].rename(folder / "aside")
    text = observed()
    assert f"LANDCOVER_CONFIGS: {file.parents[1]}, which is not there; expected" in text
    assert "its definition is gone" not in text
    assert "landcover clean" not in text
    aside.rename(file.parents[1])
    file.unlink()
    lines = observed().splitlines()
    assert "tiny_watch: ended, its definition is gone" in lines
    (line,) = (line for line in lines if line.startswith("dataset tiny: no configuration; "))
    assert line.endswith(f"stay in {home / 'tiny'}: landcover clean tiny --all --yes, or add its file again")
    for command in (["doctor"], ["status", "tiny"]):
        main(command)
        assert line in capsys.readouterr().out
    with instance.opened() as dagster:
        assert dagster.all_instigator_state() == []
        for state in states.values():
            (tick,) = dagster.get_ticks(state.instigator_origin_id, state.selector_id)
            assert tick.status == TickStatus.SKIPPED
        assert dagster.get_asset_keys()
    assert main(["clean", "tiny", "--all"]) == 0
    assert (home / "tiny").is_dir()
    assert main(["clean", "tiny", "--all", "--yes"]) == 0
    assert not list(home.glob("*tiny*"))
    with instance.opened() as dagster:
        assert dagster.get_asset_keys() == []
        assert dagster.get_dynamic_partitions("tiny_tiles") == []
    assert "dataset tiny" not in observed()


def test_the_doctor_opens_the_databases_and_compares_the_history(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = folder / "home"
    main(["doctor", "--history"])
    printed = capsys.readouterr().out
    code = "import sys; from assets.cli import main; main(['doctor']); sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
    assert re.search(r"  Database mlflow.db +[\d.]+ [kM]B, sound, schema as installed", printed)
    assert re.search(r"  History of tiny +as on disk", printed)
    with instance.opened() as dagster:
        dagster.wipe_assets([dg.AssetKey(["tiny", "patches"])])
    downgrade(home)
    (home / "fingerprints.sqlite").write_bytes(b"no database at all" * 100)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(re.search(r"! Database mlflow.db +.* of an earlier MLflow", line) for line in lines)
    assert any("run `landcover migrate`" in line for line in lines)
    assert any("file is not a database" in line for line in lines)
    assert main(["migrate"]) == 1, "a damaged database cannot be copied"
    (home / "fingerprints.sqlite").unlink()
    assert main(["migrate"]) == 0
    assert main(["doctor", "--history"]) == 1
    assert "3 current products that Dagster does not know" in capsys.readouterr().out
