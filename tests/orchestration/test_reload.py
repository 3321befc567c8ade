"""Reload of configurations: what waits, what goes on, and that a fault stops only its own dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.client import Client
from assets.reload import QUIET_S, Reloader
from tests import tiny


class Desk:
    """A person who edits configurations while servers run, on a clock of the test."""

    def __init__(self, configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.configs, self.now = configs, 0.0
        self.lines: list[str] = []
        self.asked = 0
        client = Client("http://127.0.0.1:1")
        monkeypatch.setattr(client, "reload", self._reload)
        self.reloader = Reloader(client, self.lines.append, lambda: self.now)

    def _reload(self) -> str:
        self.asked += 1
        return "reloaded"

    def edit(self, old: str, new: str, file: str = "datasets/tiny.yaml") -> None:
        """Replaces text in a file."""
        path = self.configs / file
        path.write_text(path.read_text().replace(old, new))

    def wait(self, seconds: float) -> int:
        """Lets time pass with looks each half second; how often a reload was asked for."""
        before = self.asked
        for _ in range(int(seconds / 0.5)):
            self.now += 0.5
            self.reloader.poll()
        return self.asked - before


@pytest.fixture
def desk(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The tiny dataset, served."""
    tiny.write(configs, tmp_path / "raw")
    return Desk(configs, monkeypatch)


def test_a_change_is_reloaded_once_it_rests(desk: Desk) -> None:
    assert desk.wait(5) == 0
    desk.edit("stride: 32", "stride: 16")
    assert desk.wait(QUIET_S - 0.5) == 0
    desk.edit("stride: 16", "stride: 8")
    assert desk.wait(QUIET_S - 0.5) == 0
    assert desk.wait(1.5) == 1
    assert desk.wait(5) == 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("datasets/tiny.yaml", "stride: 32", "stride: [32"),
        ("datasets/tiny.yaml", "legend: tiny", "legned: tiny"),
        ("legends/tiny.yaml", "id: 1", "id: 0"),
        ("experiments/quick.yaml", "name: unet", "name: unett"),
    ],
)
def test_a_loaded_dataset_with_a_fault_keeps_its_definitions(desk: Desk, file: str, old: str, new: str) -> None:
    before = (desk.configs / file).read_text()
    desk.edit(old, new, file)
    assert desk.wait(10) == 0
    (line,) = desk.lines
    assert "Not reloaded, the definitions stay as they were" in line
    assert Path(file).name in line
    (desk.configs / file).write_text(before)
    desk.edit("stride: 32", "stride: 16")
    assert desk.wait(5) == 1


def test_a_new_file_with_a_fault_stops_only_itself(desk: Desk) -> None:
    (desk.configs / "datasets" / "other.yaml").write_text("- nothing\n")
    assert desk.wait(5) == 1
    desk.edit("stride: 32", "stride: 16")  # the faulty one, which never was loaded, holds nothing up
    assert desk.wait(5) == 1
    (line, *_), reloaded = desk.lines, desk.lines[1:]
    assert line.startswith("Dataset other is not loaded: ")
    assert reloaded == ["reloaded", "reloaded"], "a fault is said once"
    (desk.configs / "datasets" / "other.yaml").write_text("name: 3\n")
    assert desk.wait(5) == 1
    assert desk.lines[3].startswith("Dataset other is not loaded: ")
    assert desk.lines[3] != line, "until it changes"


def test_a_dataset_that_is_taken_away_ends(desk: Desk) -> None:
    (desk.configs / "datasets" / "tiny.yaml").unlink()
    assert desk.wait(5) == 1


def test_definitions_stay_while_the_folder_of_configurations_is_not_there(desk: Desk) -> None:
    aside = desk.configs.rename(desk.configs.with_name("aside"))
    assert desk.wait(5) == 0
    (line,) = desk.lines
    assert line.startswith(f"Not reloaded, the definitions stay as they were: LANDCOVER_CONFIGS: {desk.configs}, which")
    aside.rename(desk.configs)
    assert desk.wait(5) == 0, "it is as it was"


def test_a_webserver_that_is_not_there_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the webserver did not reload them" in Client("http://127.0.0.1:1").reload()
