"""Fixtures that every kind's tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import hypothesis
import pytest

# A busy machine is no failure. `make test` draws the same examples each time, `make test-long` others.
RANDOM = os.environ.get("LANDCOVER_RANDOM_EXAMPLES") == "true"
hypothesis.settings.register_profile("landcover", deadline=None, derandomize=not RANDOM)
hypothesis.settings.load_profile("landcover")

for _signal in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    # Where tests are started with a signal ignored, their processes would ignore it too, and never end when asked to.
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _signal == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """A test that is interrupted in a worker of xdist fails with its stack; it would end all tests without a word."""
    try:
        yield
    except KeyboardInterrupt as error:
        if "PYTEST_XDIST_WORKER" in os.environ:
            raise RuntimeError("interrupted") from error
        raise


REAL = Path(os.environ.get("LANDCOVER_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a test or the project sets in the environment ends with the test: DAGSTER_HOME would outlive its home."""
    with mock.patch.dict(os.environ):
        os.environ.pop("DAGSTER_HOME", None)  # of a fixture that tests share
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty LANDCOVER_HOME of this test."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LANDCOVER_HOME", str(folder))
    return folder


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A LANDCOVER_CODE of this test, empty and switched on; what was imported of it is forgotten behind the test."""
    from landcover_orch.custom import IMPORTER

    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.setenv("LANDCOVER_CODE", str(folder))
    monkeypatch.setenv("LANDCOVER_CUSTOM", "true")
    with mock.patch.object(IMPORTER, "packages", {}):
        yield folder
        packages = {*IMPORTER.packages}
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of configurations of this test, with its three folders."""
    folder = tmp_path / "configs"
    for kind in ("datasets", "legends", "experiments"):
        (folder / kind).mkdir(parents=True)
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real rasters; tests that need it are skipped, with this reason, where it is absent."""
    if not (REAL / "nrcan-bakerlake").is_dir():
        pytest.skip(f"real rasters are not at {REAL} (set LANDCOVER_DATA)")
    return REAL
