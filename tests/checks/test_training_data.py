"""What a dataset trains on is known before anything is built: patches, classes, what cannot be learnt, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from shapely.geometry import box

from landcover_orch.checks import training_data as summaries
from landcover_orch.checks.dataset import DatasetCheck, check_dataset
from landcover_orch.errors import Problem
from landcover_orch.tiles.issues import summarised, summarised_notes
from tests import scenes

X, Y = scenes.ORIGIN
SIDE = 64
LEGEND = {
    "name": "cover",
    "classes": [
        {"id": 0, "name": "rest", "colour": "#d9d2c0"},
        {"id": 1, "name": "building", "colour": "#b2182b"},
        {"id": 2, "name": "water", "colour": "#2166ac"},
    ],
    "codes": {"1": "building", "2": "water"},
}


@pytest.fixture
def town(configs: Path, tmp_path: Path) -> Path:
    """Three tiles side by side; a building on each of a, b, c, of 20 x 10, 20 x 20 and 20 x 30 px."""
    write(configs, "legends", LEGEND)
    write(configs, "experiments", {"name": "small", "model": "unet", "epochs": 2, "batch_size": 4})
    describe(configs, tmp_path)
    noise = np.random.default_rng(0)
    for number, tile in enumerate("abc"):
        left = X + number * SIDE
        pixels = noise.integers(1, 250, (1, SIDE, SIDE)).astype(np.uint8)
        scenes.write_geotiff(tmp_path / "raw" / f"{tile}.tif", pixels, origin=(left, Y))
        house = box(left + 10, Y - 10 * (number + 2), left + 30, Y - 10)
        scenes.write_polygons(tmp_path / "raw" / f"{tile}.gpkg", [(house, "1")])
    return tmp_path


def write(configs: Path, kind: str, content: dict[str, Any]) -> None:
    (configs / kind / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))


def describe(configs: Path, folder: Path, **changes: Any) -> None:
    plain = {
        "name": "town",
        "root": str(folder / "raw"),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg", "year": 2020, "label_year": 2020},
        "bands": ["grey"],
        "legend": "cover",
        "labels": {"attribute": "code", "unlabelled": "rest"},
        "splits": {"validation": {"tiles": ["b"]}, "test": {"tiles": ["c"]}},
        "patches": {"size": 16, "stride": 16},
        "experiments": ["small"],
        "baselines": [],
        **changes,
    }
    write(configs, "datasets", plain)


def checked() -> DatasetCheck:
    return check_dataset("town")


def row(result: DatasetCheck, label: str) -> list[str]:
    (line,) = (line for line in result.table if line.startswith(f"{label} "))
    return line.removeprefix(label).split()


def test_tiles_patches_and_classes_stand_by_split(town: Path) -> None:
    result = checked()
    assert result.problems == ()
    assert row(result, "tiles with patches") == ["1", "1", "1"]
    assert row(result, "patches") == ["16", "16", "16"]
    assert row(result, "building") == [f"{100 * 20 * height / 4096:.1f}%" for height in (10, 20, 30)]
    assert row(result, "unlabelled, ignored") == ["-"] * 3
    assert any(line.startswith("CPU time, roughly: ") for line in result.table)
    assert any(line.startswith("Disk, roughly: ") for line in result.table)


def test_what_cannot_be_learnt_is_said_with_its_reason(town: Path, configs: Path) -> None:
    assert "water: cannot be learnt, as no label is of this class" in checked().table
    assert "building: hardly to be learnt from 200 train pixels" in checked().table
    scenes.write_polygons(town / "raw/b.gpkg", [(box(X + SIDE, Y - 9, X + SIDE + 9, Y), "2")])
    assert "water: cannot be learnt, as no train pixel is of this class" in checked().table
    assert "water: not scored, as no test pixel is of this class" in checked().table
    describe(configs, town, splits={"validation": {"tiles": ["b"]}})
    table = "\n".join(checked().table)
    assert "no patch is test, so nothing is scored" in table
    assert "no test pixel" not in table


def test_ground_that_hardly_tells_models_apart_is_named(town: Path, configs: Path) -> None:
    assert not any("hardly to be chosen" in line for line in checked().table)
    data = summaries.TrainingData(
        names=("field", "water"),
        tiles=dict.fromkeys(("train", "validation", "test"), 1),
        patches=dict.fromkeys(("train", "validation", "test", "dropped", "excluded"), 1),
        pixels=np.pad(np.array([[600.0, 400.0], [97.0, 3.0], [50.0, 50.0], [0.0, 0.0]]), ((0, 0), (0, 254))),
        size=1,
        labelled_tiles=3,
        read_tiles=3,
        complete=True,
        held=frozenset({0, 1}),
    )
    text = "validation ground is 97 % field, train ground 60 %: models are hardly to be chosen by it"
    assert [line for line in data.cannot_be_learnt() if "hardly to be" in line and "ground" in line] == [
        f"{text}; name other tiles in `splits`"
    ]


def test_labels_of_one_class_with_the_rest_ignored_are_refused_with_a_fix_that_works(town: Path, configs: Path) -> None:
    describe(configs, town, labels={"attribute": "code"})
    (problem,) = checked().problems
    assert problem.where == f"{configs}/datasets/town.yaml: labels.unlabelled"
    assert "all labels are 'building' (1,200 of 12,288 pixels)" in problem.found
    assert "set `labels.unlabelled: rest`" in problem.fix
    describe(configs, town, labels={"attribute": "code", "unlabelled": "rest"})
    assert checked().problems == ()


def test_one_class_that_covers_everything_is_named_in_the_table(town: Path, configs: Path) -> None:
    describe(configs, town, labels={"attribute": "code"})
    for number, tile in enumerate("abc"):
        left = X + number * SIDE
        scenes.write_polygons(town / f"raw/{tile}.gpkg", [(box(left, Y - SIDE, left + SIDE, Y), "1")])
    result = checked()
    assert result.problems == ()
    assert "nothing can be learnt: all labels are 'building'" in result.table


def test_codes_that_the_legend_lacks_are_found_before_anything_is_built(town: Path) -> None:
    scenes.write_polygons(town / "raw/b.gpkg", [(box(X + SIDE, Y - 9, X + SIDE + 9, Y), "7")])
    (problem,) = checked().problems
    assert "unknown code '7' in 1 polygon" in problem.found
    assert row(checked(), "patches") == ["16", "0", "16"]


def test_a_tile_that_is_smaller_than_a_patch_is_named(town: Path, configs: Path) -> None:
    describe(configs, town, patches={"size": 128, "stride": 128})
    problems = checked().problems
    assert {problem.where for problem in problems} == {"tile a", "tile b", "tile c"}
    (line,) = summarised(problems)
    assert line.startswith("tile a: 64 x 64 px; expected a patch of 128 px")
    assert line.endswith("The same 3 times: also tile b, tile c")


def test_train_windows_on_held_out_ground_are_found_and_dropped_where_asked(town: Path, configs: Path) -> None:
    data = np.ones((1, SIDE, SIDE), np.uint8)
    scenes.write_geotiff(town / "raw/b.tif", data, origin=(X + 40, Y))
    scenes.write_polygons(town / "raw/b.gpkg", [(box(X + 50, Y - 30, X + 70, Y - 10), "1")])
    problems = checked().problems
    assert "4 train windows on held-out ground of tile b" not in str(problems[0])
    assert "8 train windows on held-out ground of tile b" in str(problems[0])
    splits = {"validation": {"tiles": ["b"]}, "test": {"tiles": ["c"]}, "on_overlap": "drop"}
    describe(configs, town, splits=splits)
    result = checked()
    assert result.problems == ()
    assert row(result, "patches") == ["8", "16", "16"]


def test_patches_with_too_few_labels_do_not_count(town: Path, configs: Path) -> None:
    scenes.write_polygons(town / "raw/b.gpkg", [(box(X + SIDE, Y - 9, X + SIDE + 9, Y), "2")])
    describe(configs, town, labels={"attribute": "code"}, patches={"size": 16, "stride": 16, "min_labelled": 0.3})
    result = checked()
    assert result.problems == ()
    assert row(result, "patches") == ["1", "1", "4"]


def test_labels_of_large_and_many_tiles_are_sampled_and_the_table_says_so(
    town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = row(checked(), "patches")
    monkeypatch.setattr(summaries, "MAX_PIXELS", 1_000)
    monkeypatch.setattr(summaries, "SAMPLE_SIDE", 8)
    monkeypatch.setattr(summaries, "SAMPLES", 4)
    monkeypatch.setattr(summaries, "MAX_TILES", 2)
    result = checked()
    assert row(result, "patches") == exact
    assert "classes by the labels of 2 of 3 tiles in a sample of 4 x 4 windows of 8 px a tile" in "\n".join(
        result.table
    )
    assert row(result, "tiles with patches") == ["1", "1", "1"]


def test_many_windows_are_counted_by_some_of_them(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "MAX_STARTS", 2)
    assert row(checked(), "patches") == ["16", "16", "16"]


def test_equal_problems_are_one_line_with_a_count() -> None:
    expected, fix = "uint8", "set `tiles.overrides.{}.dtype: uint16`"
    many = [Problem(f"/raw/{t}.tif", "pixels of uint16", expected, fix.format(t)) for t in "abcd"]
    other = Problem("/raw/e.tif", "4 bands", "3", "correct `bands`")
    assert summarised([*many, other]) == [
        f"{many[0]} The same 4 times: also /raw/b.tif, /raw/c.tif and 1 more",
        str(other),
    ]


def test_equal_notes_are_one_line_with_a_count() -> None:
    notes = [f"/raw/{tile}.tif: the tag 255 is a value in {count} pixels" for tile, count in (("a", 2), ("b", 1_300))]
    assert summarised_notes([*notes, "/raw/a.tif: other", "no file"]) == [
        f"{notes[0]} The same 2 times: also /raw/b.tif",
        "/raw/a.tif: other",
        "no file",
    ]
