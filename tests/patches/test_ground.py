"""Ground of a split: pixels, hectares, tiles, years and classes, and the warning where it holds one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch.legend import IGNORE
from landcover_orch.patches.ground import ground, hectares, one_class_warnings, scored_ground
from tests.evaluation.scored import Scored, scored

FEET = "EPSG:2263"
"""New York, in US survey feet of 0.3048006 m."""


def scene(home: Path, *values: int) -> Scored:
    labels = np.resize(np.array(values, np.uint8), (100, 100))
    return scored(home, {"a": labels}, {"a": labels})


def test_the_ground_of_the_test_split(home: Path) -> None:
    test = scored_ground(scene(home, 0, 0, 1, IGNORE).manifest)
    assert (test.splits, test.tiles, test.pixels, test.classes) == (("test",), ("a",), 7500, ("field", "forest"))
    assert test.hectares == pytest.approx(0.75)
    assert test.words() == "7\u202f500 test pixels (0.75\u00a0ha) of tile a"


def test_years_and_many_tiles_are_words(home: Path) -> None:
    manifest = scene(home, 0, 1).manifest
    years = ((2019, 2018), (2021, 2018), (2021, None), (2021, 2020), (None, None))
    tiles = [
        manifest.tiles[0].model_copy(update={"name": f"t{i}", "year": year, "label_year": label})
        for i, (year, label) in enumerate(years)
    ]
    words = ground(manifest.model_copy(update={"tiles": tuple(tiles)}), "test").words()
    assert words.endswith("of 5 tiles, orthophotos of 2019, 2021, labels of 2018, 2020")


@pytest.mark.parametrize(
    ("crs", "expected"), [("EPSG:25830", 1.0), (FEET, 0.3048006096**2), ("EPSG:4326", None), (None, None)]
)
def test_hectares_stand_where_the_crs_has_a_unit_of_length(home: Path, crs: str | None, expected: float | None) -> None:
    tile = scene(home, 0, 1).manifest.tiles[0].model_copy(update={"crs": crs})
    area = hectares(tile, 10_000)
    assert area == (None if expected is None else pytest.approx(expected))


def test_test_ground_of_one_class_is_a_warning_with_the_key_that_mends_it(home: Path) -> None:
    assert one_class_warnings(scene(home, 0, 1).manifest) == []
    (warning,) = one_class_warnings(scene(home / "one", 2).manifest)
    assert warning.startswith("All test ground is water: a map of water everywhere scores an accuracy of 1.000 there.")
    assert "`splits.test`" in warning
    assert "`labels.unlabelled`" in warning
    assert "datasets/scored.yaml" in warning


def test_train_ground_of_one_class_is_a_warning(home: Path) -> None:
    manifest = scene(home, 0, 1).manifest
    pixels = {**manifest.tiles[0].class_pixels, "train": (0, 50, 0)}
    tile = manifest.tiles[0].model_copy(update={"class_pixels": pixels})
    (warning,) = one_class_warnings(manifest.model_copy(update={"tiles": (tile,)}))
    assert warning.startswith("All train ground is forest: a model learns no other class from it.")


def test_ground_of_hardly_more_than_one_class_is_a_warning_where_training_has_others(home: Path) -> None:
    manifest = scene(home, 0, 1).manifest
    uneven = {"train": (50, 50, 0), "validation": (50, 50, 0), "test": (93, 7, 0)}
    tile = manifest.tiles[0].model_copy(update={"class_pixels": uneven})
    (warning,) = one_class_warnings(manifest.model_copy(update={"tiles": (tile,)}))
    assert warning.startswith("Test ground is 93 % field, train ground 50 %: models are hardly to be judged by it.")
    alike = tile.model_copy(update={"class_pixels": {**uneven, "train": (90, 10, 0)}})
    assert one_class_warnings(manifest.model_copy(update={"tiles": (alike,)})) == []


def test_the_warning_stands_on_report_and_leaderboard(home: Path) -> None:
    from landcover_orch.evaluation import leaderboard

    one = scene(home, 2)
    report = one.report()
    board = leaderboard.build(one.manifest, {"small": report}, {"small": {"small": one.model}}, home)
    for product in (report, board):
        text = product.file("index.html").read_text(encoding="utf-8")
        assert text.index("All test ground is water") < text.index("<h2")
