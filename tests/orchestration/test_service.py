"""systemd units: quoted so that systemd reads what was meant, on loopback, and accepted by systemd itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from assets import service
from assets.cli import main
from landcover_orch.checks import doctor
from landcover_orch.errors import ConfigError
from tests import tiny


@pytest.fixture
def odd_home(configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose name has what systemd would read otherwise, and a dataset whose root is a variable."""
    home = tmp_path / 'home 100% "of" $HOME'
    home.mkdir()
    monkeypatch.setenv("LANDCOVER_HOME", str(home))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("AERIAL", str(tmp_path / "raw"))
    monkeypatch.setenv("LANDCOVER_NOTIFY", "smtp://user:secret@host")
    monkeypatch.setenv("LANDCOVER_DATASETS", "tiny,other")
    tiny.write(configs, tmp_path / "raw", root="${AERIAL}")
    return home


def test_units_are_written_with_the_environment_and_without_secrets(
    odd_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, backups = tmp_path / "units", tmp_path / "backups of $5"
    assert main(["service", str(folder), "--backups", str(backups)]) == 0
    assert "systemctl --user enable --now landcover.service landcover-weekly.timer" in capsys.readouterr().out
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(texts) == {service.SERVICE, service.WEEKLY, service.TIMER}
    lines = texts[service.SERVICE].splitlines()
    escaped = str(odd_home).replace("%", "%%").replace('"', '\\"')
    assert f'Environment="LANDCOVER_HOME={escaped}"' in lines
    assert 'Environment="LANDCOVER_DATASETS=tiny,other"' in lines
    assert f'Environment="AERIAL={tmp_path / "raw"}"' in lines
    assert {"Restart=on-failure", "WantedBy=default.target", "NoNewPrivileges=yes"} <= set(lines)
    assert "secret" not in "".join(texts.values())
    assert f'backup --keep 8 "{tmp_path}/backups of $$5"' in texts[service.WEEKLY]
    assert "clean --every" in texts[service.WEEKLY]


def test_units_of_the_system_run_as_this_user(odd_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "--system"]) == 0
    printed = capsys.readouterr().out
    assert "\nUser=" in printed
    assert "WantedBy=multi-user.target" in printed
    assert "ProtectSystem=full" in printed


@pytest.mark.parametrize("options", [[], ["--system"]])
def test_systemd_accepts_the_units(odd_home: Path, tmp_path: Path, options: list[str]) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on this machine (Debian: apt-get install systemd)")
    folder = tmp_path / "units"
    assert main(["service", str(folder), *options]) == 0
    names = [str(path) for path in folder.iterdir()]
    done = subprocess.run([program, "verify", *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", ["abc", "99999", "0"])
def test_a_port_that_is_none_is_a_sentence_of_the_doctor_and_of_service(
    odd_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setenv("LANDCOVER_MLFLOW_PORT", text)
    assert main(["service"]) == 1
    sentence = f"LANDCOVER_MLFLOW_PORT: {text!r}; expected a port from 1 to 65535"
    assert f"{sentence}. Fix: export LANDCOVER_MLFLOW_PORT=5000." in capsys.readouterr().err
    finding = doctor.check_port("LANDCOVER_MLFLOW_PORT")
    assert (finding.found, finding.fix) == (sentence, "export LANDCOVER_MLFLOW_PORT=5000")


def test_a_folder_of_two_lines_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a value of one line"):
        service.quoted("two\nlines")
