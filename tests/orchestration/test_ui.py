"""What `landcover ui` prints of what its processes print: no noise, and each line of a look once until it changes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from assets import ui
from assets.ui import Observer, Servers

NOISY = """Registry store URI not provided. Using backend store URI.
[MLflow] Security middleware enabled. Allowed hosts: 127.0.0.1:5000.
/lib/mlflow/server/fastapi_app.py:23: StarletteDeprecationWarning: starlette.middleware.wsgi is deprecated
  from starlette.middleware.wsgi import WSGIResponder, build_environ
\x1b[32m2026\x1b[0m - dagster.daemon.EventLogConsumerDaemon - \x1b[34mWARNING\x1b[0m - No cursor for event type RUN
dagster.daemon.EventLogConsumerDaemon - ERROR - database is locked
2026-11-30 - dagster - INFO - tiny_train - epoch 2 of 4
"""


def test_noise_of_servers_is_left_out_and_errors_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    Servers({}).pass_on(io.BytesIO(NOISY.encode()))
    assert capsys.readouterr().out.splitlines() == NOISY.splitlines()[-2:]


def test_a_line_of_a_look_is_printed_once_until_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    observer = Observer({})
    for lines in ("waits: t1\n", "3 new tiles\nwaits: t1\n", "waits: t1\n", "waits: t2\n", "waits: t1\n"):
        observer.pass_on(io.BytesIO(lines.encode()))
    assert capsys.readouterr().out.splitlines() == ["waits: t1", "3 new tiles", "waits: t2", "waits: t1"]


def test_configurations_of_the_working_folder_are_set_for_no_server(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANDCOVER_CONFIGS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "LANDCOVER_CONFIGS" not in ui.environment(), "a folder that is not there yet is no problem then"
    monkeypatch.setenv("LANDCOVER_CONFIGS", "mine")
    assert ui.environment()["LANDCOVER_CONFIGS"] == str(tmp_path / "mine")
