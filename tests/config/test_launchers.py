"""Launchers: arguments that no shell reads, before the module that trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from landcover_orch import config
from landcover_orch.config.launchers import LOCAL, Launcher
from landcover_orch.errors import ConfigError

SHIPPED = sorted(path.stem for path in (Path(__file__).parents[2] / "configs" / "launchers").glob("*.yaml"))
MODULE = ["landcover_orch.training", "--dataset", "demo"]


def _write(configs: Path, **launcher: object) -> None:
    (configs / "launchers").mkdir(exist_ok=True)
    (configs / "launchers" / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", **launcher}))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_launchers_run_the_module_with_this_interpreter(name: str) -> None:
    command = config.load_launcher(name).command("/bin/python", MODULE)
    assert command[-4:] == ["-m", *MODULE]
    assert "/bin/python" in command
    assert not [part for part in command if "{" in part]


def test_the_vaihingen_study_s_queue_is_shipped() -> None:
    options = config.load_launcher("slurm").prefix
    assert {"--nodes=1", "--gres=gpu:1", "--time=01:00:00", "--mail-type=END,FAIL"} <= set(options)


def test_local_needs_no_file_and_is_the_interpreter_alone(configs: Path) -> None:
    assert config.load_launcher("local") == LOCAL
    assert LOCAL.command("/bin/python", MODULE) == ["/bin/python", "-m", *MODULE]


def test_a_machine_has_the_last_word(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(configs, prefix=["nice", "{python}"])
    monkeypatch.setenv("LANDCOVER_LAUNCHER", "mine")
    assert config.load_launcher("local").command("python", ["m"]) == ["nice", "python", "-m", "m"]
    monkeypatch.setenv("LANDCOVER_LAUNCHER", "local")
    assert config.load_launcher("mine") == LOCAL


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"prefix": "srun; rm -rf /"}, "prefix"),
        ({"prefix": []}, "prefix"),
        ({"prefix": ["srun", ""]}, "prefix"),
        ({"prefix": ["srun"], "environment": {"A B": "1"}}, "environment"),
        ({"prefix": ["srun"], "shell": True}, "shell"),
    ],
)
def test_what_is_no_list_of_arguments_is_refused(configs: Path, invalid: dict[str, object], message: str) -> None:
    _write(configs, **invalid)
    with pytest.raises(ConfigError, match=message):
        config.load_launcher("mine")


def test_a_launcher_that_is_not_there_is_named(configs: Path) -> None:
    _write(configs, prefix=["{python}"])
    with pytest.raises(ConfigError, match=r"no file minee\.yaml.*did you mean 'mine'"):
        config.load_launcher("minee")
    with pytest.raises(ConfigError, match=r"no file \.\./x"):
        config.load_launcher("../x")


def test_arguments_stay_apart() -> None:
    launcher = Launcher(name="odd", prefix=("run", "a b; $(c)", "{python}"))
    assert launcher.command("/my python", MODULE) == ["run", "a b; $(c)", "/my python", "-m", *MODULE]
