"""What the README names is there: tests, configurations, pictures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from assets.cli import main
from tests import scenes

ROOT = Path(__file__).parent.parent
EXAMPLES = {"configs/datasets/galicia.yaml", "configs/legends/galicia.yaml"}
"""Files that `landcover init` writes where a reader follows the chapter on one's own data."""

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_test_it_names_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)", README))
    assert len(named) > 80, "the table of the five systems"
    missing = [f"{file}::{name}" for file, name in sorted(named) if f"def {name}(" not in _text(ROOT / file)]
    assert not missing


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_every_file_and_folder_it_names_exists() -> None:
    paths = set(re.findall(r"`((?:tests|landcover_orch|assets|configs|docs)/[\w./-]*)`", README))
    pictures = set(re.findall(r"\]\((docs/[\w-]+\.png)\)", README))
    assert not [path for path in sorted((paths | pictures) - EXAMPLES) if not (ROOT / path).exists()]


def test_every_configuration_it_names_exists() -> None:
    named = re.findall(r"`(datasets|studies|experiments|legends|searches|launchers)/([\w-]+)`", README)
    missing = [f"{kind}/{name}" for kind, name in named if not (ROOT / "configs" / kind / f"{name}.yaml").is_file()]
    assert not missing


def test_every_picture_is_shown() -> None:
    assert sorted(path.name for path in (ROOT / "docs").iterdir()) == sorted(
        set(re.findall(r"docs/([\w-]+\.png)", README))
    )


def test_the_commands_for_ones_own_data_run_as_they_stand(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = scenes.ORIGIN
    noise = np.random.default_rng(0).integers(1, 250, (3, 128, 128)).astype(np.uint8)
    scenes.write_geotiff(tmp_path / "h0094.tif", noise)
    stripes = [(box(x, y - row - 8, x + 128, y - row), row % 16) for row in range(0, 128, 8)]
    scenes.write_polygons(tmp_path / "h0094.gpkg", stripes)
    commands = re.findall(r"^    \.venv/bin/(landcover (?:init|check) .*)$", README, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert main(shlex.split(command.replace("/data/galicia", str(tmp_path)))[1:]) == 0
    assert "galicia: 1 tile, 0 problems" in capsys.readouterr().out
    drafted = {path.relative_to(configs.parent).as_posix() for path in configs.glob("[dl]*/galicia.yaml")}
    assert drafted == EXAMPLES
