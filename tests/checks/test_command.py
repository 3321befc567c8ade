"""The command line prints every problem and says by its exit code whether there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from landcover_orch.checks.__main__ import main
from tests import scenes

DATASET = """
name: town
root: {root}
tiles: {{image: "{{tile}}.tif", label: "{{tile}}.gpkg"}}
bands: [grey]
legend: cover
labels: {{attribute: code}}
experiments: [small]
baselines: []
"""
LEGEND = """
name: cover
classes: [{id: 0, name: field, colour: "#00ff00"}]
codes: {1: field}
"""


@pytest.fixture
def root(configs: Path, tmp_path: Path) -> Path:
    (configs / "datasets/town.yaml").write_text(DATASET.format(root=tmp_path / "raw"))
    (configs / "legends/cover.yaml").write_text(LEGEND)
    (configs / "experiments/small.yaml").write_text("{name: small, model: unet}")
    x, y = scenes.ORIGIN
    scenes.write_geotiff(tmp_path / "raw/a.tif", np.ones((1, 32, 32), np.uint8))
    scenes.write_polygons(tmp_path / "raw/a.gpkg", [(box(x, y - 9, x + 9, y), "1")])
    return tmp_path / "raw"


def test_a_sound_dataset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["town", "--deep"]) == 0
    printed = capsys.readouterr().out
    assert "note: configs/datasets/town.yaml: the years of a are not stated" in printed
    assert printed.endswith("town: 1 tiles, 0 problems, 1 notes\n")


def test_problems_set_the_exit_code(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes.write_geotiff(root / "b.tif", np.ones((2, 32, 32), np.uint16))
    (root / "a.gpkg").rename(root / "b.gpkg")
    assert main(["town"]) == 1
    assert "a.gpkg: no such file" in capsys.readouterr().out
    (root / "a.tif").unlink()
    assert main(["town"]) == 1
    assert capsys.readouterr().out.count("problem: ") == 2


def test_an_unknown_dataset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["twon"]) == 1
    assert "did you mean 'town'" in capsys.readouterr().out


def test_recipes_whose_parts_do_not_go_together(root: Path, configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configs / "experiments/small.yaml").write_text(
        "{name: small, model: unet, optimiser: adagrad, schedule: one_cycle}"
    )
    assert main(["town"]) == 1
    assert "one_cycle turns momentum, and adagrad has none" in capsys.readouterr().out
