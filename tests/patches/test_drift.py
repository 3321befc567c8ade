"""The distance of a tile from the training distribution: known answers, and tiles outside are flagged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from landcover_orch.patches import dataset
from landcover_orch.patches.drift import rows
from landcover_orch.raster.histogram import Histogram, distance
from tests.patches.fields import LEGEND, write_fields
from tests.raster.test_histogram import histogram
from tests.scenes import ORIGIN, write_geotiff

VALUES = st.lists(st.integers(-50, 300), min_size=1, max_size=30)


def test_values_moved_by_a_standard_deviation_are_at_distance_one() -> None:
    reference = np.random.default_rng(0).normal(100, 20, 5000)
    assert distance(histogram(reference + reference.std()), histogram(reference)) == pytest.approx(1)
    assert distance(histogram(reference), histogram(reference)) == 0


def test_stretched_values_are_at_their_mean_way() -> None:
    """Uniform 0..99 stretched to 0..198: pixel i moves by i, 49.5 in the mean; the standard deviation is 28.866."""
    values = np.arange(100)
    assert distance(histogram(2 * values), histogram(values)) == pytest.approx(49.5 / np.std(values))


def test_how_many_pixels_there_are_does_not_matter() -> None:
    assert distance(histogram([1, 2] * 50), histogram([1, 2])) == 0


@settings(max_examples=50)
@given(VALUES, VALUES)
def test_it_is_the_distance_of_wasserstein(one: list[int], other: list[int]) -> None:
    result = distance(histogram(one), histogram(other))
    if len(set(other)) == 1:
        assert result is None, "a single value has no scale"
    else:
        assert result == pytest.approx(wasserstein_distance(one, other) / np.std(other), abs=1e-9)


def test_without_pixels_there_is_no_distance() -> None:
    empty = Histogram(np.zeros(0), np.zeros(0, np.int64))
    (row,) = rows({"t": [empty]}, [histogram([1, 2])], ["grey"], 1.0)
    assert row == {"tile": "t", "grey": None, "largest": None, "outside": False}


@pytest.mark.parametrize("labelled", [True, False])
def test_a_tile_of_another_flight_is_flagged(tmp_path: Path, home: Path, labelled: bool) -> None:
    """A tile without labels is watched like any other."""
    unlabelled = {} if labelled else {"unlabelled": "new/{tile}.tif"}
    fields = write_fields(tmp_path / "raw", home, names=("a", "b", "c"), splits={"test": {"tiles": ["b"]}})
    rng = np.random.default_rng(7)
    bright = rng.integers(200, 256, (2, 90, 110)).astype(np.uint8)
    if labelled:
        write_geotiff(tmp_path / "raw" / "c.tif", bright, origin=(ORIGIN[0] + 1000, ORIGIN[1]))
        splits = {"test": {"tiles": ["b", "c"]}}
    else:
        write_geotiff(tmp_path / "raw" / "new" / "d.tif", bright, origin=(ORIGIN[0] + 5000, ORIGIN[1]))
        splits = {"test": {"tiles": ["b"]}}
    watched = fields.changed(splits=splits, tiles={**fields.dataset.tiles.model_dump(), **unlabelled})
    for i in range(len(watched.tiles)):
        watched.cut(i)
    product = dataset.build(watched.dataset, LEGEND, watched.tiles, home)
    drift = {row["tile"]: row for row in product.json("summary.json")["drift"]}
    outside = [name for name, row in drift.items() if row["outside"]]
    assert outside == (["c"] if labelled else ["d"])
    assert drift["a"]["largest"] < 0.1
    assert drift[outside[0]]["red"] == pytest.approx(1.35, abs=0.1)
    assert ">outside<" in product.file("index.html").read_text()
