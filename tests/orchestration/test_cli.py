"""The program `landcover`: help, exit codes, sentences instead of tracebacks, and what each command loads."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from assets import upkeep
from assets.cli import main
from landcover_orch import config
from landcover_orch.checks import doctor
from tests import scenes, tiny

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = ("init", "check", "materialise", "train", "ui", "clean", "backup", "restore", "migrate", "service", "doctor")
HEAVY = ("dagster", "torch", "mlflow", "rasterio", "dask", "zarr", "lightning", "matplotlib")
DATASET = """
name: town
root: {root}
tiles: {{image: "{{tile}}.tif", label: "{{tile}}.gpkg"}}
bands: [grey]
legend: cover
labels: {{attribute: code, unlabelled: rest}}
splits: {{validation: {{blocks: 0.2}}, test: {{blocks: 0.2}}, block: 8}}
patches: {{size: 16, stride: 16}}
experiments: [small]
baselines: []
"""
LEGEND = """
name: cover
classes: [{id: 0, name: field, colour: "#00ff00"}, {id: 1, name: rest, colour: "#d9d2c0"}]
codes: {1: field}
"""


@pytest.fixture
def root(configs: Path, tmp_path: Path) -> Path:
    """The raw files of the dataset `town`, which is sound."""
    (configs / "datasets/town.yaml").write_text(DATASET.format(root=tmp_path / "raw"))
    (configs / "legends/cover.yaml").write_text(LEGEND)
    (configs / "experiments/small.yaml").write_text("{name: small, model: unet}")
    x, y = scenes.ORIGIN
    scenes.write_geotiff(tmp_path / "raw/a.tif", np.ones((1, 32, 32), np.uint8))
    scenes.write_polygons(tmp_path / "raw/a.gpkg", [(box(x, y - 9, x + 9, y), "1")])
    return tmp_path / "raw"


def _program(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, or `code` in its place."""
    command = ["-c", code] if code else ["-m", "assets.cli"]
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def _loaded_after(*arguments: str) -> tuple[str, set[str]]:
    """What the program prints, and which heavy packages its process has loaded at its end."""
    code = (
        "import sys; from assets.cli import main; status = main(sys.argv[1:]); "
        f"print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules]); sys.exit(status)"
    )
    done = _program(*arguments, code=code)
    assert done.returncode == 0, done.stderr
    printed, _, loaded = done.stdout.rpartition("loaded:")
    return printed, set(loaded.split())


def test_the_program_is_installed_under_its_name() -> None:
    script = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]["landcover"]
    module, _, function = script.partition(":")
    assert getattr(importlib.import_module(module), function) is main


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    printed, loaded = _loaded_after("--help")
    assert all(f" {command} " in printed for command in COMMANDS)
    assert "Example: landcover check demo" in printed
    assert not loaded


def test_the_check_loads_neither_dagster_nor_torch(root: Path) -> None:
    printed, loaded = _loaded_after("check", "town")
    assert printed.endswith("town: 1 tile, 0 problems, 1 note\n")
    assert "rasterio" in loaded
    assert not loaded & {"dagster", "torch", "mlflow", "lightning", "matplotlib"}


def test_init_drafts_a_dataset_without_dagster_and_torch_and_refuses_a_name_twice(configs: Path, root: Path) -> None:
    printed, loaded = _loaded_after("init", "village", str(root))
    assert f"wrote {configs / 'datasets' / 'village.yaml'}" in printed
    assert printed.endswith("then: landcover check village\n")
    assert not loaded & {"dagster", "torch", "mlflow", "lightning", "matplotlib"}
    again = _program("init", "village", str(root))
    assert again.returncode == 1
    assert (
        "village.yaml: 'village' is taken; expected a name that is free. Fix: choose another one, as village-2; "
        in (again.stderr)
    )
    assert "Traceback" not in again.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"Usage: landcover {command}" in printed
    assert "─ Options ─" in printed, "all look alike"
    assert not re.search(r"\w \.\s", printed), "words in brackets are no markup of the help"
    assert re.search(rf"Example: (\w+=\S+ )?landcover {command}", printed)
    assert f"landcover {command}" in printed.partition("Example")[0]


def test_a_misspelt_command_names_those_there_are() -> None:
    done = _program("chekc", "demo")
    assert done.returncode == 2
    text = " ".join(done.stderr.replace("│", " ").split())
    upkeep = "clean, backup, restore, migrate, service, doctor"
    known = f"init, check, status, materialise, predict, promote, train, ui, {upkeep}"
    named = f"No such command 'chekc'; expected one of {known}"
    assert named in text
    assert "did you mean 'check'?" in text
    assert "Traceback" not in done.stderr


def test_a_misspelt_dataset_names_those_there_are(root: Path) -> None:
    done = _program("materialise", "twon")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no file twon.yaml in " in done.stderr
    assert "expected one of town, demo, or of `landcover studies`. Fix: did you mean 'town'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["studies"], ["check", "town"]])
def test_output_that_nobody_reads_ends_a_command_without_a_word(root: Path, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does once it has its lines
    program = [sys.executable, "-m", "assets.cli", *command]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_the_demo_ends_as_a_command_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "landscape").mkdir()
    done = _program(code="import runpy; runpy.run_module('assets.demo', run_name='__main__')")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{home / 'landscape'}: something that is no generated landscape; expected")


def test_no_command_is_answered_with_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "materialise" in capsys.readouterr().out


def test_check_of_a_sound_dataset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "town", "--deep"]) == 0
    printed = capsys.readouterr().out
    assert f"note: {config.own_configs()}/datasets/town.yaml: the years of a are not stated" in printed
    assert printed.endswith("town: 1 tile, 0 problems, 1 note\n")


def test_problems_set_the_exit_code_of_check(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes.write_geotiff(root / "b.tif", np.ones((2, 32, 32), np.uint16))
    (root / "a.gpkg").rename(root / "b.gpkg")
    assert main(["check", "town"]) == 1
    assert "a.gpkg: no such file" in capsys.readouterr().out
    (root / "a.tif").unlink()
    assert main(["check", "town"]) == 1
    assert capsys.readouterr().out.count("problem: ") == 2


def test_check_of_an_unknown_dataset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "twon"]) == 1
    assert "did you mean 'town'" in capsys.readouterr().out


def test_check_finds_recipes_whose_parts_do_not_go_together(
    root: Path, configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (configs / "experiments/small.yaml").write_text(
        "{name: small, model: unet, optimiser: adagrad, schedule: one_cycle}"
    )
    assert main(["check", "town"]) == 1
    assert "one_cycle turns momentum, and adagrad has none" in capsys.readouterr().out


def test_check_lists_the_problems_of_legend_files_and_recipes_together(
    root: Path, configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (configs / "legends/cover.yaml").unlink()
    (configs / "experiments/small.yaml").unlink()
    (root / "a.gpkg").unlink()
    assert main(["check", "town"]) == 1
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("no file cover.yaml", "a.gpkg: no such file", "no file small.yaml"))
    assert printed.endswith("town: 0 tiles, 3 problems, 0 notes\n")


def test_train_hands_its_options_over(
    configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("landcover_orch.training.__main__.end_when_asked", lambda: None)
    tiny.write(configs, tmp_path / "tiny")
    assert main(["train", "--dataset", tiny.NAME, "--experiment", tiny.EXPERIMENT, "--home", str(home)]) == 1
    assert "dataset_manifest" in capsys.readouterr().err


@pytest.mark.parametrize("given", [[], ["rates.png"]])
def test_train_hands_the_range_test_over(monkeypatch: pytest.MonkeyPatch, given: list[str]) -> None:
    handed: list[list[str]] = []
    monkeypatch.setattr("landcover_orch.training.__main__.main", lambda arguments: handed.append(arguments) or 0)
    options = ["--dataset", "demo", "--experiment", "demo-unet"]
    assert main(["train", "--find-lr", *given, *options]) == 0
    assert handed == [[*options, "--find-lr", *given]]
    assert main(["train", *options, "rates.png"]) == 2
    assert len(handed) == 1


def test_doctor_ends_with_its_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "findings", lambda: iter([doctor.Finding("Disk", "full", "free some")]))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.endswith("Fix: free some\n1 to fix.\n")


@pytest.fixture
def instance(configs: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration and folder of a Dagster instance of this test."""
    (configs / "dagster").mkdir()
    (configs / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")


def test_materialise_ends_with_what_a_person_asks_next(
    configs: Path, instance: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.in_process import training_in_process

    tiny.write(configs, tmp_path / "raw", baselines=["k-means"])
    with training_in_process():
        assert main(["materialise", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (built,) = (line for line in lines if " built " in line)
    assert re.match(r"\d+ runs in \d+ s built 3 ground_truth, ", built)
    scores = [line.split()[0] for line in lines if "accuracy" in line and "mean_iou" in line]
    assert sorted(scores) == ["k-means", "quick"]
    assert [line.endswith("(baseline)") for line in lines if "accuracy" in line] == [
        name == "k-means" for name in scores
    ]
    assert any(line.startswith("Champion: ") and "registered as tiny version" in line for line in lines)
    index = config.home() / "tiny" / "index.html"
    assert lines[-2] == f"All pages of tiny, as files: {min(str(index), os.path.relpath(index), key=len)}"
    text = index.read_text(encoding="utf-8")
    assert ">up to date<" in text
    assert "is the best of 2 models: mean IoU" in text
    assert lines[-1] == "Next: landcover ui, then http://127.0.0.1:3000/pages/tiny/ has all pages of tiny"
    assert main(["materialise", "tiny"]) == 0
    assert capsys.readouterr().out.startswith("Everything is up to date (")


def test_materialise_prints_checks_that_failed_with_their_fix(
    configs: Path, instance: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.in_process import training_in_process

    legend = {**tiny.LEGEND, "classes": [*tiny.LEGEND["classes"], {"id": 2, "name": "ice", "colour": "#ffffff"}]}
    tiny.write(configs, tmp_path / "raw", baselines=["k-means"])
    tiny.save(configs, "legends", legend)
    with training_in_process():
        assert main(["materialise", "tiny"]) == 0
    text = capsys.readouterr().out
    sentence = (
        "dataset_manifest, classes_trained: tiny: splits: no train pixels of ice; expected some of each. Fix: move"
    )
    assert sentence in text


def test_status_says_what_is_stale_and_why(
    configs: Path, instance: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.in_process import training_in_process

    tiny.write(configs, tmp_path / "raw", baselines=["k-means"])
    assert main(["status", "tiny"]) == 0
    text = capsys.readouterr().out
    assert "to build" in text
    assert "ground_truth t0, t1, t2" in text
    assert "missing: nothing published" in text
    with training_in_process():
        assert main(["materialise", "tiny"]) == 0
    capsys.readouterr()
    assert main(["status", "tiny"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("tiny: everything is up to date.")
    assert "Disk:\n  ground_truth" in text
    path = configs / "legends" / "tiny.yaml"
    path.write_text(path.read_text().replace("'20': water", "'20': field"))
    assert main(["status", "tiny"]) == 0
    text = capsys.readouterr().out
    assert "codes" in text.split("ground_truth t0, t1, t2", 1)[1].splitlines()[1]
    assert "Next: landcover materialise tiny" in text


def test_materialise_ends_with_the_sentence_of_a_file_that_is_wrong(
    root: Path, instance: None, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes.write_geotiff(root / "a.tif", np.ones((1, 32, 32), np.uint16))
    assert main(["materialise", "town"]) == 1
    printed = capsys.readouterr()
    assert "a.tif" in printed.err
    assert "expected" in printed.err
    assert "Fix: " in printed.err
    assert "nothing published" not in printed.err, "that there is no manifest is no news"
    assert "Nothing was built" in printed.out
    assert "Traceback" not in printed.err + printed.out
    assert "runs" not in printed.out
    table = [line.split()[:3] for line in printed.out.split("  not made:\n")[1].splitlines()]
    assert table[0] == ["ground_truth", "a", "failed"]
    assert ["dataset_manifest", "blocked"] in [row[:2] for row in table]


def test_a_dataset_that_is_nowhere_is_named_with_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nowhere" / "datasets").mkdir(parents=True)
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(tmp_path / "nowhere"))
    assert main(["check", "xylem"]) == 1
    captured = capsys.readouterr()
    text = captured.out + captured.err
    shipped = config.shipped_configs() / "datasets"
    assert f"no file xylem.yaml in {tmp_path / 'nowhere' / 'datasets'} or {shipped}" in text
    assert "set LANDCOVER_CONFIGS" in text
    assert doctor.check_configurations().found.startswith(f"1 dataset in {tmp_path / 'nowhere'} and ")


def test_a_folder_of_configurations_that_is_not_there_is_the_problem_and_nothing_is_made_or_removed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "disk" / "configs"
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(folder))
    (home / "town" / "dataset_manifest").mkdir(parents=True)
    (tmp_path / "raw").mkdir()
    init = ["init", "village", str(tmp_path / "raw")]
    for command in (["status", "town"], ["clean", "town", "--all", "--yes"], init, ["studies", "add", "vaihingen"]):
        assert main(command) == 1
        printed = capsys.readouterr()
        assert f"LANDCOVER_CONFIGS: {folder}, which is not there; expected" in printed.err
        assert "landcover clean" not in printed.out + printed.err
    assert (home / "town").is_dir()
    assert not folder.parent.exists()
    finding = doctor.check_configurations()
    assert finding.found == f"LANDCOVER_CONFIGS: {folder}, which is not there"
    assert "mount or make the folder" in str(finding.fix)
    assert list(upkeep.findings()) == []
    folder.parent.mkdir()
    assert main(["studies", "add", "vaihingen"]) == 0, "it is made in a folder that is there"
    assert doctor.check_configurations().fix is None


def test_an_empty_folder_of_configurations_is_where_a_disk_would_be_mounted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(folder))
    (home / "town" / "dataset_manifest").mkdir(parents=True)
    assert main(["clean", "town", "--all", "--yes"]) == 1
    assert f"LANDCOVER_CONFIGS: {folder}, which is empty; expected" in capsys.readouterr().err
    assert (home / "town").is_dir()
    (folder / "datasets").mkdir()
    assert main(["clean", "town", "--all", "--yes"]) == 0, "its file was taken out of a folder that is there"
    assert not (home / "town").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "found", "fix"),
    [
        ("datasets/town.yaml", "legend: cover", "legned: cover", "1 further", "; `landcover check town` names all"),
        ("datasets/town.yaml", "baselines", "baselinse", "baselinse", "did you mean 'baselines'?"),
        ("datasets/town.yaml", "name: town", "name: [town", "datasets/town.yaml", ""),
        ("legends/cover.yaml", "{1: field}", "{1: feild}", "legends/cover.yaml", ""),
        ("experiments/small.yaml", "model: unet", "model: unett", "experiments/small.yaml", ""),
    ],
)
def test_a_dataset_that_cannot_be_loaded_is_to_fix_and_one_whose_root_is_not_set_is_not(
    root: Path, configs: Path, file: str, old: str, new: str, found: str, fix: str
) -> None:
    def finding() -> doctor.Finding:
        return next(finding for finding in doctor.check_datasets() if finding.what == "Dataset town")

    path = configs / "datasets" / "town.yaml"
    text = path.read_text()
    assert finding() == doctor.Finding("Dataset town", str(root))
    path.write_text(text.replace(str(root), "${NOT_SET_ANYWHERE}"))
    assert finding().fix is None
    path.write_text(text)
    (configs / file).write_text((configs / file).read_text().replace(old, new))
    assert found in finding().found
    assert finding().fix
    assert fix in str(finding().fix)


@pytest.mark.parametrize(
    ("setting", "found", "mended"),
    [
        ("", "off (LANDCOVER_NOTIFY)", False),
        ("https://hooks.example/a smtp://mail.example?from=a@b.c&to=d@e.f", "2 addresses", False),
        ("ftp://hooks.example", "unknown scheme", True),
    ],
)
def test_the_doctor_reads_where_people_are_told(
    monkeypatch: pytest.MonkeyPatch, setting: str, found: str, mended: bool
) -> None:
    monkeypatch.setenv("LANDCOVER_NOTIFY", setting)
    finding = doctor.check_notifications()
    assert found in finding.found
    assert (finding.fix is not None) == mended


@pytest.mark.parametrize("command", [["init", "--help"], ["check", "town"], ["predict", "--help"], ["studies"]])
def test_commands_that_need_no_dagster_load_none(root: Path, command: list[str]) -> None:
    code = f"import sys; from assets.cli import main; main({command!r}); print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


@pytest.mark.parametrize("command", [["status", "town"], ["materialise", "town"], ["ui"]])
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none"])
def test_a_home_that_cannot_be_used_is_a_sentence(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], place: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LANDCOVER_HOME", str(tmp_path / place))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    done = _program(*command)
    assert done.returncode == 1
    assert "expected a file or folder that can be used. Fix: correct LANDCOVER_HOME" in done.stderr
    assert "Traceback" not in done.stderr
    finding = doctor.check_disk()
    assert finding.fix is not None


def test_a_name_that_is_shipped_is_refused(configs: Path, root: Path) -> None:
    done = _program("init", "demo", str(root))
    assert done.returncode == 1
    (configs / "legends" / "demo-2.yaml").touch()
    taken = "demo.yaml: 'demo' is taken; expected a name that is free. Fix: choose another one, as demo-2; "
    assert taken in done.stderr
    assert "`landcover check demo` reads what is there" in done.stderr
    again = _program("init", "demo", str(root)).stderr
    assert "as demo-3; " in again, "what a message advises is free"
    assert _program("init", "vaihingen", str(root)).returncode == 1


def test_one_port_for_both_servers_is_found_first(root: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCOVER_DAGSTER_PORT", "38123")
    monkeypatch.setenv("LANDCOVER_MLFLOW_PORT", "38123")
    done = _program("ui")
    assert done.returncode == 1
    assert "port 38123 for both servers; expected a port each" in done.stderr


@pytest.mark.parametrize("place", ["", "town", "backups/a.tar"])
def test_a_backup_into_the_home_is_refused(home: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    (home / "town").mkdir()
    for command in (["backup", str(home / place)], ["service", "--backups", str(home / place)]):
        assert main(command) == 1
        text = capsys.readouterr().err
        assert f"a place in the home {home}; expected a place outside of it" in text
        assert f"{home}-backups" in text
    assert [path.name for path in home.iterdir()] == ["town"]
    assert main(["backup", str(home.parent / "a.tar")]) == 0


def test_a_home_where_only_the_status_was_asked_is_restored_into(
    configs: Path, instance: None, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write(configs, tmp_path / "raw")
    (home / "tiny").mkdir()
    (home / "tiny" / "product.json").write_text("{}")
    file = tmp_path / "a.tar"
    assert main(["backup", str(file)]) == 0
    assert main(["restore", str(file)]) == 1
    assert "it is not empty" in capsys.readouterr().err
    shutil.rmtree(home)
    assert main(["status", "tiny"]) == 0
    assert (home / "dagster" / "history" / "runs.db").is_file()
    runs = home / "dagster" / "history" / "runs.db"
    with closing(sqlite3.connect(runs)) as database, database:
        database.execute("INSERT INTO runs (run_id, run_body) VALUES ('a', '{}')")
    assert main(["restore", str(file)]) == 1, "a run is history"
    with closing(sqlite3.connect(runs)) as database, database:
        database.execute("DELETE FROM runs")
    assert main(["restore", str(file)]) == 0
    assert (home / "tiny" / "product.json").is_file()
    assert sorted(path.name for path in home.parent.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.3, ", less than a second"), (30, ", about 30 s"), (600, ", about 10 min")],
)
def test_status_says_how_long_it_takes_as_far_as_it_is_known(seconds: float | None, text: str) -> None:
    from assets.status import Status
    from landcover_orch.planner import Plan, State, Step

    step = Step("patches", "t0", "cut", State.BUILD, "it is missing", seconds=seconds)
    first = next(Status("town", Plan((), {step.key: step}), (), (), ()).lines())
    assert first == f"town: 1 to build{text}; 0 cannot be built."


def test_status_says_what_was_never_timed() -> None:
    from assets.advance import remaining
    from assets.status import Status
    from landcover_orch.planner import Plan, State, Step

    states = zip(("t0", "t1", "t2"), (600.0, None, None), strict=True)
    steps = [Step("patches", name, "cut", State.WAITING, "waits", seconds=seconds) for name, seconds in states]
    described = Plan((), {step.key: step for step in steps})
    time = "3 to build, at least about 10 min, 2 steps were never timed"
    assert next(Status("town", described, (), (), ()).lines()) == f"town: {time}; 0 cannot be built."
    assert remaining(described) == f" ({time})"


def test_of_many_datasets_a_handful_is_named_the_closest_first(
    configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        (configs / "datasets" / f"region-{number:02}.yaml").write_text("{}")
    assert main(["status", "regoin-07"]) == 1
    text = capsys.readouterr().err
    assert "dataset 'regoin-07': no file regoin-07.yaml in " in text
    assert re.search(r"expected one of region-07(, region-\d\d){4} and 26 more, or of `landcover studies`", text)
    assert text.rstrip().endswith("Fix: did you mean 'region-07'?")


def test_messages_name_a_configuration_where_it_lies(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (configs / "datasets" / "town.yaml").write_text("name: town\ntyls: 3\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["check", "town"]) == 1
    assert f"{configs}/datasets/town.yaml: tyls: an unknown key" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert main(["check", "town"]) == 1
    assert "problem: configs/datasets/town.yaml: tyls: an unknown key" in capsys.readouterr().out
    shipped = config.shipped_configs()
    assert config.file_label("datasets", "vaihingen") == str(shipped / "studies" / "vaihingen.yaml")
    assert config.file_label("experiments", "demo-unet.seed-1") == str(shipped / "experiments" / "demo-unet.yaml")
    assert config.file_label("legends", "absent") == "configs/legends/absent.yaml"
